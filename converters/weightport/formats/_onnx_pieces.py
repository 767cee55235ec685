"""An ONNX model as pieces that follow one another: bytes, bytes of another model, and values that are made when they
are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ..checkpoint import Output
from ._onnx_tensor import DATA_LOCATION, DATA_TYPE, DIMS, EXTERNAL_DATA, NAME
from ._onnx_values import RAW_DATA, Element, PackedOutput
from ._onnx_wire import Wire, encode_bytes, encode_head, encode_number
from ._room import allocate
from ._tensor_writer import TensorWriter

PAGE, LINE = 4096, 64
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Copy:
    """Bytes of the model that is there, from ``begin`` to ``end``."""

    begin: int
    end: int

    def __len__(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True)
class Fill:
    """The values of a tensor, which are made when they are written."""

    tensor: Output
    element: Element
    size: int

    def __len__(self) -> int:
        return self.size

    @property
    def stored(self) -> Output:
        """What is written: the tensor, or its elements packed into bytes."""
        return PackedOutput(self.tensor, self.element, self.size) if self.element.packed else self.tensor


Piece: TypeAlias = bytes | Copy | Fill


@dataclass(frozen=True)
class Placement:
    """Where a tensor's new values go: into the message, or to an offset of the file beside it."""

    fill: Fill
    offset: int | None


def write_pieces(
    path: Path, wire: Wire, pieces: Sequence[Piece], data_path: Path, placements: Sequence[Placement]
) -> None:
    """Write the model ``path``, and those of the tensors that are placed outside to ``data_path``.

    ``wire`` is what the pieces copy from."""
    outside = [(placement.offset, placement.fill) for placement in placements if placement.offset is not None]
    if outside:
        end, last = outside[-1]
        allocate(data_path, end + last.size)
        with TensorWriter(data_path) as writer:
            for offset, fill in outside:
                writer.write(offset, fill.stored)
    allocate(path, sum(map(len, pieces)))
    with TensorWriter(path) as writer:
        for offset, piece in located(pieces):
            if isinstance(piece, Fill):
                writer.write(offset, piece.stored)
            else:
                for start, chunk in chunks(wire, piece):
                    writer.put(offset + start, chunk)


def aligned(offset: int, size: int) -> int:
    """Where a tensor of that size can begin: at a page if it is larger than one, else at a cache line."""
    step = PAGE if size >= PAGE else LINE
    return -(-offset // step) * step


def value_fields(placement: Placement, location: str) -> list[Piece]:
    """The fields that hold a tensor's values, or say where they are."""
    fill = placement.fill
    if placement.offset is None:
        return [encode_head(RAW_DATA, fill.size), fill]
    entries = {"location": location, "offset": str(placement.offset), "length": str(fill.size)}
    fields = [encode_bytes(EXTERNAL_DATA, entry(key, value)) for key, value in entries.items()]
    return [b"".join(fields) + encode_number(DATA_LOCATION, 1)]


def tensor_head(name: str, shape: Sequence[int], data_type: int) -> bytes:
    """The fields of a tensor that say everything but its values."""
    dims = b"".join(encode_number(DIMS, length) for length in shape)
    return dims + encode_number(DATA_TYPE, data_type) + encode_bytes(NAME, name.encode())


def message(number: int, pieces: Sequence[Piece]) -> list[Piece]:
    """A field whose value is a message of these pieces."""
    return [encode_head(number, sum(map(len, pieces))), *pieces]


def entry(key: str, value: str) -> bytes:
    """A key and its value, as the model keeps text about itself."""
    return encode_bytes(1, key.encode()) + encode_bytes(2, value.encode())


def located(pieces: Sequence[Piece]) -> Iterator[tuple[int, Piece]]:
    """Each piece, and the byte at which it begins."""
    offset = 0
    for piece in pieces:
        yield offset, piece
        offset += len(piece)


def chunks(wire: Wire, piece: bytes | Copy) -> Iterator[tuple[int, bytes]]:
    """The piece's bytes, some at a time, and where in it they begin."""
    if isinstance(piece, bytes):
        yield 0, piece
        return
    for start in range(0, len(piece), _CHUNK):
        yield start, wire.buffer[piece.begin + start : min(piece.end, piece.begin + start + _CHUNK)]

"""Writing weights into an ONNX graph: the template's messages piece by piece, with new values for its tensors.

Nothing but the pieces' places and one tensor is held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..checkpoint import Array, DType, LazyTensor, Output
from ..errors import RefusedError
from ._onnx_directory import Copy, Directory, Fill, Piece, Span, assemble
from ._onnx_external import INLINE_LIMIT, external_data_name
from ._onnx_tensor import DATA_LOCATION, DATA_TYPE, DIMS, EXTERNAL_DATA, NAME, Source, StoredTensor
from ._onnx_values import RAW_DATA
from ._onnx_wire import Wire, encode_bytes, encode_head, encode_number
from ._room import allocate
from ._tensor_writer import TensorWriter

SMALL_TENSOR = 1024
"""Smaller ones stay in the graph all the same."""
PAGE, LINE = 4096, 64
INITIALIZER_IS_INPUT = 3
"""The last IR version in which an initializer had to be an input of the graph, too."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class _Placement:
    """Where a tensor's new values go: into the message, or to an offset of the file beside it."""

    fill: Fill
    offset: int | None


@dataclass(frozen=True)
class _Agreeing:
    """A tensor that several outputs are to fill: with the same values, or it cannot be."""

    outputs: tuple[Output, ...]

    @property
    def name(self) -> str:
        return self.outputs[0].name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.outputs[0].shape

    @property
    def dtype(self) -> DType:
        return self.outputs[0].dtype

    def fill(self, memory: Array) -> None:
        self.outputs[0].fill(memory)
        for other in self.outputs[1:]:
            values = np.empty(self.shape, self.dtype)
            other.fill(values)
            if not np.array_equal(memory.reshape(-1).view(np.uint8), values.reshape(-1).view(np.uint8)):
                raise RefusedError(
                    f"the graph uses one tensor, {self.name!r}, in {len(self.outputs)} places, for which the source "
                    "has different values; export the template from a model whose weights are not equal"
                )


def rewrite_file(
    wire: Wire,
    source: Source,
    directory: Directory,
    tensors: Sequence[Output],
    metadata: Mapping[str, str],
    path: Path,
) -> None:
    """Write the model with these tensors in it to ``path``, and what is external to ``<name>.data`` beside it.

    Raises RefusedError where the graph has no place for a tensor."""
    new = _new_tensors(tensors, source, directory)
    placements = dict(_place(wire, source, directory, new, INLINE_LIMIT))
    outside = [placement for placement in placements.values() if placement.offset is not None]
    data_path = path.with_name(external_data_name(path))
    pieces = _pieces(directory, placements, metadata, data_path.name)
    if outside:
        allocate(data_path, (outside[-1].offset or 0) + outside[-1].fill.size)
        with TensorWriter(data_path) as writer:
            for placement in outside:
                writer.write(placement.offset or 0, placement.fill.stored)
    allocate(path, sum(map(len, pieces)))
    with TensorWriter(path) as writer:
        for offset, piece in _located(pieces):
            if isinstance(piece, Fill):
                writer.write(offset, piece.stored)
            else:
                for start, chunk in _chunks(wire, piece):
                    writer.put(offset + start, chunk)


def rewrite_bytes(wire: Wire, source: Source, directory: Directory, tensors: Sequence[Output]) -> bytes:
    """The model with these tensors in it, in memory and inline."""
    placements = dict(_place(wire, source, directory, _new_tensors(tensors, source, directory), None))
    pieces = _pieces(directory, placements, {}, "")
    data = bytearray(sum(map(len, pieces)))
    for offset, piece in _located(pieces):
        if isinstance(piece, Fill):
            output = piece.stored
            output.fill(np.ndarray(output.shape, output.dtype, buffer=data, offset=offset))
        else:
            for start, chunk in _chunks(wire, piece):
                data[offset + start : offset + start + len(chunk)] = chunk
    return bytes(data)


def _new_tensors(tensors: Sequence[Output], source: Source, directory: Directory) -> dict[str, Output]:
    """The outputs by name. Raises RefusedError listing each for which the graph has no place."""
    by_name: dict[str, list[Output]] = {}
    problems = []
    for tensor in tensors:
        by_name.setdefault(tensor.name, []).append(tensor)
        stored = directory.tensors.get(tensor.name)
        if stored is None:
            problems.append(f"the graph has no tensor {tensor.name!r}")
        elif tensor.shape != stored.shape:
            problems.append(f"{tensor.name!r} is {list(tensor.shape)}, and the graph has {list(stored.shape)} there")
        elif tensor.dtype != stored.dtype:
            problems.append(
                f"{tensor.name!r} is {tensor.dtype}, and the graph computes with {stored.dtype} there; "
                f"--dtype {stored.dtype} converts it"
            )
    if problems:
        raise RefusedError(f"{source.origin}: the weights do not fit this graph", problems)
    return {name: outputs[0] if len(outputs) == 1 else _Agreeing(tuple(outputs)) for name, outputs in by_name.items()}


def _place(
    wire: Wire, source: Source, directory: Directory, new: Mapping[str, Output], limit: int | None
) -> Iterator[tuple[str, _Placement]]:
    """A place for each tensor whose values are written anew: the new ones, and those of external files.

    A second name becomes a tensor of its own as soon as it, or the name that it stands for, has new values."""
    apart = {name for name, first in directory.aliases.items() if new.keys() & {name, first}}
    size = len(wire.buffer) + sum(directory.tensors[name].size for name in apart)
    crowded = limit is not None and size > limit
    end = 0
    for name, stored in directory.tensors.items():
        if name in directory.aliases and name not in apart:
            continue
        spills = crowded and stored.size >= SMALL_TENSOR and name not in directory.nested
        outside = (stored.external is not None or spills) and stored.size > 0
        if not outside and name not in new and name not in apart and stored.external is None:
            continue
        old = LazyTensor(name, stored.shape, stored.dtype, partial(stored.load, name, source))
        fill = Fill(new.get(name, old), stored.element, stored.size)
        offset = _aligned(end, stored.size) if outside else None
        yield name, _Placement(fill, offset)
        end = end if offset is None else offset + stored.size


def _aligned(offset: int, size: int) -> int:
    """Where a tensor of that size can begin: at a page if it is larger than one, else at a cache line."""
    step = PAGE if size >= PAGE else LINE
    return -(-offset // step) * step


def _pieces(
    directory: Directory, placements: Mapping[str, _Placement], metadata: Mapping[str, str], location: str
) -> list[Piece]:
    def replace(span: Span) -> Sequence[Piece] | None:
        if span.metadata in metadata:
            return []
        name = span.alias or span.tensor or ""
        if name not in placements:
            return None
        stored, values = directory.tensors[name], _values(placements[name], location)
        if span.alias is None:
            return _message(span.field.number, [*(Copy(begin, end) for begin, end in stored.head), *values])
        return _own_tensor(directory, name, [_head(name, stored), *values])

    entries = [encode_bytes(14, _entry(key, value)) for key, value in metadata.items()]
    return [*assemble(directory.root, replace), *entries]


def _values(placement: _Placement, location: str) -> list[Piece]:
    """The fields that hold a tensor's values, or say where they are."""
    fill = placement.fill
    if placement.offset is None:
        return [encode_head(RAW_DATA, fill.size), fill]
    entries = {"location": location, "offset": str(placement.offset), "length": str(fill.size)}
    fields = [encode_bytes(EXTERNAL_DATA, _entry(key, value)) for key, value in entries.items()]
    return [b"".join(fields) + encode_number(DATA_LOCATION, 1)]


def _own_tensor(directory: Directory, name: str, tensor: list[Piece]) -> list[Piece]:
    """What stands in the place of an Identity node whose output gets values of its own."""
    if directory.ir_version > INITIALIZER_IS_INPUT:
        return _message(5, tensor)
    value = [encode_bytes(1, b"value"), *_message(5, tensor), encode_number(20, 4)]
    return _message(1, [encode_bytes(2, name.encode()), encode_bytes(4, b"Constant"), *_message(5, value)])


def _head(name: str, stored: StoredTensor) -> bytes:
    dims = b"".join(encode_number(DIMS, length) for length in stored.shape)
    return dims + encode_number(DATA_TYPE, stored.data_type) + encode_bytes(NAME, name.encode())


def _message(number: int, pieces: Sequence[Piece]) -> list[Piece]:
    return [encode_head(number, sum(map(len, pieces))), *pieces]


def _entry(key: str, value: str) -> bytes:
    return encode_bytes(1, key.encode()) + encode_bytes(2, value.encode())


def _located(pieces: Sequence[Piece]) -> Iterator[tuple[int, Piece]]:
    """Each piece, and the byte at which it begins."""
    offset = 0
    for piece in pieces:
        yield offset, piece
        offset += len(piece)


def _chunks(wire: Wire, piece: bytes | Copy) -> Iterator[tuple[int, bytes]]:
    """The piece's bytes, some at a time, and where in it they begin."""
    if isinstance(piece, bytes):
        yield 0, piece
        return
    for start in range(0, len(piece), _CHUNK):
        yield start, wire.buffer[piece.begin + start : min(piece.end, piece.begin + start + _CHUNK)]

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
from ._onnx_directory import Directory, Span, assemble
from ._onnx_external import INLINE_LIMIT, SMALL_TENSOR, external_data_name
from ._onnx_pieces import (
    Copy,
    Fill,
    Piece,
    Placement,
    aligned,
    chunks,
    entry,
    located,
    message,
    tensor_head,
    value_fields,
    write_pieces,
)
from ._onnx_tensor import Source
from ._onnx_wire import Wire, encode_bytes, encode_number

INITIALIZER_IS_INPUT = 3
"""The last IR version in which an initializer had to be an input of the graph, too."""


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
    data_path = path.with_name(external_data_name(path))
    pieces = _pieces(directory, placements, metadata, data_path.name)
    write_pieces(path, wire, pieces, data_path, [*placements.values()])


def rewrite_bytes(wire: Wire, source: Source, directory: Directory, tensors: Sequence[Output]) -> bytes:
    """The model with these tensors in it, in memory and inline."""
    placements = dict(_place(wire, source, directory, _new_tensors(tensors, source, directory), None))
    pieces = _pieces(directory, placements, {}, "")
    data = bytearray(sum(map(len, pieces)))
    for offset, piece in located(pieces):
        if isinstance(piece, Fill):
            output = piece.stored
            output.fill(np.ndarray(output.shape, output.dtype, buffer=data, offset=offset))
        else:
            for start, chunk in chunks(wire, piece):
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
) -> Iterator[tuple[str, Placement]]:
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
        offset = aligned(end, stored.size) if outside else None
        yield name, Placement(fill, offset)
        end = end if offset is None else offset + stored.size


def _pieces(
    directory: Directory, placements: Mapping[str, Placement], metadata: Mapping[str, str], location: str
) -> list[Piece]:
    def replace(span: Span) -> Sequence[Piece] | None:
        if span.metadata in metadata:
            return []
        name = span.alias or span.tensor or ""
        if name not in placements:
            return None
        stored, values = directory.tensors[name], value_fields(placements[name], location)
        if span.alias is None:
            return message(span.field.number, [*(Copy(begin, end) for begin, end in stored.head), *values])
        return _own_tensor(directory, name, [tensor_head(name, stored.shape, stored.data_type), *values])

    entries = [encode_bytes(14, entry(key, value)) for key, value in metadata.items()]
    return [*assemble(directory.root, replace), *entries]


def _own_tensor(directory: Directory, name: str, tensor: list[Piece]) -> list[Piece]:
    """What stands in the place of an Identity node whose output gets values of its own."""
    if directory.ir_version > INITIALIZER_IS_INPUT:
        return message(5, tensor)
    value = [encode_bytes(1, b"value"), *message(5, tensor), encode_number(20, 4)]
    return message(1, [encode_bytes(2, name.encode()), encode_bytes(4, b"Constant"), *message(5, value)])

"""Writing an ONNX model that was built: its graph as bytes, and its weights one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path

from ..checkpoint import Output
from ._onnx_directory import MODEL
from ._onnx_external import INLINE_LIMIT, SMALL_TENSOR, external_data_name
from ._onnx_pieces import Copy, Fill, Piece, Placement, aligned, message, tensor_head, value_fields, write_pieces
from ._onnx_values import data_types, elements
from ._onnx_wire import Wire

_GRAPH, _INITIALIZER = 7, 5


def write_built(path: Path, model: bytes, weights: Mapping[str, Output]) -> None:
    """Write ``model``, whose graph does not have these weights yet, with them as its initializers of these names.

    Where all would be near the 2 GB of a message, the larger ones go to ``<name>.data`` beside ``path``."""
    wire = Wire(str(path), model)
    graph = next(field for field in wire.fields(0, len(model), MODEL) if field.number == _GRAPH)
    data_path = path.with_name(external_data_name(path))
    placements = list(_placed(list(weights.values()), len(model)))
    initializers = [
        piece
        for name, placement in zip(weights, placements, strict=True)
        for piece in message(_INITIALIZER, _tensor(name, placement, data_path.name))
    ]
    inside = message(_GRAPH, [Copy(graph.begin, graph.end), *initializers])
    pieces = [Copy(0, graph.start), *inside, Copy(graph.end, len(model))]
    write_pieces(path, wire, pieces, data_path, placements)


def _placed(weights: Sequence[Output], size: int) -> Iterator[Placement]:
    kinds = [elements()[data_types()[tensor.dtype]] for tensor in weights]
    fills = [Fill(t, element, element.size(prod(t.shape))) for t, element in zip(weights, kinds, strict=True)]
    crowded = size + sum(fill.size for fill in fills) > INLINE_LIMIT
    end = 0
    for fill in fills:
        if crowded and fill.size >= SMALL_TENSOR:
            start = aligned(end, fill.size)
            end = start + fill.size
            yield Placement(fill, start)
        else:
            yield Placement(fill, None)


def _tensor(name: str, placement: Placement, location: str) -> list[Piece]:
    tensor = placement.fill.tensor
    return [tensor_head(name, tensor.shape, data_types()[tensor.dtype]), *value_fields(placement, location)]

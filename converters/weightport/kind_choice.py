"""Layers of which a file does not tell the kind: settled by a mapping file, or carried where every kind moves alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from .checkpoint import Checkpoint, Layer
from .errors import RefusedError, UsageError
from .mapping import NameMap
from .plan import LayerPlan, Move, SourceBlock, TensorPlan


class HasPlan(Protocol):
    """What has a plan of one layer."""

    @property
    def plan(self) -> LayerPlan: ...


Planned = TypeVar("Planned", bound=HasPlan)


def with_kinds(checkpoint: Checkpoint, names: NameMap) -> Checkpoint:
    """The checkpoint with the kinds of its layers that the mapping file settles.

    Raises UsageError for a kind that a layer cannot be."""
    if not names.kinds:
        return checkpoint
    layers = tuple(_with_kind(layer, names) for layer in checkpoint.layers)
    return replace(checkpoint, structure=replace(checkpoint.structure, layers=layers))


def _with_kind(layer: Layer, names: NameMap) -> Layer:
    kind = names.kind_of(layer.name)
    if kind is None or layer.kinds == (kind,):
        return layer
    if kind not in layer.kinds:
        raise UsageError(
            f"{names.origin}: [kinds] says that {layer.name!r} is a {kind}; its tensors are those of a "
            f"{' or '.join(layer.kinds)}"
        )
    return replace(layer, kinds=(kind,))


def of_any_kind(name: str, kinds: Sequence[str], make: Callable[[str], Planned]) -> Planned:
    """What ``make`` makes of a layer as its first kind, if it makes the same of it as every other kind.

    Raises RefusedError, naming the layer and the line to write, where what the layer is decides what is written."""
    first = make(kinds[0])
    for kind in kinds[1:]:
        try:
            alike = same_moves(first.plan, make(kind).plan)
        except RefusedError:
            alike = False
        if not alike:
            raise RefusedError(
                f"{name!r} can be {' or '.join(kinds)}, which the target does not store alike; say it in a mapping "
                f'file: [kinds] "{name}" = "{kinds[0]}", and give it with --map, or give a template (--into) that tells'
            )
    return first


def same_moves(one: LayerPlan, other: LayerPlan) -> bool:
    """Whether two plans write the same values into the same tensors, whatever they call the axes."""
    return [*map(_tensor_facts, one.tensors)] == [*map(_tensor_facts, other.tensors)] and [
        (need.tensor, need.value) for need in one.requirements
    ] == [(need.tensor, need.value) for need in other.requirements]


def _tensor_facts(tensor: TensorPlan) -> object:
    return tensor.name, tensor.shape, tensor.dtype, [_move_facts(move) for move in tensor.moves]


def _move_facts(move: Move) -> object:
    target = move.target
    places = [(size, stride) for _, size, stride in target.axes]
    regroup = [size for _, size in target.regroup]
    return target.offset, places, regroup, move.constant, [[*_source_facts(move, source)] for source in move.sources]


def _source_facts(move: Move, source: SourceBlock) -> Iterator[object]:
    """Where each axis of the target lies in the source."""
    yield source.tensor, source.sign, source.block.offset
    strides = {name: stride for name, _, stride in source.block.axes}
    yield from (strides.get(name) for name, *_ in move.target.axes)
    yield [move.target.names.index(name) for name, _ in source.block.regroup]

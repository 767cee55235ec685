"""A graph's weights for a target: through a plan into another layout of the same kind, or with their axes turned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ..checkpoint import Checkpoint, Output, Setting
from ..engine import settle
from ..layouts import layout_named
from ..notation import Block, contiguous_strides
from ..outputs import PlannedOutput
from ..plan import LayerPlan, Move, Plan, SourceBlock, TensorPlan
from ..planner import Part, plan_layer
from ..translation import target_roles
from ..views import view_for, view_of
from .operations import Operation


@dataclass(frozen=True)
class PlannedWeights:
    """A layer's weights in another layout, made when they are written, and the plan that makes them."""

    plan: LayerPlan
    tensors: Mapping[str, Output]


def planned(
    checkpoint: Checkpoint,
    operation: Operation,
    target: str,
    storage: Mapping[str, Setting] = MappingProxyType({}),
) -> PlannedWeights:
    """An operation's weights in the layout ``target`` (``onnx.lstm``), by that layout's own names.

    :param storage: which of the target's forms it is to be (``{"transB": 0}``); by default its first.

    Raises RefusedError where the target has no place for them."""
    source, goal = layout_named(operation.layout), layout_named(target)
    shapes = {local: checkpoint.tensors[name].shape for local, name in operation.weights.items()}
    view = view_of(source, shapes, operation.settings)
    roles = target_roles(goal, view.roles)
    fresh = view_for(goal, roles, view.counts, view.sizes, {**view.settings, **operation.settings}, storage)
    names = {local: f"{operation.layer}.{local}" for local in fresh.shapes}
    layer = plan_layer(
        [Part(operation.layer, view, operation.weights)],
        [Part(operation.layer, fresh, names)],
        {**view.settings, **fresh.settings},
        lambda name: checkpoint.tensors[name].dtype,
    )
    settled = settle(Plan((layer,)), lambda name: checkpoint.tensors[name].read()).layers[0]
    tensors = {tensor.name: PlannedOutput(tensor, checkpoint) for tensor in settled.tensors}
    return PlannedWeights(settled, {local: tensors[name] for local, name in names.items()})


def turned(checkpoint: Checkpoint, name: str, order: Sequence[int]) -> PlannedOutput:
    """A tensor with its axes in another order."""
    stored = checkpoint.tensors[name]
    strides = contiguous_strides(stored.shape)
    axes = [(f"axis {axis}", stored.shape[axis], strides[axis]) for axis in order]
    shape = tuple(size for _, size, _ in axes)
    steps = contiguous_strides(shape)
    target = Block(0, tuple((axis, size, step) for (axis, size, _), step in zip(axes, steps, strict=True)))
    move = Move("turned", target, (SourceBlock(name, Block(0, tuple(axes))),))
    return PlannedOutput(TensorPlan(name, shape, stored.dtype, (move,)), checkpoint)

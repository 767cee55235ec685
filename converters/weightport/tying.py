"""Tied tensors: two names of one piece of memory. It is written once, and two different values for it are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from .checkpoint import Array, Checkpoint
from .engine import execute
from .errors import RefusedError
from .plan import LayerPlan, Plan, TensorPlan


def ties_of(checkpoint: Checkpoint | None) -> Mapping[str, str]:
    """The first name of every tensor that has several, by its other names."""
    ties: Mapping[str, str] = checkpoint.contents.description.get("tied", {}) if checkpoint else {}
    return ties


def tied(plan: Plan, ties: Mapping[str, str], read: Callable[[str], Array]) -> Plan:
    """The plan with every tensor of the target filled once, and filled under all of its names.

    Raises RefusedError where the source has different values for one tensor of the target."""
    first: dict[str, TensorPlan] = {}
    problems = []
    layers = []
    for layer in plan.layers:
        kept = []
        for tensor in layer.tensors:
            other = first.setdefault(ties.get(tensor.name, tensor.name), tensor)
            if other is not tensor and not _equal(other, tensor, read):
                problems.append(_two_values(other.name, tensor.name))
            if other is tensor or other.name != tensor.name:
                kept.append(tensor)
        layers.append(replace(layer, tensors=tuple(kept)))
    if problems:
        raise RefusedError("the target keeps in one tensor what the source has apart", problems)
    return Plan(tuple(_under_all_names(layer, ties, layers) for layer in layers))


def with_ties(names: Iterable[str], ties: Mapping[str, str]) -> set[str]:
    """The names, and all others of the same tensors."""
    roots = {ties.get(name, name) for name in names}
    return roots | {name for name, root in ties.items() if root in roots}


def _under_all_names(layer: LayerPlan, ties: Mapping[str, str], layers: Iterable[LayerPlan]) -> LayerPlan:
    """The layer with its tensors written under those of their names that no layer fills, too."""
    if not ties:
        return layer
    filled = {tensor.name for one in layers for tensor in one.tensors}
    more = [
        replace(tensor, name=name)
        for tensor in layer.tensors
        for name in sorted(with_ties([tensor.name], ties))
        if name not in filled and tensor.name == min(with_ties([tensor.name], ties) & filled)
    ]
    return replace(layer, tensors=(*layer.tensors, *more))


def _equal(one: TensorPlan, other: TensorPlan, read: Callable[[str], Array]) -> bool:
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    values = [np.empty(plan.shape, plan.dtype) for plan in (one, other)]
    for plan, memory in zip((one, other), values, strict=True):
        execute(plan, read, memory)
    return values[0].tobytes() == values[1].tobytes()


def _two_values(one: str, other: str) -> str:
    names = f"{one} and {other} are one tensor" if one != other else f"{one} is one tensor with two uses"
    return f"{names}, and the source has two values for it"

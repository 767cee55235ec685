"""Layers that merge several values."""

from __future__ import annotations

from collections.abc import Sequence

from ..keras_call import Call, Nested, translates
from ..operations import Value


@translates("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
def merge(call: Call) -> Nested:
    """Elementwise; values of fewer axes get new ones after the batch."""
    y = call.add(call.entry.class_name.lower(), aligned(call, call.inputs), {})
    _merge_masks(call, y)
    return y


@translates("Concatenate")
def concatenate(call: Call) -> Nested:
    """One after the other along an axis."""
    values = call.inputs
    axis = call.config.get("axis", -1) % values[0].rank
    y = call.add("concatenate", values, {"axis": axis})
    if any(call.mask(value) for value in values):
        if axis == 1 and y.rank == 3:
            _join_masks(call, y)
        else:
            _merge_masks(call, y)
    return y


@translates("Dot")
def dot(call: Call) -> Nested:
    """The products of two values summed along one axis of each."""
    one, other = call.inputs
    axes = call.config["axes"]
    pair = [axes, axes] if isinstance(axes, int) else list(axes)
    settings = {"axes": (pair[0] % one.rank, pair[1] % other.rank), "normalize": bool(call.config.get("normalize"))}
    return call.add("dot", [one, other], settings)


def aligned(call: Call, values: Sequence[Value]) -> list[Value]:
    """The values with as many axes as the one that has most: new ones come after the batch."""
    rank = max(value.rank for value in values)
    return [
        value
        if value.rank == rank
        else call.add("expand", [value], {"axes": tuple(range(1, 1 + rank - value.rank))}, suffix="expand")
        for value in values
    ]


def _merge_masks(call: Call, y: Value) -> None:
    """A step counts where it counts in any value, if all have masks (keras/src/layers/merging/base_merge.py)."""
    masks = [mask for value in call.inputs if (mask := call.mask(value)) is not None]
    if len(masks) < len(call.inputs):
        return
    merged = masks[0]
    for mask in masks[1:]:
        merged = call.add("logical_or", [merged, mask], {}, suffix="mask")
    call.builder.masks[y.name] = merged


def _join_masks(call: Call, y: Value) -> None:
    """Masks one after the other, as their values; every step of a value without a mask counts."""
    masks = [
        call.mask(value) or call.add("mask_steps", [value], {"value": float("nan")}, suffix="every_step")
        for value in call.inputs
    ]
    call.builder.masks[y.name] = call.add("concatenate", masks, {"axis": 1}, suffix="mask")

"""Layers that merge several values."""

from __future__ import annotations

from collections.abc import Sequence

from ..keras_call import Call, Nested, translates
from ..operations import Value


@translates("Add", "Subtract", "Average")
def merge(call: Call) -> Nested:
    """Elementwise; values of fewer axes get new ones after the batch."""
    y = call.add(call.entry.class_name.lower(), aligned(call, call.inputs), {})
    _merge_masks(call, y)
    return y


@translates("Multiply")
def multiply(call: Call) -> Nested:
    """What is masked counts as one, or as zero where it is masked in every value (layers/merging/multiply.py)."""
    values = aligned(call, call.inputs)
    one = call.number(1, values[0].dtype)
    y = call.add("multiply", [_chosen(call, call.mask(x), x, one) for x in values], {})
    merged = _merged_mask(call, values)
    y = _chosen(call, merged, y, call.number(0, y.dtype)) if merged else y
    _merge_masks(call, y)
    return y


@translates("Maximum", "Minimum")
def extreme(call: Call) -> Nested:
    """What is masked in one value is that of the other (layers/merging/base_merge.py, _apply_merge_op_and_or_mask)."""
    kind = call.entry.class_name.lower()
    y, *others = aligned(call, call.inputs)
    if not any(call.mask(x) for x in call.inputs):
        return call.add(kind, [y, *others], {})
    mask = call.mask(y)
    for x in others:
        own = call.mask(x)
        counted = _chosen(call, own, x, y)
        y = call.add(kind, [_chosen(call, mask, y, counted), counted], {})
        mask = call.add("logical_or", [mask, own], {}, suffix="mask") if mask and own else None
    _merge_masks(call, y)
    return y


def _chosen(call: Call, mask: Value | None, value: Value, other: Value) -> Value:
    """The value at the steps that count, the other one elsewhere."""
    if mask is None:
        return value
    axes = tuple(range(mask.rank, value.rank))
    wide = call.add("expand", [mask], {"axes": axes}, suffix="wide")
    return call.add("where", [wide, value, other], {}, suffix="counted", dtype=value.dtype)


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
    merged = _merged_mask(call, call.inputs)
    if merged is not None:
        call.builder.masks[y.name] = merged


def _merged_mask(call: Call, values: Sequence[Value]) -> Value | None:
    masks = [mask for value in values if (mask := call.mask(value)) is not None]
    if len(masks) < len(values):
        return None
    merged, *others = dict.fromkeys(masks)
    for mask in others:
        merged = call.add("logical_or", [merged, mask], {}, suffix="mask")
    return merged


def _join_masks(call: Call, y: Value) -> None:
    """Masks one after the other, as their values; every step of a value without a mask counts."""
    masks = [
        call.mask(value) or call.add("mask_steps", [value], {"value": float("nan")}, suffix="every_step")
        for value in call.inputs
    ]
    call.builder.masks[y.name] = call.add("concatenate", masks, {"axis": 1}, suffix="mask")

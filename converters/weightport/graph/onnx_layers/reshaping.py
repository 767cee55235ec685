"""Operations that move elements, and those that change the size of a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...errors import RefusedError
from ..interpolation import KERNELS, pixel_weights
from ..onnx_context import Context, Order, channels_first, plain
from ..onnx_registry import emits
from ..operations import Operation
from .convolution import map_order

if TYPE_CHECKING:
    import onnx_ir as ir

FIRST, LAST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@emits("reshape")
def reshape(c: Context, operation: Operation) -> None:
    """``Reshape``, which keeps the batch."""
    c.put(operation, c.node("Reshape", [c.get(operation), c.whole([0, *operation.settings["shape"]])]))


@emits("reshape_all")
def reshape_all(c: Context, operation: Operation) -> None:
    """``Reshape`` of the batch, too."""
    c.put(operation, c.node("Reshape", [c.get(operation), c.whole(operation.settings["shape"])]))


@emits("transpose")
def transpose(c: Context, operation: Operation) -> None:
    """Nothing moves: what is held is the same, and its order another one."""
    turned, order = operation.settings["order"], c.order(operation)
    c.put(operation, c.get(operation, order=order), tuple(turned.index(axis) for axis in order))


@emits("fold_time")
def fold_time(c: Context, operation: Operation) -> None:
    """Every step becomes a sample."""
    rest = c.info(operation).shape[2:]
    shape = _joined_shape(c, [c.whole([-1])], rest, c.get(operation), 2)
    c.put(operation, c.node("Reshape", [c.get(operation), shape]))


@emits("unfold_time")
def unfold_time(c: Context, operation: Operation) -> None:
    """The samples become steps again."""
    y, x = c.get(operation), c.get(operation, 1)
    time = c.info(operation, 1).shape[1]
    if time is None:
        front = [c.node("Slice", [c.node("Shape", [x]), c.whole([0]), c.whole([2])])]
    else:
        front = [c.whole([-1, time])]
    shape = _joined_shape(c, front, c.info(operation).shape[1:], y, 1)
    c.put(operation, c.node("Reshape", [y, shape]))


def _joined_shape(
    c: Context, front: list[ir.Value], rest: Sequence[int | None], value: ir.Value, start: int
) -> ir.Value:
    """A shape that begins with ``front`` and ends as the value's from ``start`` on; a constant if it can be."""
    known = [size for size in rest if size is not None]
    if len(known) < len(rest):
        ends = c.node("Slice", [c.node("Shape", [value]), c.whole([start]), c.whole([LAST])])
    else:
        constant = front[0].const_value
        if constant is not None:
            return c.whole([*constant.numpy().tolist(), *known])
        ends = c.whole(known)
    return c.node("Concat", [*front, ends], {"axis": 0})


@emits("tile")
def tile(c: Context, operation: Operation) -> None:
    """``Tile``."""
    order = c.order(operation)
    counts = c.whole([operation.settings["counts"][axis] for axis in order])
    c.put(operation, c.node("Tile", [c.get(operation, order=order), counts]), order)


@emits("repeat")
def repeat(c: Context, operation: Operation) -> None:
    """A new axis of so many elements after the axis, and both made one."""
    axis, count, rank = operation.settings["axis"], operation.settings["count"], c.info(operation).rank
    rest = c.info(operation).shape[axis + 1 :]
    if None in rest:
        raise RefusedError(f"{operation.layer}: elements before a free axis cannot be repeated")
    wide = c.node("Unsqueeze", [c.get(operation), c.whole([axis + 1])])
    counts = [count if place == axis + 1 else 1 for place in range(rank + 1)]
    tiled = c.node("Tile", [wide, c.whole(counts)])
    c.put(operation, c.node("Reshape", [tiled, c.whole([*[0] * axis, -1, *(size or 0 for size in rest)])]))


@emits("crop")
def crop(c: Context, operation: Operation) -> None:
    """``Slice``."""
    amounts = operation.settings["amounts"]
    axes = [axis for axis, pair in enumerate(amounts) if any(pair)]
    ends = [-amounts[axis][1] if amounts[axis][1] else LAST for axis in axes]
    _slice(c, operation, axes, [amounts[axis][0] for axis in axes], ends, [1] * len(axes))


@emits("slice")
def slice_(c: Context, operation: Operation) -> None:
    """``Slice``; an open end is as far away as can be."""
    settings = operation.settings
    steps = settings["steps"]
    starts = [
        (0 if step > 0 else LAST) if start is None else start
        for start, step in zip(settings["starts"], steps, strict=True)
    ]
    stops = [
        (LAST if step > 0 else FIRST) if stop is None else stop
        for stop, step in zip(settings["stops"], steps, strict=True)
    ]
    _slice(c, operation, settings["axes"], starts, stops, steps)


@emits("flip")
def flip(c: Context, operation: Operation) -> None:
    """``Slice`` with steps of -1."""
    axes = operation.settings["axes"]
    count = len(axes)
    _slice(c, operation, axes, [-1] * count, [FIRST] * count, [-1] * count)


def _slice(
    c: Context,
    operation: Operation,
    axes: Sequence[int],
    starts: Sequence[int],
    stops: Sequence[int],
    steps: Sequence[int],
) -> None:
    order = c.order(operation)
    places = [order.index(axis) for axis in axes]
    x = c.get(operation, order=order)
    lists = [c.whole(one) for one in (starts, stops, places, steps)]
    c.put(operation, c.node("Slice", [x, *lists]) if axes else c.node("Identity", [x]), order)


@emits("pad")
def pad(c: Context, operation: Operation) -> None:
    """``Pad``."""
    order, settings = c.order(operation), operation.settings
    amounts = [settings["amounts"][axis] for axis in order]
    pads = c.whole([*(before for before, _ in amounts), *(after for _, after in amounts)])
    inputs = [c.get(operation, order=order), pads]
    if settings["mode"] == "constant":
        inputs.append(c.number(settings["value"], c.info(operation).dtype))
    c.put(operation, c.node("Pad", inputs, {"mode": settings["mode"]}), order)


@emits("upsample")
def upsample(c: Context, operation: Operation) -> None:
    """``Resize`` by factors."""
    factors, method = operation.settings["factors"], operation.settings["method"]
    rank = len(factors)
    order = plain(rank) if factors[1] == 1 and factors[-1] > 1 else channels_first(rank)
    if _has_kernel(c, operation, order):
        _interpolate(c, operation, order)
        return
    scales = np.asarray([factors[axis] for axis in order], np.float32)
    _resize(c, operation, order, c.constant(scales, f"scales.{'_'.join(str(factors[axis]) for axis in order)}"), method)


@emits("resize")
def resize(c: Context, operation: Operation) -> None:
    """``Resize`` to a size."""
    order, shape = map_order(c, operation), c.info(operation).shape
    if _has_kernel(c, operation, order):
        _interpolate(c, operation, order)
        return
    x = c.get(operation, order=order)
    channels = shape[order[1]]
    batch = c.node("Slice", [c.node("Shape", [x]), c.whole([0]), c.whole([1 if channels else 2])])
    wanted = c.whole([*([channels] if channels else []), *operation.settings["size"]])
    sizes = c.node("Concat", [batch, wanted], {"axis": 0})
    _resize(c, operation, order, sizes, operation.settings["method"])


def _has_kernel(c: Context, operation: Operation, order: Order) -> bool:
    """Whether it is by a kernel, over maps of known sizes."""
    return operation.settings["method"] in KERNELS and None not in [c.info(operation).shape[axis] for axis in order[2:]]


def _interpolate(c: Context, operation: Operation, order: Order) -> None:
    """Products with constant matrices, of the rows and of the columns."""
    before, after = c.info(operation).shape, operation.outputs[0].shape
    rows, columns = (pixel_weights(before[a] or 1, after[a] or 1, operation.settings["method"]) for a in order[2:])
    y = c.node("MatMul", [c.own_constant(rows, "rows"), c.get(operation, order=order)])
    c.put(operation, c.node("MatMul", [y, c.own_constant(columns.T, "columns")]), order)


def _resize(c: Context, operation: Operation, order: Order, by: ir.Value, method: str) -> None:
    """Pixels are squares with a centre, as in TensorFlow 2; the nearest is the one that the centre falls into."""
    if method.startswith("lanczos"):
        raise RefusedError(f"{operation.layer}: interpolation by {method} needs a map of known size")
    attributes: dict[str, object] = {"mode": method, "coordinate_transformation_mode": "half_pixel"}
    if method == "nearest":
        attributes["nearest_mode"] = "round_prefer_ceil"
    if method == "cubic":
        attributes |= {"cubic_coeff_a": -0.5, "exclude_outside": 1}
    x = c.get(operation, order=order)
    inputs = [x, None, by] if operation.kind == "upsample" else [x, None, None, by]
    c.put(operation, c.node("Resize", inputs, attributes), order)


@emits("squeeze", "expand")
def other_axes(c: Context, operation: Operation) -> None:
    """``Squeeze`` and ``Unsqueeze``."""
    operator = "Squeeze" if operation.kind == "squeeze" else "Unsqueeze"
    c.put(operation, c.node(operator, [c.get(operation), c.whole(operation.settings["axes"])]))


@emits("broadcast")
def broadcast(c: Context, operation: Operation) -> None:
    """``Expand``, whose ones leave what is there."""
    c.put(operation, c.node("Expand", [c.get(operation), c.whole([1, *operation.settings["shape"]])]))


@emits("split")
def split(c: Context, operation: Operation) -> None:
    """``Split``."""
    order, sizes = c.order(operation), operation.settings["sizes"]
    attributes = {"axis": order.index(operation.settings["axis"])}
    inputs = [c.get(operation, order=order), c.whole(sizes)]
    for index, part in enumerate(c.node_of_many("Split", inputs, attributes, len(sizes))):
        c.put(operation, part, order, index)


@emits("fill")
def fill(c: Context, operation: Operation) -> None:
    """``Expand`` of one number."""
    x = c.get(operation)
    number = c.number(operation.settings["value"].item(), operation.outputs[0].dtype)
    c.put(operation, c.node("Expand", [number, c.node("Shape", [x])]))

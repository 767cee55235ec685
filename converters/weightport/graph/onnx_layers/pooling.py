"""Pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import RefusedError
from ..onnx_context import Context, Order
from ..onnx_registry import emits
from ..operations import Operation
from ..shape_rules import spatial_axes
from .convolution import map_order, padding

if TYPE_CHECKING:
    import onnx_ir as ir


@emits("pool")
def pool(c: Context, operation: Operation) -> None:
    """``MaxPool`` or ``AveragePool``, which does not count what is padded."""
    order, settings = map_order(c, operation), operation.settings
    size, strides = settings["size"], settings["strides"]
    attributes: dict[str, Any] = {
        "kernel_shape": list(size),
        "strides": list(strides),
        **padding(c, operation, size, strides, [1] * len(size)),
    }
    operator = "MaxPool" if settings["function"] == "max" else "AveragePool"
    c.put(operation, c.node(operator, [c.get(operation, order=order)], attributes), order)


@emits("global_pool")
def global_pool(c: Context, operation: Operation) -> None:
    """A reduction of every axis but batch and channels."""
    settings, rank = operation.settings, c.info(operation).rank
    axes = tuple(spatial_axes(rank, channels_first=settings["channels_first"]))
    if c.has(operation, 1):
        _masked_mean(c, operation, axes)
        return
    order = c.order(operation)
    operator = "ReduceMax" if settings["function"] == "max" else "ReduceMean"
    places = c.whole(sorted(order.index(axis) for axis in axes))
    y = c.node(operator, [c.get(operation, order=order), places], {"keepdims": int(settings["keepdims"])})
    c.put(operation, y, order if settings["keepdims"] else order_without(order, axes))


def order_without(order: Order, axes: tuple[int, ...]) -> Order:
    """The order of what is left when axes go."""
    left = [axis for axis in range(len(order)) if axis not in axes]
    return tuple(left.index(axis) for axis in order if axis not in axes)


def _masked_mean(c: Context, operation: Operation, axes: tuple[int, ...]) -> None:
    """The sum of the steps that count, divided by their number."""
    settings = operation.settings
    weights = c.node("Cast", [c.get(operation, 1)], {"to": int(c.dtype(c.info(operation).dtype))})
    wide = c.node("Unsqueeze", [weights, c.whole([1 if settings["channels_first"] else 2])])
    keepdims = {"keepdims": int(settings["keepdims"])}
    places = c.whole(list(axes))
    total = c.node("ReduceSum", [c.node("Mul", [c.get(operation), wide]), places], keepdims)
    c.put(operation, c.node("Div", [total, c.node("ReduceSum", [wide, places], keepdims)]))


@emits("adaptive_pool")
def adaptive_pool(c: Context, operation: Operation) -> None:
    """Windows of one size where the map is a multiple of their number, else parts of it one by one."""
    order, settings = map_order(c, operation), operation.settings
    sizes = [c.info(operation).shape[axis] for axis in order[2:]]
    counts = settings["size"]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        raise RefusedError(
            f"{operation.layer}: adaptive pooling needs a known size of the map; build the model with one"
        )
    x = c.get(operation, order=order)
    if any(size % count for size, count in zip(known, counts, strict=True)):
        for axis, (size, count) in enumerate(zip(known, counts, strict=True), 2):
            x = _parts(c, x, axis, size, count, settings["function"])
        c.put(operation, x, order)
        return
    window = [size // count for size, count in zip(known, counts, strict=True)]
    operator = "MaxPool" if settings["function"] == "max" else "AveragePool"
    c.put(operation, c.node(operator, [x], {"kernel_shape": window, "strides": window}), order)


def _parts(c: Context, x: ir.Value, axis: int, size: int, count: int, function: str) -> ir.Value:
    """One element along an axis for each of so many parts, which overlap where the size is no multiple."""
    operator = "ReduceMax" if function == "max" else "ReduceMean"
    reduced = []
    for index in range(count):
        ends = index * size // count, -(-(index + 1) * size // count)
        part = c.node("Slice", [x, *(c.whole([one]) for one in (*ends, axis))])
        reduced.append(c.node(operator, [part, c.whole([axis])], {"keepdims": 1}))
    return c.node("Concat", reduced, {"axis": axis})

"""Normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...checkpoint import Array
from ..onnx_context import Context, Order, plain
from ..onnx_registry import emits
from ..operations import Operation

if TYPE_CHECKING:
    import onnx_ir as ir


@emits("batch_norm")
def batch_norm(c: Context, operation: Operation) -> None:
    """``BatchNormalization``, with the normalised axis after the batch."""
    order = _with_second(c.order(operation), operation.settings["axis"])
    weights = c.planned(operation, "onnx.batch_norm")
    channels = weights["input_mean"].shape
    found = {name: c.weight(operation, tensor, _name(name)) for name, tensor in weights.items()}
    found.setdefault("scale", c.filled(1.0, channels))
    found.setdefault("B", c.filled(0.0, channels))
    inputs = [c.get(operation, order=order), *(found[key] for key in ("scale", "B", "input_mean", "input_var"))]
    c.put(operation, c.node("BatchNormalization", inputs, {"epsilon": operation.settings["epsilon"]}), order)


def _name(operator_name: str) -> str:
    return {"B": "bias", "input_mean": "running_mean", "input_var": "running_var"}.get(operator_name, operator_name)


def _with_second(order: Order, axis: int) -> Order:
    """An order with this axis after the batch: the held one if it is so already."""
    if order[0] == 0 and order[1] == axis:
        return order
    return (0, axis, *(one for one in range(1, len(order)) if one != axis))


def _with_last(order: Order, axes: tuple[int, ...]) -> Order:
    """An order with these axes at the end: the held one if it is so already."""
    if order[len(order) - len(axes) :] == axes:
        return order
    return (*(axis for axis in range(len(order)) if axis not in axes), *axes)


@emits("layer_norm")
def layer_norm(c: Context, operation: Operation) -> None:
    """``LayerNormalization`` over the axes at the end."""
    axes = operation.settings["axes"]
    order = _with_last(c.order(operation), axes)
    sizes = [c.info(operation).shape[axis] or 1 for axis in axes]
    if "gamma" in operation.weights:
        scale = c.weight(operation, c.turned(operation, "gamma", range(len(axes))), "weight")
    else:
        scale = c.filled(1.0, sizes)
    inputs = [c.get(operation, order=order), scale]
    if "beta" in operation.weights:
        inputs.append(c.weight(operation, c.turned(operation, "beta", range(len(axes))), "bias"))
    attributes = {"axis": len(order) - len(axes), "epsilon": operation.settings["epsilon"]}
    c.put(operation, c.node("LayerNormalization", inputs, attributes), order)


@emits("rms_norm")
def rms_norm(c: Context, operation: Operation) -> None:
    """``x / sqrt(mean(x ** 2) + epsilon) * scale``."""
    axes = operation.settings["axes"]
    order = _with_last(c.order(operation), axes)
    x = c.get(operation, order=order)
    places = c.whole(range(len(order) - len(axes), len(order)))
    mean = c.node("ReduceMean", [c.node("Mul", [x, x]), places], {"keepdims": 1})
    root = c.node("Sqrt", [c.node("Add", [mean, c.number(operation.settings["epsilon"])])])
    y = c.node("Div", [x, root])
    if "scale" in operation.weights:
        y = c.node("Mul", [y, c.weight(operation, c.turned(operation, "scale", range(len(axes))), "weight")])
    c.put(operation, y, order)


@emits("group_norm")
def group_norm(c: Context, operation: Operation) -> None:
    """``InstanceNormalization`` of the groups as if each were one channel, then scale and bias of the channels."""
    axis, groups = operation.settings["axis"], operation.settings["groups"]
    order = _with_second(c.order(operation), axis)
    x = c.get(operation, order=order)
    ones, zeros = (c.filled(number, [groups]) for number in (1.0, 0.0))
    grouped = c.node("Reshape", [x, c.whole([0, groups, -1])])
    normal = c.node("InstanceNormalization", [grouped, ones, zeros], {"epsilon": operation.settings["epsilon"]})
    y = c.node("Reshape", [normal, c.node("Shape", [x])])
    for operator, local, name in (("Mul", "gamma", "weight"), ("Add", "beta", "bias")):
        if local in operation.weights:
            shape = (-1, *(1,) * (len(order) - 2))
            y = c.node(operator, [y, c.weight(operation, c.turned(operation, local, (0,), shape), name)])
    c.put(operation, y, order)


@emits("unit_norm")
def unit_norm(c: Context, operation: Operation) -> None:
    """``x / sqrt(max(sum(x ** 2), 1e-12))``."""
    order = c.order(operation)
    x = c.get(operation, order=order)
    places = c.whole(sorted(order.index(axis) for axis in operation.settings["axes"]))
    c.put(operation, c.node("Div", [x, length(c, x, places)]), order)


def length(c: Context, x: ir.Value, places: ir.Value) -> ir.Value:
    """The length of vectors along some axes, never quite zero."""
    square = c.node("ReduceSum", [c.node("Mul", [x, x]), places], {"keepdims": 1})
    return c.node("Sqrt", [c.node("Max", [square, c.number(1e-12)])])


@emits("standardize")
def standardize(c: Context, operation: Operation) -> None:
    """``(x - mean) / max(sqrt(variance), 1e-7)``, or the way back."""
    settings, rank = operation.settings, c.info(operation).rank
    shape = [-1 if axis in settings["axes"] else 1 for axis in range(rank)]
    if len(settings["axes"]) > 1:
        shape = [c.info(operation).shape[axis] or 1 if size == -1 else 1 for axis, size in enumerate(shape)]
    mean, variance = (_statistic(c, operation, key).reshape(shape) for key in ("mean", "variance"))
    deviation = np.maximum(np.sqrt(variance), np.float32(1e-7))
    x = c.get(operation, order=plain(rank))
    center, spread = c.own_constant(mean, "mean"), c.own_constant(deviation, "deviation")
    if settings["invert"]:
        c.put(operation, c.node("Add", [c.node("Mul", [x, spread]), center]))
    else:
        c.put(operation, c.node("Div", [c.node("Sub", [x, center]), spread]))


def _statistic(c: Context, operation: Operation, key: str) -> Array:
    if key in operation.weights:
        return c.checkpoint.tensors[operation.weights[key]].read()
    return np.asarray(operation.settings[key], np.float32)

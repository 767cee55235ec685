"""Normalisation, as a trained model does it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ...checkpoint import DType, Output
from ...errors import RefusedError
from ..operations import Operation
from ..torch_code import call
from ..torch_context import Context, Order
from ..torch_outputs import constant
from ..torch_registry import emits
from .convolution import unless


@emits("batch_norm")
def batch_norm(c: Context, operation: Operation) -> None:
    """``nn.BatchNorm1d``, ``2d`` and ``3d``, with the normalised axis as the channels."""
    axis, rank = operation.settings["axis"], c.value(operation).rank
    if rank > 5:
        raise RefusedError(f"{operation.layer}: nn.BatchNorm takes at most five axes, and here are {rank}")
    weights = c.planned(operation, "torch.batch_norm")
    statistics = next(output for name, output in weights.items() if name.startswith("running"))
    weights = _both(weights, statistics.shape, statistics.dtype)
    made = call(
        f"nn.BatchNorm{max(1, rank - 2)}d",
        statistics.shape[0],
        eps=unless(operation.settings["epsilon"], 1e-5),
        affine=None if "weight" in weights else False,
    )
    order = _with_axis_first(c.order(operation), axis)
    kept = c.kept(order)
    c.put(operation, c.run(c.layer(operation, made, weights), c.get(operation, order=kept), order), kept)


def _with_axis_first(held: Order, axis: int) -> Order:
    """The order in which a value is held, with one axis moved to the place after the batch if it is not there."""
    if held[1] == axis:
        return held
    return (0, axis, *(one for one in range(1, len(held)) if one != axis))


def _both(weights: dict[str, Output], shape: Sequence[int], dtype: DType) -> dict[str, Output]:
    """Scale and bias, or neither: what Keras leaves out is one or nought."""
    if "weight" in weights or "bias" in weights:
        weights.setdefault("weight", constant(shape, 1.0, dtype))
        weights.setdefault("bias", constant(shape, 0.0, dtype))
    return weights


@emits("layer_norm")
def layer_norm(c: Context, operation: Operation) -> None:
    """``nn.LayerNorm`` over the last axes."""
    order, shape = _last(c, operation)
    names = {"gamma": "weight", "beta": "bias"}
    weights: dict[str, Output] = {
        new: c.stored(operation, old, lambda array: array.reshape(shape))
        for old, new in names.items()
        if old in operation.weights
    }
    weights = _both(weights, shape, np.dtype("float32"))
    made = call(
        "nn.LayerNorm",
        shape[0] if len(shape) == 1 else shape,
        eps=unless(operation.settings["epsilon"], 1e-5),
        elementwise_affine=None if weights else False,
    )
    c.put(operation, call(c.layer(operation, made, weights), c.get(operation, order=order)), order)


@emits("rms_norm")
def rms_norm(c: Context, operation: Operation) -> None:
    """``nn.RMSNorm`` over the last axes."""
    order, shape = _last(c, operation)
    weights: dict[str, Output] = {"weight": c.stored(operation, "scale", lambda array: array.reshape(shape))}
    made = call("nn.RMSNorm", shape[0] if len(shape) == 1 else shape, eps=operation.settings["epsilon"])
    c.put(operation, call(c.layer(operation, made, weights), c.get(operation, order=order)), order)


def _last(c: Context, operation: Operation) -> tuple[Order, tuple[int, ...]]:
    """The order with the normalised axes at the end, and their sizes."""
    axes, value = operation.settings["axes"], c.value(operation)
    sizes = [value.shape[axis] for axis in axes]
    known = tuple(size for size in sizes if size is not None)
    if len(known) < len(sizes):
        raise RefusedError(f"{operation.layer}: it normalises an axis of a free size")
    return (*(axis for axis in range(value.rank) if axis not in axes), *axes), known


@emits("group_norm")
def group_norm(c: Context, operation: Operation) -> None:
    """``nn.GroupNorm``."""
    settings, value = operation.settings, c.value(operation)
    channels = value.shape[settings["axis"]]
    names = {"gamma": "weight", "beta": "bias"}
    weights: dict[str, Output] = {
        new: c.stored(operation, old, np.ravel) for old, new in names.items() if old in operation.weights
    }
    weights = _both(weights, (channels or prod(()),), np.dtype("float32"))
    made = call(
        "nn.GroupNorm",
        settings["groups"],
        channels,
        eps=unless(settings["epsilon"], 1e-5),
        affine=None if weights else False,
    )
    order = _with_axis_first(c.order(operation), settings["axis"])
    kept = c.kept(order)
    c.put(operation, c.run(c.layer(operation, made, weights), c.get(operation, order=kept), order), kept)


@emits("unit_norm")
def unit_norm(c: Context, operation: Operation) -> None:
    """To length one."""
    order = c.order(operation)
    x = c.get(operation, order=order)
    places = tuple(order.index(axis) for axis in operation.settings["axes"])
    squares = f"{x}.square().sum({places[0] if len(places) == 1 else places}, keepdim=True)"
    c.put(operation, f"{x} * {squares}.clamp(min=1e-12).rsqrt()", order)

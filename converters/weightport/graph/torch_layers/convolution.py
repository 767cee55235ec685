"""Convolutions with the channels first: plain, depthwise and transposed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...checkpoint import Array, Output
from ..operations import Operation
from ..shape_rules import spatial_axes
from ..sizes import padding_amounts, spread, transposed_cut
from ..torch_code import call
from ..torch_context import Context, Order, channels_first, natural, turn
from ..torch_registry import emits

_REMARKS = {"causal": "steps of the past only", "same": "padding same: the odd one at the end"}


@emits("conv")
def conv(c: Context, operation: Operation) -> None:
    """``nn.Conv1d``, ``nn.Conv2d`` and ``nn.Conv3d``."""
    weights = c.planned(operation, "torch.conv")
    groups = operation.settings["groups"]
    out_channels, in_channels, *size = weights["weight"].shape
    _convolved(c, operation, weights, (in_channels * groups, out_channels), size, groups)


@emits("depthwise_conv")
def depthwise_conv(c: Context, operation: Operation) -> None:
    """A convolution with a group for each channel."""
    weights: dict[str, Output] = {"weight": c.stored(operation, "kernel", _depthwise)}
    if "bias" in operation.weights:
        weights["bias"] = c.stored(operation, "bias")
    *size, in_channels, multiplier = c.shape_of(operation, "kernel")
    _convolved(c, operation, weights, (in_channels, in_channels * multiplier), size, in_channels)


def _depthwise(kernel: Array) -> Array:
    """From ``(..., in, multiplier)`` to ``(in * multiplier, 1, ...)``."""
    rank = kernel.ndim - 2
    turned = kernel.transpose(rank, rank + 1, *range(rank))
    return turned.reshape(-1, 1, *kernel.shape[:rank])


def _convolved(
    c: Context,
    operation: Operation,
    weights: dict[str, Output],
    channels: tuple[int, int],
    size: Sequence[int],
    groups: int,
) -> None:
    settings, rank = operation.settings, len(size)
    stride, dilation = settings["strides"], settings["dilation"]
    order = conv_order(operation, c.value(operation).rank)
    x, padding = padded(c, operation, order, size, stride, dilation)
    made = call(
        f"nn.Conv{rank}d",
        *channels,
        one_or_many(size),
        stride=unless(one_or_many(stride), 1),
        padding=unless(padding, 0),
        dilation=unless(one_or_many(dilation), 1),
        groups=unless(groups, 1),
        bias=None if "bias" in weights else False,
    )
    c.put(operation, c.run(c.layer(operation, made, weights), x, order), c.kept(order))


def conv_order(operation: Operation, rank: int) -> Order:
    """The order of axes with the channels at axis 1."""
    return natural(rank) if operation.settings["channels_first"] else channels_first(rank)


def padded(
    c: Context,
    operation: Operation,
    order: Order,
    size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    *,
    value: float = 0.0,
) -> tuple[str, object]:
    """The input with the borders that the layer itself cannot add, and the padding that it can.

    It is held in the order that :meth:`Context.kept` says."""
    kept = c.kept(order)
    x = c.get(operation, order=kept)
    amounts = borders(c, operation, size, stride, dilation)
    if is_even(amounts):
        return x, one_or_many([before for before, _ in amounts or ()] or [0])
    variable, kind = c.target(operation), operation.settings["padding"]
    if amounts is not None:
        around = amounts if kept == order else [*amounts, (0, 0)]
        c.line(variable, call("nn.functional.pad", x, last_first(around), value=_border(value)), _REMARKS[kind])
    else:
        reach = tuple(spread(k, d) for k, d in zip(size, dilation, strict=True))
        x = f"{x}{turn(kept, order)}"
        c.line(variable, call(c.part("functions.pad_same"), x, reach, tuple(stride), value=_border(value)))
        if kept != order:
            c.line(variable, f"{variable}{turn(order, kept)}")
    return variable, 0


def borders(
    c: Context, operation: Operation, size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]] | None:
    """What padding adds before and after on each axis, None where that depends on a free length."""
    kind = operation.settings["padding"]
    shape = c.value(operation).shape
    axes = spatial_axes(len(shape), channels_first=operation.settings["channels_first"])
    windows = zip(axes, size, stride, dilation, strict=True)
    amounts = [padding_amounts(shape[axis], k, s, d, kind) for axis, k, s, d in windows]
    known = [pair for pair in amounts if pair is not None]
    return known if len(known) == len(amounts) else None


def is_even(amounts: Sequence[tuple[int, int]] | None) -> bool:
    """Whether as much is added before as after, which PyTorch's layers do themselves."""
    return amounts is not None and all(before == after for before, after in amounts)


def _border(value: float) -> str | None:
    return None if value == 0 else 'float("-inf")' if value == float("-inf") else repr(value)


def last_first(amounts: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Before and after, the last axis first, as ``nn.functional.pad`` takes them."""
    return tuple(amount for pair in reversed(amounts) for amount in pair)


@emits("conv_transpose")
def conv_transpose(c: Context, operation: Operation) -> None:
    """``nn.ConvTranspose2d``; where Keras cuts more at the end than at the beginning, the rest follows."""
    settings = operation.settings
    *size, out_channels, in_channels = c.shape_of(operation, "kernel")
    rank = len(size)
    weights: dict[str, Output] = {"weight": c.stored(operation, "kernel", _transposed)}
    if "bias" in operation.weights:
        weights["bias"] = c.stored(operation, "bias")
    added = settings["output_padding"] or [None] * rank
    stride, dilation = settings["strides"], settings["dilation"]
    window = zip(size, stride, dilation, [settings["padding"]] * rank, added, strict=True)
    cuts = [transposed_cut(*one) for one in window]
    made = call(
        f"nn.ConvTranspose{rank}d",
        in_channels,
        out_channels,
        one_or_many(size),
        stride=unless(one_or_many(stride), 1),
        padding=unless(one_or_many([before for before, _ in cuts]), 0),
        output_padding=unless(one_or_many([max(0, before - after) for before, after in cuts]), 0),
        dilation=unless(one_or_many(dilation), 1),
        bias=None if "bias" in weights else False,
    )
    order = conv_order(operation, c.value(operation).rank)
    kept = c.kept(order)
    y = c.run(c.layer(operation, made, weights), c.get(operation, order=kept), order)
    more = [(0, min(0, before - after)) for before, after in cuts]
    if any(end for _, end in more):
        variable = c.target(operation)
        c.line(variable, y)
        y = call("nn.functional.pad", variable, last_first(more if kept == order else [*more, (0, 0)]))
    c.put(operation, y, kept)


def _transposed(kernel: Array) -> Array:
    """From ``(..., out, in)`` to ``(in, out, ...)``."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def one_or_many(sizes: Sequence[int]) -> int | tuple[int, ...]:
    """One number where all are alike."""
    return sizes[0] if len(set(sizes)) == 1 else tuple(sizes)


def unless(value: object, usual: object) -> object:
    """None where a value is the usual one and need not be said."""
    return None if value == usual else value

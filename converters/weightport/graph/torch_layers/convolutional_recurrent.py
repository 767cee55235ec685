"""Convolutional LSTMs, as a module of the file's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...checkpoint import Array, Output
from ...errors import RefusedError
from ..operations import Operation
from ..sizes import padding_amounts
from ..torch_code import Call, call
from ..torch_context import Context, Order
from ..torch_registry import emits
from .convolution import last_first, one_or_many, unless
from .recurrent import unusual_activations


@emits("conv_lstm")
def conv_lstm(c: Context, operation: Operation) -> None:
    """Frames with the channels first; the state's convolution keeps its size."""
    rank = c.value(operation).rank
    frames, one_frame = _frames(operation, rank), _frame(operation, rank)
    layer = c.layer(operation, _module(c, operation), _weights(c, operation))
    x = c.get(operation, order=frames)
    x = f"{x}.flip(1)" if operation.settings["direction"] == "backwards" else x
    given = [c.get(operation, index, one_frame) for index in range(1, len(operation.inputs)) if operation.inputs[index]]
    y = c.target(operation)
    used = [index for index, one in enumerate(operation.outputs[1:], 1) if c.is_used(one.name)]
    states = c.beside("states") if used else "_"
    c.line(f"{y}, {states}", call(layer, x, *([f"({', '.join(given)})"] if given else [])))
    if operation.settings["return_sequences"]:
        c.keep(operation, y, frames)
    else:
        c.line(y, f"{y}[:, -1]")
        c.keep(operation, y, one_frame)
    for index in used:
        c.hold(operation, f"{states}[{index - 1}]", one_frame, index)


def _frames(operation: Operation, rank: int) -> Order:
    """Batch, time, channels, then the map."""
    if operation.settings["channels_first"]:
        return tuple(range(rank))
    return (0, 1, rank - 1, *range(2, rank - 1))


def _frame(operation: Operation, rank: int) -> Order:
    """The same of one step."""
    return (0, *(axis - 1 for axis in _frames(operation, rank) if axis > 1))


def _module(c: Context, operation: Operation) -> Call:
    """The two convolutions, the borders of their maps, and the functions that are not the usual ones."""
    settings, rank = operation.settings, c.value(operation).rank - 3
    *size, channels, _ = c.shape_of(operation, "kernel")
    *own_size, units, _ = c.shape_of(operation, "recurrent_kernel")
    conv = call(
        f"nn.Conv{rank}d",
        channels,
        4 * units,
        one_or_many(size),
        stride=unless(one_or_many(settings["strides"]), 1),
        dilation=unless(one_or_many(settings["dilation"]), 1),
        bias=None if "bias" in operation.weights else False,
    )
    none = (0,) * 2 * rank
    return call(
        c.part("conv_lstm.ConvLSTM"),
        conv,
        call(f"nn.Conv{rank}d", units, 4 * units, one_or_many(own_size), bias=False),
        pad=unless(_pads(c, operation, size), none),
        recurrent_pad=unless(last_first([((k - 1) // 2, k // 2) for k in own_size]), none),
        **unusual_activations(c, operation),
    )


def _pads(c: Context, operation: Operation, size: Sequence[int]) -> tuple[int, ...]:
    """What goes around each frame, as ``nn.functional.pad`` takes it."""
    settings, shape = operation.settings, c.value(operation).shape
    lengths = shape[3:] if settings["channels_first"] else shape[2:-1]
    windows = zip(lengths, size, settings["strides"], settings["dilation"], strict=True)
    pads = [padding_amounts(*window, settings["padding"]) for window in windows]
    known = [pad for pad in pads if pad is not None]
    if len(known) < len(pads):
        raise RefusedError(f"{operation.layer}: frames of a free size are not supported with strides")
    return last_first(known)


def _weights(c: Context, operation: Operation) -> dict[str, Output]:
    weights: dict[str, Output] = {
        "conv.weight": c.stored(operation, "kernel", _filters),
        "recurrent.weight": c.stored(operation, "recurrent_kernel", _filters),
    }
    if "bias" in operation.weights:
        weights["conv.bias"] = c.stored(operation, "bias")
    return weights


def _filters(kernel: Array) -> Array:
    """From ``(..., in, out)`` to ``(out, in, ...)``."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))

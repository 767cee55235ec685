"""Convolutions, with the channels first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import RefusedError
from ..onnx_context import Context, Order, channels_first, plain
from ..onnx_registry import emits
from ..operations import Operation
from ..sizes import padding_amounts, transposed_cut


@emits("conv", "depthwise_conv")
def conv(c: Context, operation: Operation) -> None:
    """``Conv`` in groups; a depthwise one has a group for every channel."""
    order, settings = map_order(c, operation), operation.settings
    weights = c.planned(operation, "onnx.conv")
    kernel = c.shape_of_weight(operation, "kernel")[:-2]
    inputs = [c.get(operation, order=order), c.weight(operation, weights["W"], "weight")]
    if "B" in weights:
        inputs.append(c.weight(operation, weights["B"], "bias"))
    attributes = {
        "kernel_shape": list(kernel),
        "strides": list(settings["strides"]),
        "dilations": list(settings["dilation"]),
        "group": settings["groups"],
        **padding(c, operation, kernel, settings["strides"], settings["dilation"]),
    }
    c.put(operation, c.node("Conv", inputs, attributes), order)


@emits("conv_transpose")
def conv_transpose(c: Context, operation: Operation) -> None:
    """``ConvTranspose``: the elements that Keras cuts are its pads, those that it adds its output padding."""
    order, settings = map_order(c, operation), operation.settings
    *kernel, _, _ = c.shape_of_weight(operation, "kernel")
    weights = c.planned(operation, "onnx.conv_transpose")
    weight = c.weight(operation, weights["W"], "weight")
    bias = [c.weight(operation, weights["B"], "bias")] if "B" in weights else []
    added = settings["output_padding"] or (None,) * len(kernel)
    cuts = [
        transposed_cut(size, stride, dilation, settings["padding"], more)
        for size, stride, dilation, more in zip(kernel, settings["strides"], settings["dilation"], added, strict=True)
    ]
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": list(settings["strides"]),
        "dilations": list(settings["dilation"]),
        "pads": [*(before for before, _ in cuts), *(max(0, after) for _, after in cuts)],
        "output_padding": [max(0, -after) for _, after in cuts],
    }
    c.put(operation, c.node("ConvTranspose", [c.get(operation, order=order), weight, *bias], attributes), order)


def map_order(c: Context, operation: Operation) -> Order:
    """The order that has the channels after the batch."""
    rank = c.info(operation).rank
    return plain(rank) if operation.settings["channels_first"] else channels_first(rank)


def padding(
    c: Context, operation: Operation, kernel: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> dict[str, Any]:
    """The attribute that pads: amounts where they are known, else by the operator's own rule, which is the same."""
    shape, order = c.info(operation).shape, map_order(c, operation)
    how = operation.settings["padding"]
    sizes = [shape[axis] for axis in order[2:]]
    amounts = [padding_amounts(*window, how) for window in zip(sizes, kernel, strides, dilation, strict=True)]
    return known_padding(operation, amounts, kernel, strides)


def known_padding(
    operation: Operation, amounts: Sequence[tuple[int, int] | None], kernel: Sequence[int], strides: Sequence[int]
) -> dict[str, Any]:
    """The attribute for these amounts, of which those that depend on a free size are None."""
    known = [amount for amount in amounts if amount is not None]
    if len(known) == len(amounts):
        return {"pads": [*(before for before, _ in known), *(after for _, after in known)]}
    if any(size < stride for size, stride in zip(kernel, strides, strict=True)):
        raise RefusedError(
            f"{operation.layer}: 'same' padding of windows of {list(kernel)} with the larger strides "
            f"{list(strides)} needs a known size of the map; build the model with one"
        )
    return {"auto_pad": "SAME_UPPER"}

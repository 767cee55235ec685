"""Convolutions, with the channels first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...errors import RefusedError
from ..onnx_context import Context, Order, channels_first, plain
from ..onnx_registry import emits
from ..operations import Operation
from ..sizes import padding_amounts, transposed_cut

if TYPE_CHECKING:
    from ...checkpoint import Output


@emits("conv")
def conv(c: Context, operation: Operation) -> None:
    """``Conv``, in groups."""
    weights = c.planned(operation, "onnx.conv")
    kernel = c.shape_of_weight(operation, "kernel")[:-2]
    _convolution(c, operation, weights["W"], weights.get("B"), kernel, operation.settings["groups"])


@emits("depthwise_conv")
def depthwise_conv(c: Context, operation: Operation) -> None:
    """``Conv`` with a group for every channel."""
    *kernel, channels, _ = c.shape_of_weight(operation, "depthwise_kernel")
    rank = len(kernel)
    order = (rank, rank + 1, *range(rank))
    weight = c.turned(operation, "depthwise_kernel", order, (-1, 1, *kernel))
    bias = c.turned(operation, "bias", (0,)) if "bias" in operation.weights else None
    _convolution(c, operation, weight, bias, kernel, channels)


def _convolution(
    c: Context, operation: Operation, weight: Output, bias: Output | None, kernel: Sequence[int], groups: int
) -> None:
    order = map_order(c, operation)
    settings = operation.settings
    is_depthwise = operation.kind == "depthwise_conv"
    inputs = [c.get(operation, order=order), c.weight(operation, weight, _own(operation, "weight", is_depthwise))]
    if bias is not None:
        inputs.append(c.weight(operation, bias, "bias"))
    attributes = {
        "kernel_shape": list(kernel),
        "strides": list(settings["strides"]),
        "dilations": list(settings["dilation"]),
        "group": groups,
        **padding(c, operation, kernel, settings["strides"], settings["dilation"]),
    }
    c.put(operation, c.node("Conv", inputs, attributes), order)


def _own(operation: Operation, name: str, is_depthwise: bool) -> str:
    """The two halves of a separable convolution are of one layer, and need names of their own."""
    return f"depthwise_{name}" if is_depthwise and operation.name.endswith("/depthwise") else name


@emits("conv_transpose")
def conv_transpose(c: Context, operation: Operation) -> None:
    """``ConvTranspose``: the elements that Keras cuts are its pads, those that it adds its output padding."""
    order, settings = map_order(c, operation), operation.settings
    *kernel, _, _ = c.shape_of_weight(operation, "kernel")
    rank = len(kernel)
    weight = c.weight(operation, c.turned(operation, "kernel", (rank + 1, rank, *range(rank))), "weight")
    bias = [c.weight(operation, c.turned(operation, "bias", (0,)), "bias")] if "bias" in operation.weights else []
    added = settings["output_padding"] or (None,) * rank
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

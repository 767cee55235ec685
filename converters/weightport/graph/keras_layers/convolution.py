"""Convolutions: plain, depthwise, separable and transposed, in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...frameworks._keras_config import joined
from ..keras_call import Call, Nested, translates
from ..operations import Value


@translates("Conv1D", "Conv2D", "Conv3D")
def conv(call: Call) -> Nested:
    """A convolution, in groups where the config says so."""
    settings = {**convolution_settings(call), "groups": call.config.get("groups", 1)}
    layout = call.weights.layout(call.name, "conv")
    y = call.add("conv", [call.x], settings, weights=call.own_weights("kernel", "bias"), layout=layout)
    return call.activated(y, call.config.get("activation"))


@translates("DepthwiseConv1D", "DepthwiseConv2D")
def depthwise_conv(call: Call) -> Nested:
    """A convolution of every channel for itself."""
    y = _depthwise(call, convolution_settings(call))
    return call.activated(y, call.config.get("activation"))


@translates("SeparableConv1D", "SeparableConv2D")
def separable_conv(call: Call) -> Nested:
    """A depthwise convolution, then one of single points; the file's structure has them as two layers, too."""
    settings = convolution_settings(call)
    middle = _depthwise(replace(call, name=joined(call.name, "depthwise")), settings)
    point = replace(call, name=joined(call.name, "pointwise"))
    ones = (1,) * len(settings["strides"])
    settings |= {"strides": ones, "dilation": ones, "padding": "valid", "groups": 1}
    layout = call.weights.layout(point.name, "conv")
    y = point.add("conv", [middle], settings, weights=point.own_weights("kernel", "bias"), layout=layout)
    return call.activated(y, call.config.get("activation"))


def _depthwise(call: Call, settings: dict[str, Any]) -> Value:
    channels = call.x.shape[channel_axis(call, call.x)]
    if channels is None:
        raise call.refused("the number of channels is not known")
    weights, layout = call.own_weights("kernel", "bias"), call.weights.layout(call.name, "depthwise_conv")
    return call.add("depthwise_conv", [call.x], {**settings, "groups": channels}, weights=weights, layout=layout)


@translates("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def conv_transpose(call: Call) -> Nested:
    """The gradient of a convolution."""
    settings = convolution_settings(call)
    added = call.config.get("output_padding")
    sizes = None if added is None else many(added, len(settings["strides"]))
    weights, layout = call.own_weights("kernel", "bias"), call.weights.layout(call.name, "conv_transpose")
    y = call.add("conv_transpose", [call.x], {**settings, "output_padding": sizes}, weights=weights, layout=layout)
    return call.activated(y, call.config.get("activation"))


def convolution_settings(call: Call) -> dict[str, Any]:
    """What every convolution has."""
    rank = call.x.rank - 2
    return {
        "strides": many(call.config.get("strides", 1), rank),
        "dilation": many(call.config.get("dilation_rate", 1), rank),
        "padding": str(call.config.get("padding", "valid")).lower(),
        "channels_first": is_channels_first(call.config),
    }


def is_channels_first(config: Mapping[str, Any]) -> bool:
    """Whether axis 1 has the channels."""
    return config.get("data_format") == "channels_first"


def many(size: Any, count: int) -> tuple[int, ...]:
    """One size for every axis, or as many as there are."""
    return (size,) * count if isinstance(size, int) else tuple(size)


def channel_axis(call: Call, value: Value) -> int:
    """The axis of the channels."""
    return 1 if is_channels_first(call.config) else value.rank - 1

"""Pooling with the channels first: windows, whole maps and adaptive."""

from __future__ import annotations

from ..operations import Operation
from ..shape_rules import spatial_axes
from ..torch_code import Code, call
from ..torch_context import Context, natural, turn
from ..torch_registry import emits
from .convolution import borders, conv_order, is_even, one_or_many, padded, unless

_F = "nn.functional"


@emits("pool")
def pool(c: Context, operation: Operation) -> None:
    """Windows. What ``same`` adds is not counted in an average."""
    settings = operation.settings
    size, stride, ones = settings["size"], settings["strides"], (1,) * len(settings["size"])
    order = conv_order(operation, c.value(operation).rank)
    is_max = settings["function"] == "max"
    if not is_max and not is_even(borders(c, operation, size, stride, ones)):
        pooled = c.part("functions.average_pool_same")
        c.put(operation, call(pooled, c.get(operation, order=order), tuple(size), tuple(stride)), order)
        return
    x, padding = padded(c, operation, order, size, stride, ones, value=float("-inf"))
    x = f"{x}{turn(c.kept(order), order)}"
    function = f"{_F}.{'max' if is_max else 'avg'}_pool{len(size)}d"
    keywords = {"stride": unless(one_or_many(stride), one_or_many(size)), "padding": unless(padding, 0)}
    counted = None if is_max or padding == 0 else False
    c.put(operation, call(function, x, one_or_many(size), **keywords, count_include_pad=counted), order)


@emits("global_pool")
def global_pool(c: Context, operation: Operation) -> None:
    """The mean or the largest of every channel."""
    settings, rank = operation.settings, c.value(operation).rank
    if c.has(operation, 1):
        mean = call(c.part("functions.masked_mean"), c.get(operation), c.get(operation, 1))
        c.put(operation, f"{mean}.unsqueeze(1)" if settings["keepdims"] else mean)
        return
    order = c.order(operation)
    axes = spatial_axes(rank, channels_first=settings["channels_first"])
    places = sorted(order.index(axis) for axis in axes)
    place: object = places[0] if len(places) == 1 else tuple(places)
    keep = True if settings["keepdims"] else None
    function = f"{c.get(operation, order=order)}.{'amax' if settings['function'] == 'max' else 'mean'}"
    left = order if settings["keepdims"] else natural(2)
    c.put(operation, call(function, place, keepdim=keep), left)


@emits("adaptive_pool")
def adaptive_pool(c: Context, operation: Operation) -> None:
    """As many windows as asked for."""
    settings = operation.settings
    order = conv_order(operation, c.value(operation).rank)
    name = "max" if settings["function"] == "max" else "avg"
    function = f"{_F}.adaptive_{name}_pool{len(settings['size'])}d"
    made: Code = call(function, c.get(operation, order=order), one_or_many(settings["size"]))
    c.put(operation, made, order)

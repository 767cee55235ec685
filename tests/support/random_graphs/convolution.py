"""Convolutions and pooling, with every padding, stride, dilation, group and data format."""

from __future__ import annotations

from typing import Any

from keras import layers

from .core import activation
from .dice import ASSUMED, Dice, NotHere, divisors, draws, is_torch, sizes

MAPS = (3, 4, 5)


def data_format(dice: Dice, x: Any, *, anywhere: bool = False) -> dict[str, str]:
    """Channels first in some cases, where Keras' backend can run that (``anywhere``: in every backend)."""
    if not (anywhere or is_torch()) or None in x.shape[1:] or not dice.chance(0.3):
        return {}
    return {"data_format": "channels_first"}


def lengths(x: Any, given: dict[str, str]) -> list[int]:
    """The sizes of a map."""
    return sizes(x)[1:] if given else sizes(x)[:-1]


def channels(x: Any, given: dict[str, str]) -> int:
    """The number of channels."""
    return int(x.shape[1] if given else x.shape[-1])


def window(dice: Dice, x: Any, given: dict[str, str], *, alike: bool = False, causal: bool = False) -> dict[str, Any]:
    """Kernel size, strides or dilation, and padding, of one number or one for each axis, as far as the map goes."""
    room = lengths(x, given)
    padding = dice.one_of("valid", "same", *(["causal"] if causal else []))
    kernel = [dice.whole(1, min(4, size)) for size in room]
    stride = [1] * len(room)
    dilation = [1] * len(room)
    match dice.whole(0, 3):
        case 1:
            stride = [dice.whole(1, 3) for _ in room]
        case 2:
            dilation = [dice.whole(1, 3) for _ in room]
    if alike:
        stride, dilation = [stride[0]] * len(room), [dilation[0]] * len(room)
    reaches = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    is_free = None in x.shape[1:-1]
    if padding == "valid" and any(reach > (3 if is_free else size) for reach, size in zip(reaches, room, strict=True)):
        padding = "same"
    return {
        "kernel_size": short(kernel),
        "strides": short(stride),
        "dilation_rate": short(dilation),
        "padding": padding,
        **given,
    }


def short(numbers: list[int]) -> int | tuple[int, ...]:
    """One number where all are alike."""
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


def usual(dice: Dice) -> dict[str, Any]:
    """What every convolution can have."""
    return {"activation": activation(dice), "use_bias": dice.chance(0.8)}


@draws(*MAPS, often=5)
def conv(dice: Dice, x: Any) -> Any:
    given, rank = data_format(dice, x), len(x.shape) - 2
    groups = dice.one_of(1, *divisors(channels(x, given)))
    filters = groups * dice.whole(1, max(1, 6 // groups))
    own = window(dice, x, given, causal=rank == 1)
    layer = getattr(layers, f"Conv{rank}D")(filters, groups=groups, **own, **usual(dice))
    return layer(x)


@draws(3, 4, often=3)
def depthwise(dice: Dice, x: Any) -> Any:
    given, rank = data_format(dice, x), len(x.shape) - 2
    layer = getattr(layers, f"DepthwiseConv{rank}D")
    own = window(dice, x, given, alike=True)
    return layer(depth_multiplier=dice.whole(1, 3), **own, **usual(dice))(x)


@draws(3, 4, often=3)
def separable(dice: Dice, x: Any) -> Any:
    given, rank = data_format(dice, x), len(x.shape) - 2
    layer = getattr(layers, f"SeparableConv{rank}D")
    own = window(dice, x, given, alike=True, causal=rank == 1)
    return layer(dice.units(), depth_multiplier=dice.whole(1, 2), **own, **usual(dice))(x)


@draws(*MAPS, often=3)
def transposed(dice: Dice, x: Any) -> Any:
    given, rank = data_format(dice, x), len(x.shape) - 2
    own = window(dice, x, given)
    strides = own["strides"] if isinstance(own["strides"], tuple) else (own["strides"],) * rank
    if dice.chance(0.2) and min(strides) > 1:
        own["output_padding"] = dice.whole(0, min(strides) - 1)
    layer = getattr(layers, f"Conv{rank}DTranspose")
    return layer(dice.units(), **own, **usual(dice))(x)


@draws(*MAPS, often=4)
def pool(dice: Dice, x: Any) -> Any:
    given = data_format(dice, x, anywhere=True)
    room = lengths(x, given)
    size = [dice.whole(1, min(3, one)) for one in room]
    strides = dice.one_of(None, short([dice.whole(1, 3) for _ in room]))
    padding = "same" if None in x.shape[1:-1] else dice.one_of("valid", "same")
    function = dice.one_of("Max", "Average")
    if function == "Average" and is_torch():
        padding = "valid"  # on PyTorch, Keras counts borders that it does not count on TensorFlow
    layer = getattr(layers, f"{function}Pooling{len(room)}D")
    return layer(short(size), strides=strides, padding=padding, **given)(x)


@draws(*MAPS, often=2)
def global_pool(dice: Dice, x: Any) -> Any:
    given, rank = data_format(dice, x, anywhere=True), len(x.shape) - 2
    layer = getattr(layers, f"Global{dice.one_of('Max', 'Average')}Pooling{rank}D")
    return layer(keepdims=dice.chance(0.5), **given)(x)


@draws(*MAPS, often=2)
def adaptive_pool(dice: Dice, x: Any) -> Any:
    given = data_format(dice, x)
    if None in x.shape[1:] or ASSUMED in sizes(x)[:1]:
        raise NotHere
    counts = [dice.whole(1, size) for size in lengths(x, given)]
    layer = getattr(layers, f"Adaptive{dice.one_of('Max', 'Average')}Pooling{len(counts)}D")
    return layer(short(counts) if len(counts) > 1 else counts[0], **given)(x)

"""Layers that are stored in another way by each framework: one in real Keras and its twin in real PyTorch.

Values hide nothing: sizes differ along every axis, kernels are not square, and square where a missed turn would not
show in a shape.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from live_cases import Case, channels_first, channels_last

IMAGE, SIGNAL, VOLUME = (7, 6, 4), (9, 4), (4, 3, 5, 4)


def _space(name: str, keras: Any, torch: Any, shape: tuple[int, ...]) -> Case:
    return Case(name, keras, torch, shape, channels_first, channels_last)


def separable(nn: Any, class_name: str, *, out: int, kernel: Any, multiplier: int, **options: Any) -> Any:
    """A depthwise convolution and a pointwise one after it."""
    convolution = getattr(nn, class_name)
    depthwise = convolution(4, 4 * multiplier, kernel, groups=4, bias=False, **options)
    return nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=convolution(4 * multiplier, out, 1)))


CONVOLUTIONS = [
    _space("depthwise-2d", lambda k: k.DepthwiseConv2D((3, 2)), lambda n: n.Conv2d(4, 4, (3, 2), groups=4), IMAGE),
    _space(
        "depthwise-2d-multiplier",
        lambda k: k.DepthwiseConv2D(3, strides=2, depth_multiplier=3),
        lambda n: n.Conv2d(4, 12, 3, stride=2, groups=4),
        IMAGE,
    ),
    _space(
        "depthwise-2d-square",
        lambda k: k.DepthwiseConv2D(2, depth_multiplier=4, dilation_rate=2, use_bias=False),
        lambda n: n.Conv2d(4, 16, 2, dilation=2, groups=4, bias=False),
        IMAGE,
    ),
    _space(
        "depthwise-1d",
        lambda k: k.DepthwiseConv1D(3, depth_multiplier=2),
        lambda n: n.Conv1d(4, 8, 3, groups=4),
        SIGNAL,
    ),
    _space(
        "separable-2d",
        lambda k: k.SeparableConv2D(5, (3, 2), depth_multiplier=2),
        lambda n: separable(n, "Conv2d", out=5, kernel=(3, 2), multiplier=2),
        IMAGE,
    ),
    _space(
        "separable-2d-square",
        lambda k: k.SeparableConv2D(4, 3, strides=2),
        lambda n: separable(n, "Conv2d", out=4, kernel=3, multiplier=1, stride=2),
        IMAGE,
    ),
    _space(
        "separable-1d",
        lambda k: k.SeparableConv1D(5, 3, depth_multiplier=3),
        lambda n: separable(n, "Conv1d", out=5, kernel=3, multiplier=3),
        SIGNAL,
    ),
    _space(
        "transposed-1d",
        lambda k: k.Conv1DTranspose(6, 3, strides=2),
        lambda n: n.ConvTranspose1d(4, 6, 3, stride=2),
        SIGNAL,
    ),
    _space(
        "transposed-2d-same",
        lambda k: k.Conv2DTranspose(6, (4, 2), strides=2, padding="same"),
        lambda n: n.ConvTranspose2d(4, 6, (4, 2), stride=2, padding=(1, 0)),
        IMAGE,
    ),
    _space(
        "transposed-2d-square",
        lambda k: k.Conv2DTranspose(4, 3, strides=3),
        lambda n: n.ConvTranspose2d(4, 4, 3, stride=3),
        IMAGE,
    ),
    _space(
        "transposed-3d-no-bias",
        lambda k: k.Conv3DTranspose(3, (2, 3, 4), use_bias=False),
        lambda n: n.ConvTranspose3d(4, 3, (2, 3, 4), bias=False),
        VOLUME,
    ),
]

OTHERS = [
    _space("prelu", lambda k: k.PReLU(shared_axes=(1, 2)), lambda n: n.PReLU(4), IMAGE),
    _space("prelu-shared", lambda k: k.PReLU(shared_axes=(1, 2, 3)), lambda n: n.PReLU(), IMAGE),
    Case("prelu-flat", lambda k: k.PReLU(), lambda n: n.PReLU(4), (4,)),
    Case("einsum", lambda k: k.EinsumDense("bti,io->bto", (5, 6), bias_axes="o"), lambda n: n.Linear(4, 6), (5, 4)),
    Case(
        "einsum-turned-square",
        lambda k: k.EinsumDense("bti,oi->bto", (5, 4), bias_axes="o"),
        lambda n: n.Linear(4, 4),
        (5, 4),
    ),
]

"""Layers that move elements and compute nothing, and layers that change the size of a map."""

from __future__ import annotations

from typing import Any

from ..keras_call import Call, Nested, translates
from ..shape_rules import spatial_axes
from .convolution import is_channels_first, many


@translates("Reshape")
def reshape(call: Call) -> Nested:
    """Other axes for the same elements of each sample."""
    return call.add("reshape", [call.x], {"shape": tuple(call.config["target_shape"])})


@translates("Flatten")
def flatten(call: Call) -> Nested:
    """One axis beside the batch; maps with the channels first are turned before."""
    x = call.x
    if is_channels_first(call.config) and x.rank > 2:
        x = call.add("transpose", [x], {"order": (0, *range(2, x.rank), 1)}, suffix="channels_last")
    if x.rank == 1:
        return call.add("expand", [x], {"axes": (1,)})
    return call.add("reshape", [x], {"shape": (-1,)})


@translates("Permute")
def permute(call: Call) -> Nested:
    """The axes in another order."""
    return call.add("transpose", [call.x], {"order": (0, *call.config["dims"])})


@translates("RepeatVector")
def repeat_vector(call: Call) -> Nested:
    """One vector at every one of n steps."""
    wide = call.add("expand", [call.x], {"axes": (1,)}, suffix="step")
    return call.add("tile", [wide], {"counts": (1, call.config["n"], 1)})


@translates("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(call: Call) -> Nested:
    """Less at the borders."""
    return call.add("crop", [call.x], {"amounts": _borders(call, "cropping")})


@translates("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(call: Call) -> Nested:
    """Zeros at the borders."""
    return call.add("pad", [call.x], {"amounts": _borders(call, "padding"), "mode": "constant", "value": 0.0})


@translates("UpSampling1D", "UpSampling2D", "UpSampling3D")
def up_sampling(call: Call) -> Nested:
    """Larger maps by whole factors."""
    rank = call.x.rank
    factors = [1] * rank
    axes = spatial_axes(rank, channels_first=is_channels_first(call.config))
    for axis, factor in zip(axes, many(call.config.get("size", 2), rank - 2), strict=True):
        factors[axis] = factor
    return call.add("upsample", [call.x], {"factors": tuple(factors), "method": interpolation(call, "nearest")})


def interpolation(call: Call, usual: str) -> str:
    """How pixels between pixels are found. Raises RefusedError for a way that is not known."""
    name = str(call.config.get("interpolation", usual)).lower()
    method = {"bilinear": "linear", "bicubic": "cubic"}.get(name, name)
    if method not in ("nearest", "linear", "cubic", "lanczos3", "lanczos5"):
        raise call.refused(f"interpolation {name!r} is not supported")
    return method


def _borders(call: Call, key: str) -> tuple[tuple[int, int], ...]:
    rank = call.x.rank
    said: Any = call.config[key]
    pairs = [said] if rank == 3 else list(many(said, rank - 2))
    borders = [(one, one) if isinstance(one, int) else (one[0], one[1]) for one in pairs]
    every = [(0, 0)] * rank
    for axis, amounts in zip(spatial_axes(rank, channels_first=is_channels_first(call.config)), borders, strict=True):
        every[axis] = amounts
    return tuple(every)

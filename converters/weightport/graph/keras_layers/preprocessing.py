"""Preprocessing that is arithmetic. What looks things up in tables is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..keras_call import Call, Nested, translates
from ..operations import Value
from .convolution import is_channels_first
from .reshaping import interpolation


@translates("Rescaling")
def rescaling(call: Call) -> Nested:
    """``x * scale + offset``; a list has one number for each channel."""
    settings = {"scale": _numbers(call.config["scale"]), "offset": _numbers(call.config.get("offset", 0.0))}
    return call.add("affine", [floating(call, call.x)], settings)


@translates("Normalization")
def normalization(call: Call) -> Nested:
    """``(x - mean) / sqrt(variance)``, by statistics that the layer learned or was given."""
    x = floating(call, call.x)
    axis: Any = call.config.get("axis", -1)
    axes = [] if axis is None else [one % x.rank for one in ([axis] if isinstance(axis, int) else axis)]
    settings = {"axes": tuple(sorted(axes)), "invert": bool(call.config.get("invert"))}
    weights = call.optional_weights("mean", "variance")
    call.builder.bookkeeping += call.optional_weights("count").values()
    if not weights:
        settings["mean"], settings["variance"] = (_numbers(call.config.get(key)) for key in ("mean", "variance"))
    return call.add("standardize", [x], settings, weights=weights)


@translates("Resizing")
def resizing(call: Call) -> Nested:
    """Maps of a certain size."""
    if call.config.get("crop_to_aspect_ratio") or call.config.get("pad_to_aspect_ratio"):
        raise call.refused("keeping the aspect ratio is not supported")
    method = interpolation(call, "bilinear")
    settings = {
        "size": (call.config["height"], call.config["width"]),
        "method": method,
        "channels_first": is_channels_first(call.config),
        "antialias": bool(call.config.get("antialias", False)),
    }
    if settings["antialias"] and method != "nearest":
        raise call.refused("antialiasing is not supported")
    return call.add("resize", [floating(call, call.x)], settings)


@translates("CenterCrop")
def center_crop(call: Call) -> Nested:
    """The middle of a map; one that is smaller would be stretched."""
    x, amounts = call.x, [(0, 0)] * call.x.rank
    for axis, size in zip(_map_axes(call), (call.config["height"], call.config["width"]), strict=True):
        length = x.shape[axis]
        if length is None or length < size:
            raise call.refused(f"a map of {length or 'a free'} size cannot be cropped to {size}")
        before = (length - size) // 2
        amounts[axis] = (before, length - size - before)
    return call.add("crop", [floating(call, x)], {"amounts": tuple(amounts)})


def _map_axes(call: Call) -> tuple[int, int]:
    """Height and width, of one image or of many."""
    last = call.x.rank - (1 if is_channels_first(call.config) else 2)
    return last - 1, last


@translates(
    *("AugMix", "CutMix", "MixUp", "RandAugment", "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter"),
    *("RandomContrast", "RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur"),
    *("RandomGrayscale", "RandomHue", "RandomInvert", "RandomPerspective", "RandomPosterization", "RandomRotation"),
    *("RandomSaturation", "RandomSharpness", "RandomShear", "RandomTranslation", "RandomZoom", "Solarization"),
)
def augmentation(call: Call) -> Nested:
    """Pictures are only changed while a model is trained."""
    return floating(call, call.x)


@translates(
    "CategoryEncoding",
    "Discretization",
    "HashedCrossing",
    "Hashing",
    "IntegerLookup",
    "StringLookup",
    "TextVectorization",
    "FeatureSpace",
)
def looked_up(call: Call) -> Nested:
    """Tables and text do not belong into a graph of numbers."""
    raise call.refused(
        "a preprocessing layer that looks things up is not converted; run it before the model and save the model "
        "without it"
    )


def floating(call: Call, value: Value) -> Value:
    """The value as floating-point numbers, which Keras makes of whole ones."""
    if value.dtype.startswith(("float", "bfloat")):
        return value
    return call.add("cast", [value], {"dtype": "float32"}, suffix="float", dtype="float32")


def _numbers(said: Any) -> Any:
    if isinstance(said, dict):
        said = said.get("config", {}).get("value", said.get("value"))
    return said if isinstance(said, int | float) else np.asarray(said, np.float32)

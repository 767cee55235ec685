"""The activation functions of Keras by name, and Keras 2's ``hard_sigmoid`` as Keras 3 can say it.

Keras 1 and 2 have clip(0.2 x + 0.5, 0, 1), Keras 3 has relu6(x + 3) / 6 under the same name. Keras 3 takes a model for
an activation, too, and one of two layers computes the older function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

HARD_SIGMOID = "hard_sigmoid_0.2"
_RENAMED_BEFORE_KERAS_3 = {"hard_sigmoid": HARD_SIGMOID}
_SLOPE, _MIDDLE, _TOP = 0.2, 0.5, 1.0


def activation_name(value: object, major: int) -> str:
    """The name of a serialized activation: a text, a function or an object of an activation class."""
    if value is None:
        return "linear"
    if isinstance(value, Mapping):
        if _is_hard_sigmoid(value):
            return HARD_SIGMOID
        inner = value.get("config")
        is_function = isinstance(inner, str)
        known = value.get("registered_name") or (inner if is_function else value.get("class_name"))
        value = known if isinstance(known, str) else "unnamed"
    name = value if isinstance(value, str) else "lambda"
    return _RENAMED_BEFORE_KERAS_3.get(name, name) if major < 3 else name


def hard_sigmoid_config() -> dict[str, Any]:
    """Keras 2's hard_sigmoid, serialized for Keras 3."""
    layers = [
        _serialized("keras.layers", "Rescaling", {"name": "slope", "scale": _SLOPE, "offset": _MIDDLE}),
        _serialized("keras.layers", "ReLU", {"name": "clip", "max_value": _TOP}),
    ]
    return _serialized("keras", "Sequential", {"name": "hard_sigmoid", "layers": layers})


def _serialized(module: str, class_name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    return {"module": module, "class_name": class_name, "config": dict(config), "registered_name": None}


def _is_hard_sigmoid(value: Mapping[str, Any]) -> bool:
    """Whether it is that model, as written above or saved again by Keras."""
    config = value.get("config")
    layers = config.get("layers") if isinstance(config, Mapping) else None
    if value.get("class_name") != "Sequential" or not isinstance(layers, Sequence) or len(layers) > 3:
        return False
    computing = [layer for layer in layers if isinstance(layer, Mapping) and layer.get("class_name") != "InputLayer"]
    configs = [layer.get("config") for layer in computing]
    if [layer.get("class_name") for layer in computing] != ["Rescaling", "ReLU"]:
        return False
    rescaling, relu = (config if isinstance(config, Mapping) else {} for config in configs)
    plain = not relu.get("negative_slope") and not relu.get("threshold")
    wanted = (_SLOPE, _MIDDLE, _TOP)
    return plain and (rescaling.get("scale"), rescaling.get("offset"), relu.get("max_value")) == wanted

"""Activation layers."""

from __future__ import annotations

from typing import Any

from ..activations import with_defaults
from ..keras_call import Call, Nested, translates
from ..operations import Value

_EXCLUDED = -1e9
"""The score that Keras gives to a masked place (keras/src/layers/activations/softmax.py)."""


@translates("Activation")
def activation(call: Call) -> Nested:
    """A function by its name."""
    return call.activated(call.x, call.config.get("activation"))


@translates("ReLU")
def relu(call: Call) -> Nested:
    """ReLU with a slope, a ceiling and a threshold."""
    return _function(call, "relu", {key: _number(call.config.get(key)) for key in call.config})


@translates("LeakyReLU")
def leaky_relu(call: Call) -> Nested:
    """A slope below zero; called ``alpha`` before Keras 3."""
    slope = call.config.get("negative_slope", call.config.get("alpha", 0.3))
    return _function(call, "leaky_relu", {"negative_slope": _number(slope)})


@translates("ELU")
def elu(call: Call) -> Nested:
    """Exponential below zero."""
    return _function(call, "elu", {"alpha": _number(call.config.get("alpha", 1.0))})


@translates("ThresholdedReLU")
def thresholded_relu(call: Call) -> Nested:
    """x above ``theta``, else zero."""
    return _function(call, "threshold", {"threshold": _number(call.config.get("theta", 1.0)), "value": 0.0})


@translates("PReLU")
def prelu(call: Call) -> Nested:
    """A learned slope below zero."""
    return call.add("prelu", [call.x], {}, weights=call.own_weights("alpha"))


@translates("Softmax")
def softmax(call: Call) -> Nested:
    """Softmax along one axis or several; masked places get no weight."""
    given = call.argument(1, "mask")
    mask = given if isinstance(given, Value) else call.mask(call.x)
    if mask is None:
        return _softmax(call, call.x)
    if mask.dtype != "bool":
        raise call.refused("a mask of numbers is not supported")
    x = call.add(
        "where", [mask, call.x, call.number(_EXCLUDED, call.x.dtype)], {}, suffix="counted", dtype=call.x.dtype
    )
    return call.add("where", [mask, _softmax(call, x), call.number(0, call.x.dtype)], {}, dtype=call.x.dtype)


def _softmax(call: Call, x: Value) -> Value:
    """Over several axes it is exp(x - log(sum(exp(x))))."""
    axis = call.config.get("axis", -1)
    axes = [axis] if isinstance(axis, int) else list(axis)
    if len(axes) == 1:
        return call.add("activation", [x], {"function": "softmax", "axis": axes[0] % x.rank})
    settings = {"function": "logsumexp", "axes": tuple(sorted(one % x.rank for one in axes)), "keepdims": True}
    total = call.add("reduce", [x], settings, suffix="total")
    return call.add("unary", [call.add("subtract", [x, total], {}, suffix="log")], {"function": "exp"})


def _function(call: Call, name: str, given: dict[str, Any]) -> Nested:
    known = {key: value for key, value in given.items() if value is not None or key == "max_value"}
    return call.add("activation", [call.x], with_defaults(name, known))


def _number(value: Any) -> Any:
    """A number that Keras may have written as an array."""
    if isinstance(value, dict):
        value = value.get("config", {}).get("value", value.get("value"))
    return float(value) if isinstance(value, int | float) else None

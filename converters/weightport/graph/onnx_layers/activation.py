"""Activation functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import RefusedError
from ..activations import with_defaults
from ..onnx_context import Context, plain
from ..onnx_registry import emits
from ..operations import Operation

if TYPE_CHECKING:
    import onnx_ir as ir

# Functions that are one operator, and what each of its attributes is: a parameter of the function or a number.
_OPERATORS: Mapping[str, tuple[str, Mapping[str, str | float]]] = {
    "celu": ("Celu", {"alpha": "alpha"}),
    "elu": ("Elu", {"alpha": "alpha"}),
    "exponential": ("Exp", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "hard_sigmoid_0.2": ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
    "hard_silu": ("HardSwish", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": "negative_slope"}),
    "mish": ("Mish", {}),
    "selu": ("Selu", {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}),
    "sigmoid": ("Sigmoid", {}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "tanh": ("Tanh", {}),
}


@emits("activation")
def activation(c: Context, operation: Operation) -> None:
    """One operator where there is one, else a few."""
    order = c.order(operation)
    x = c.get(operation, order=order)
    settings, function = operation.settings, operation.settings["function"]
    if function in ("softmax", "log_softmax"):
        operator = "Softmax" if function == "softmax" else "LogSoftmax"
        y = c.node(operator, [x], {"axis": order.index(settings["axis"])})
    else:
        y = activated(c, operation, x, settings)
    c.put(operation, y, order)


def activated(c: Context, operation: Operation, x: ir.Value, settings: Mapping[str, Any]) -> ir.Value:
    """The function of ``settings`` of every element. Raises RefusedError where it is none that is known."""
    function = settings["function"]
    if function == "linear":
        return x
    if function in _OPERATORS:
        operator, given = _OPERATORS[function]
        attributes = {key: settings[value] if isinstance(value, str) else value for key, value in given.items()}
        return c.node(operator, [x], {key: float(value) for key, value in attributes.items()})
    if function in _COMPOSED:
        return _COMPOSED[function](_Numbers(c, operation.outputs[0].dtype), x, settings)
    raise RefusedError(f"{operation.layer}: the activation {function} cannot be written as ONNX yet")


def activated_as(c: Context, operation: Operation, name: str, x: ir.Value) -> ir.Value:
    """The function of that name with its usual parameters; one along an axis takes the last."""
    if name in ("softmax", "log_softmax"):
        return c.node("Softmax" if name == "softmax" else "LogSoftmax", [x], {"axis": -1})
    return activated(c, operation, x, with_defaults(name, {}))


class _Numbers:
    """Arithmetic on values and numbers, so that formulas read as formulas."""

    def __init__(self, context: Context, dtype: str) -> None:
        self._context, self._dtype = context, dtype

    def __call__(self, operator: str, *operands: ir.Value | float | None) -> ir.Value:
        values = [self._context.number(one, self._dtype) if isinstance(one, float | int) else one for one in operands]
        return self._context.node(operator, values)


def _relu(n: _Numbers, x: ir.Value, settings: Mapping[str, Any]) -> ir.Value:
    slope, ceiling, threshold = (settings[key] for key in ("negative_slope", "max_value", "threshold"))
    if not slope and not threshold:
        return n("Relu", x) if ceiling is None else n("Clip", x, 0.0, float(ceiling))
    above = x if ceiling is None else n("Min", x, float(ceiling))
    below = n("Mul", n("Sub", x, float(threshold)), float(slope)) if threshold else n("Mul", x, float(slope))
    return n("Where", n("GreaterOrEqual", x, float(threshold)), above, below)


def _gelu(n: _Numbers, x: ir.Value, settings: Mapping[str, Any]) -> ir.Value:
    if settings["approximate"]:
        cubed = n("Mul", n("Mul", x, x), n("Mul", x, 0.044715))
        inner = n("Mul", n("Add", x, cubed), float(np.sqrt(2 / np.pi)))
        return n("Mul", n("Mul", x, 0.5), n("Add", n("Tanh", inner), 1.0))
    return n("Mul", n("Mul", x, 0.5), n("Add", n("Erf", n("Mul", x, float(np.sqrt(0.5)))), 1.0))


def _soft_shrink(n: _Numbers, x: ir.Value, settings: Mapping[str, Any]) -> ir.Value:
    threshold = float(settings["threshold"])
    return n("Sub", x, n("Clip", x, -threshold, threshold))


def _hard_shrink(n: _Numbers, x: ir.Value, settings: Mapping[str, Any]) -> ir.Value:
    return n("Where", n("Greater", n("Abs", x), float(settings["threshold"])), x, 0.0)


def _threshold(n: _Numbers, x: ir.Value, settings: Mapping[str, Any]) -> ir.Value:
    return n("Where", n("Greater", x, float(settings["threshold"])), x, float(settings["value"]))


def _squareplus(n: _Numbers, x: ir.Value, settings: Mapping[str, Any]) -> ir.Value:
    root = n("Sqrt", n("Add", n("Mul", x, x), float(settings["b"])))
    return n("Mul", n("Add", x, root), 0.5)


def _sparse_plus(n: _Numbers, x: ir.Value, settings: Mapping[str, Any]) -> ir.Value:
    inside = n("Mul", n("Mul", n("Add", x, 1.0), n("Add", x, 1.0)), 0.25)
    return n("Where", n("LessOrEqual", x, -1.0), 0.0, n("Where", n("Less", x, 1.0), inside, x))


_COMPOSED: Mapping[str, Callable[[_Numbers, Any, Mapping[str, Any]], ir.Value]] = {
    "gelu": _gelu,
    "hard_shrink": _hard_shrink,
    "hard_tanh": lambda n, x, settings: n("Clip", x, -1.0, 1.0),
    "log_sigmoid": lambda n, x, settings: n("Neg", n("Softplus", n("Neg", x))),
    "relu": _relu,
    "relu6": lambda n, x, settings: n("Clip", x, 0.0, 6.0),
    "silu": lambda n, x, settings: n("Mul", x, n("Sigmoid", x)),
    "soft_shrink": _soft_shrink,
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": lambda n, x, settings: n("Clip", n("Add", n("Mul", x, 0.5), 0.5), 0.0, 1.0),
    "squareplus": _squareplus,
    "tanh_shrink": lambda n, x, settings: n("Sub", x, n("Tanh", x)),
    "threshold": _threshold,
}


@emits("prelu")
def prelu(c: Context, operation: Operation) -> None:
    """``PRelu``, whose slopes broadcast against the value."""
    order = c.order(operation)
    rank = len(order)
    order = order if order[0] == 0 else plain(rank)
    alpha = c.turned(operation, "alpha", [axis - 1 for axis in order[1:]])
    slope = c.weight(operation, alpha, "slope")
    c.put(operation, c.node("PRelu", [c.get(operation, order=order), slope]), order)

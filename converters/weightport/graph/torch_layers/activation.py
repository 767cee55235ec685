"""Activation functions, as expressions of a value and as functions that a recurrent layer is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...errors import RefusedError
from ..activations import with_defaults
from ..operations import Operation
from ..torch_code import Call, Code, call
from ..torch_context import Context
from ..torch_registry import emits

_F = "nn.functional"

# Those that are one function without parameters.
_FUNCTIONS: Mapping[str, str] = {
    "exponential": "torch.exp",
    "hard_sigmoid": f"{_F}.hardsigmoid",
    "hard_silu": f"{_F}.hardswish",
    "hard_tanh": f"{_F}.hardtanh",
    "log_sigmoid": f"{_F}.logsigmoid",
    "mish": f"{_F}.mish",
    "relu6": f"{_F}.relu6",
    "selu": f"{_F}.selu",
    "sigmoid": "torch.sigmoid",
    "silu": f"{_F}.silu",
    "softplus": f"{_F}.softplus",
    "softsign": f"{_F}.softsign",
    "tanh": "torch.tanh",
    "tanh_shrink": f"{_F}.tanhshrink",
}

_WITH_PARAMETERS: Mapping[str, Callable[[str, Mapping[str, Any]], Code]] = {
    "celu": lambda x, given: call(f"{_F}.celu", x, alpha=given["alpha"]),
    "elu": lambda x, given: call(f"{_F}.elu", x, alpha=None if given["alpha"] == 1.0 else given["alpha"]),
    "gelu": lambda x, given: call(f"{_F}.gelu", x, approximate='"tanh"' if given["approximate"] else None),
    "hard_shrink": lambda x, given: call(f"{_F}.hardshrink", x, given["threshold"]),
    "leaky_relu": lambda x, given: call(f"{_F}.leaky_relu", x, given["negative_slope"]),
    "soft_shrink": lambda x, given: call(f"{_F}.softshrink", x, given["threshold"]),
    "sparse_sigmoid": lambda x, given: f"(0.5 * {x} + 0.5).clamp(0, 1)",
    "squareplus": lambda x, given: f"({x} + ({x}.square() + {given['b']}).sqrt()) / 2",
    "threshold": lambda x, given: call(f"{_F}.threshold", x, given["threshold"], given["value"]),
}
_PARTS = {"hard_sigmoid_0.2": "functions.hard_sigmoid", "sparse_plus": "functions.sparse_plus"}
"""Those that PyTorch does not have."""
_ALONG_AN_AXIS = {"softmax": "softmax", "log_softmax": "log_softmax"}


@emits("activation")
def activation(c: Context, operation: Operation) -> None:
    """Any of them; those along an axis find it where it is held."""
    settings, order = operation.settings, c.order(operation)
    x = c.get(operation, order=order)
    function = settings["function"]
    if function in _ALONG_AN_AXIS:
        axis = _short(order.index(settings["axis"]), len(order))
        c.put(operation, Call(f"{x}.{_ALONG_AN_AXIS[function]}", (str(axis),)), order)
    elif function == "glu":
        c.put(operation, call(f"{_F}.glu", x, dim=order.index(settings["axis"] % len(order))), order)
    else:
        c.put(operation, applied(c, function, x, settings), order)


def applied(c: Context, function: str, x: str, settings: Mapping[str, Any]) -> Code:
    """The function of an expression."""
    if function == "relu":
        return _relu(c, x, settings)
    if function in _PARTS:
        return call(c.part(_PARTS[function]), x)
    if function == "linear":
        return x
    if function in _FUNCTIONS:
        return call(_FUNCTIONS[function], x)
    return _WITH_PARAMETERS[function](x, settings)


def _relu(c: Context, x: str, settings: Mapping[str, Any]) -> Code:
    slope, threshold, top = settings["negative_slope"], settings["threshold"], settings["max_value"]
    if not slope and not threshold:
        return call("torch.relu", x) if top is None else f"{x}.clamp(0, {top})"
    if not threshold and top is None:
        return call(f"{_F}.leaky_relu", x, slope)
    given = {"negative_slope": slope or None, "threshold": threshold or None, "max_value": top}
    return call(c.part("functions.bent_relu"), x, **given)


def function_of(c: Context, operation: Operation, name: str) -> str:
    """A function to give to a recurrent layer. Raises RefusedError where it gives fewer features than it takes."""
    if name == "glu":
        raise RefusedError(f"{operation.layer}: the activation glu halves the features, which no recurrent layer can")
    if name == "relu":
        return "torch.relu"
    if name == "linear" or name in _PARTS:
        return c.part(_PARTS.get(name, "functions.identity"))
    if name in _FUNCTIONS:
        return _FUNCTIONS[name]
    if name in _ALONG_AN_AXIS:
        return f"lambda x: x.{_ALONG_AN_AXIS[name]}(-1)"
    return f"lambda x: {applied(c, name, 'x', with_defaults(name, {}))}"


@emits("prelu")
def prelu(c: Context, operation: Operation) -> None:
    """A learned slope below zero."""
    x = c.get(operation)
    alpha = c.parameter(operation, "alpha", c.stored(operation, "alpha"))
    c.put(operation, call("torch.where", f"{x} > 0", x, f"{alpha} * {x}"))


def _short(axis: int, rank: int) -> int:
    """The last axis as -1."""
    return -1 if axis == rank - 1 else axis

"""The activation functions by their names, as Keras names them (keras/src/activations/activations.py)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from .checkpoint import Array, Setting
from .errors import UsageError

Activation: TypeAlias = Callable[[Array], Array]

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017, arXiv:1706.02515
_erf = np.frompyfunc(math.erf, 1, 1)


def activation(name: Setting) -> Activation:
    """The function of that name. Raises UsageError listing what there is."""
    if name not in _ACTIVATIONS:
        raise UsageError(f"no activation {name!r}; known are {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[str(name)]


def activation_names() -> tuple[str, ...]:
    """Every function that there is."""
    return tuple(_ACTIVATIONS)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), in a form that does not overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def _hard_sigmoid(x: Array) -> Array:
    return np.clip(x / 6 + 0.5, 0, 1)


def _softplus(x: Array) -> Array:
    return np.logaddexp(0.0, x)


def _elu(x: Array) -> Array:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _selu(x: Array) -> Array:
    return _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0)))


def _gelu(x: Array) -> Array:
    """x times the normal distribution up to x (Hendrycks and Gimpel 2016, arXiv:1606.08415), not approximated."""
    return 0.5 * x * (1 + np.asarray(_erf(x / math.sqrt(2)), np.float64))


def _log_softmax(x: Array) -> Array:
    """Over the last axis."""
    shifted = x - x.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


_ACTIVATIONS: Mapping[str, Activation] = {
    "linear": lambda x: x,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "hard_sigmoid": _hard_sigmoid,
    "hard_sigmoid_0.2": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "elu": _elu,
    "celu": _elu,
    "selu": _selu,
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "silu": lambda x: x * sigmoid(x),
    "swish": lambda x: x * sigmoid(x),
    "hard_silu": lambda x: x * _hard_sigmoid(x),
    "hard_swish": lambda x: x * _hard_sigmoid(x),
    "gelu": _gelu,
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "log_sigmoid": lambda x: -_softplus(-x),
    "exponential": np.exp,
    "softmax": lambda x: np.exp(_log_softmax(x)),
    "log_softmax": _log_softmax,
}

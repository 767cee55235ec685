"""The functions that an ``activation`` operation can be, with their parameters and usual values.

Named as Keras 3 names them (keras/src/activations/activations.py); ``hard_sigmoid_0.2`` is that of Keras 1 and 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import RefusedError

ACTIVATIONS: Mapping[str, Mapping[str, Any]] = {
    "celu": {"alpha": 1.0},
    "elu": {"alpha": 1.0},
    "exponential": {},
    "gelu": {"approximate": False},
    "glu": {"axis": -1},
    "hard_shrink": {"threshold": 0.5},
    "hard_sigmoid": {},
    "hard_sigmoid_0.2": {},
    "hard_silu": {},
    "hard_tanh": {},
    "leaky_relu": {"negative_slope": 0.2},
    "linear": {},
    "log_sigmoid": {},
    "log_softmax": {"axis": -1},
    "mish": {},
    "relu": {"negative_slope": 0.0, "max_value": None, "threshold": 0.0},
    "relu6": {},
    "selu": {},
    "sigmoid": {},
    "silu": {},
    "soft_shrink": {"threshold": 0.5},
    "softmax": {"axis": -1},
    "softplus": {},
    "softsign": {},
    "sparse_plus": {},
    "sparse_sigmoid": {},
    "squareplus": {"b": 4},
    "tanh": {},
    "tanh_shrink": {},
    "threshold": {"threshold": 0.0, "value": 0.0},
}
_OTHER_NAMES = {"swish": "silu", "hard_swish": "hard_silu", "exp": "exponential", "None": "linear"}


def known_activation(name: str, layer: str) -> str:
    """The function's one name. Raises RefusedError naming the layer where it is no function of Keras."""
    name = _OTHER_NAMES.get(name, name)
    if name not in ACTIVATIONS:
        raise RefusedError(
            f"{layer}: the activation {name!r} is none of Keras' own; what it computes is not in the file"
        )
    return name


def with_defaults(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an ``activation`` operation: the function, and each of its parameters."""
    return {"function": name, **ACTIVATIONS[name], **{key: given[key] for key in ACTIVATIONS[name] if key in given}}

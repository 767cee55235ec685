"""The values in a layer's config, brought up to date: activations, initializers, regularizers, constraints, dtypes.

Each function takes what an older Keras wrote and returns what Keras 3 reads. Raises RefusedError, with the reason as
its problem, where Keras 3 has no such thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import RefusedError
from ..frameworks._keras_activations import HARD_SIGMOID, activation_name, hard_sigmoid_config

JSON = dict[str, Any]

# keras/src/activations/__init__.py, those that older versions and TensorFlow have under the same name.
_ACTIVATIONS = {
    *("elu", "exponential", "gelu", "hard_sigmoid", "leaky_relu", "linear", "log_softmax", "mish", "relu", "relu6"),
    *("selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "swish", "tanh"),
}
_ACTIVATION_LAYERS = {"ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax", "ThresholdedReLU"}

_INITIALIZERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "constant": ("Constant", ("value",)),
    "glorotnormal": ("GlorotNormal", ("seed",)),
    "glorotuniform": ("GlorotUniform", ("seed",)),
    "henormal": ("HeNormal", ("seed",)),
    "heuniform": ("HeUniform", ("seed",)),
    "identity": ("Identity", ("gain",)),
    "lecunnormal": ("LecunNormal", ("seed",)),
    "lecununiform": ("LecunUniform", ("seed",)),
    "normal": ("RandomNormal", ("mean", "stddev", "seed")),
    "ones": ("Ones", ()),
    "one": ("Ones", ()),
    "orthogonal": ("Orthogonal", ("gain", "seed")),
    "randomnormal": ("RandomNormal", ("mean", "stddev", "seed")),
    "randomuniform": ("RandomUniform", ("minval", "maxval", "seed")),
    "truncatednormal": ("TruncatedNormal", ("mean", "stddev", "seed")),
    "uniform": ("RandomUniform", ("minval", "maxval", "seed")),
    "variancescaling": ("VarianceScaling", ("scale", "mode", "distribution", "seed")),
    "zeros": ("Zeros", ()),
    "zero": ("Zeros", ()),
}
_DISTRIBUTIONS = {"normal": "truncated_normal"}

_REGULARIZERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "l1": ("L1", ("l1",)),
    "l2": ("L2", ("l2",)),
    "l1l2": ("L1L2", ("l1", "l2")),
    "l1l2regularizer": ("L1L2", ("l1", "l2")),
    "weightregularizer": ("L1L2", ("l1", "l2")),
    "activityregularizer": ("L1L2", ("l1", "l2")),
    "orthogonalregularizer": ("OrthogonalRegularizer", ("factor", "mode")),
}
_CONSTRAINTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "maxnorm": ("MaxNorm", ("max_value", "axis")),
    "minmaxnorm": ("MinMaxNorm", ("min_value", "max_value", "rate", "axis")),
    "nonneg": ("NonNeg", ()),
    "unitnorm": ("UnitNorm", ("axis",)),
}
_OLD_KEYS = {"m": "max_value", "low": "min_value", "high": "max_value"}


def serialized(module: str, class_name: str, config: Mapping[str, Any]) -> JSON:
    """An object as Keras 3 writes it."""
    return {"module": module, "class_name": class_name, "config": dict(config), "registered_name": None}


def activation(value: Any, major: int) -> Any:
    """The activation that computes what the older Keras computed under this name."""
    layer = value.get("class_name") if isinstance(value, Mapping) else None
    if layer in _ACTIVATION_LAYERS:
        raise RefusedError("", [f"its activation is a {layer} layer; make it a layer of its own"])
    name = activation_name(value, major)
    if name == HARD_SIGMOID:
        return hard_sigmoid_config()
    if name not in _ACTIVATIONS:
        raise RefusedError("", [f"its activation {name!r} is no function of Keras 3"])
    return name


def initializer(value: Any) -> Any:
    """How new weights are made. What Keras 3 does not know becomes None: the weights are loaded, not made."""
    known = _known(value, _INITIALIZERS, "keras.initializers")
    if known and "distribution" in known["config"]:
        distribution = known["config"]["distribution"]
        known["config"]["distribution"] = _DISTRIBUTIONS.get(distribution, distribution)
    return known


def regularizer(value: Any) -> Any:
    """What training adds to the loss."""
    return _known(value, _REGULARIZERS, "keras.regularizers", required=True)


def constraint(value: Any) -> Any:
    """What training holds the weights to."""
    return _known(value, _CONSTRAINTS, "keras.constraints", required=True)


def dtype(value: Any) -> Any:
    """A dtype, or a policy of one dtype for the weights and another for the computation."""
    if not isinstance(value, Mapping):
        return value
    config = value.get("config")
    name = config.get("name") if isinstance(config, Mapping) else None
    if not isinstance(name, str):
        raise RefusedError("", ["its dtype policy has no name"])
    return serialized("keras", "DTypePolicy", {"name": name})


def _known(
    value: Any, table: Mapping[str, tuple[str, tuple[str, ...]]], module: str, *, required: bool = False
) -> JSON | None:
    """The object under its newer name, with those of its arguments that Keras 3 has."""
    if value is None:
        return None
    name, config = _parts(value)
    entry = table.get(name.replace("_", "").lower())
    if entry is None:
        if required:
            raise RefusedError("", [f"{name} is none of {module}"])
        return None
    class_name, keys = entry
    renamed = {_OLD_KEYS.get(key, key): item for key, item in config.items()}
    return serialized(module, class_name, {key: renamed[key] for key in keys if key in renamed})


def _parts(value: Any) -> tuple[str, Mapping[str, Any]]:
    """The name and the arguments of a serialized object: a text, Keras 1's flat form or Keras 2's nested one."""
    if isinstance(value, str):
        return value, {}
    if not isinstance(value, Mapping):
        return "a number", {}
    config = value.get("config")
    named = value.get("class_name") or value.get("name")
    name = named.rpartition(">")[2] if isinstance(named, str) else "an unnamed object"
    if "class_name" not in value:
        config = {key: item for key, item in value.items() if key != "name"}
    return name, config if isinstance(config, Mapping) else {}

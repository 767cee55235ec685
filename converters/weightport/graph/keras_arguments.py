"""The arguments of a node in a Functional config: tensors by where they come from, slices, numbers and arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..errors import RefusedError
from .operations import Value

History: TypeAlias = tuple[str, int, int]
"""The layer, the number of its call and the number of its output that made a tensor."""


class Unresolved(Exception):  # noqa: N818 - not an error: the node has to wait
    """A tensor that is not made yet."""


def resolved(data: Any, made: Mapping[History, Value]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and the named arguments of a call. Raises Unresolved where one is not made yet."""
    if not isinstance(data, Mapping):
        raise RefusedError(
            "the config is of Keras 2; open the model with the Keras that wrote it and save it as .keras"
        )
    arguments = tuple(_resolved(one, made) for one in data.get("args", ()))
    return arguments, {key: _resolved(one, made) for key, one in data.get("kwargs", {}).items()}


def _resolved(said: Any, made: Mapping[History, Value]) -> Any:
    if isinstance(said, list | tuple):
        return [_resolved(one, made) for one in said]
    if isinstance(said, Mapping):
        return _object(said, made)
    return said


def _object(said: Mapping[str, Any], made: Mapping[History, Value]) -> Any:
    config, found = said.get("config", {}), said
    match said.get("class_name"):
        case "__keras_tensor__":
            return _made(tuple(config["keras_history"]), made)
        case "__slice__":
            return slice(*(_resolved(config[key], made) for key in ("start", "stop", "step")))
        case "__ellipsis__":
            return Ellipsis
        case "__tensor__" | "__numpy__":
            return np.asarray(config["value"], config["dtype"])
        case None:
            return {key: _resolved(one, made) for key, one in said.items()}
    return found


def _made(history: Any, made: Mapping[History, Value]) -> Value:
    if history not in made:
        raise Unresolved
    return made[history]


def as_list(said: int | Sequence[int]) -> list[int]:
    """One number or several, as arguments of Keras have them (an axis, axes), as a list."""
    return [said] if isinstance(said, int) else list(said)

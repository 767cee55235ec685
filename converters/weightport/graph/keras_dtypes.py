"""The dtype in which a Keras layer computes: floating-point inputs of another one are cast, as Keras does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .keras_call import Call
from .operations import Value

_FLOATS = {"float16", "bfloat16", "float32", "float64"}


def autocast(call: Call) -> Call:
    """The call with its floating-point inputs in the dtype of the layer's policy.

    A layer of mixed precision keeps its weights in float32, and here it computes in float32, too. Raises RefusedError
    for a quantised layer."""
    policy = _policy(call.config.get("dtype"))
    if policy.startswith("mixed_"):
        call.builder.notes.append(f"{policy}: what Keras computes in {policy[6:]} is computed in float32")
        policy = "float32"
    if policy not in _FLOATS:
        if policy.startswith(("int", "float8")) and "_from_" in policy:
            raise call.refused(f"the quantised dtype policy {policy} is not supported")
        return call
    return replace(
        call,
        arguments=tuple(_cast(call, one, policy) for one in call.arguments),
        keywords={key: _cast(call, one, policy) for key, one in call.keywords.items()},
    )


def _policy(said: Any) -> str:
    """The policy's name: a text, or an object that has one."""
    if isinstance(said, Mapping):
        config = said.get("config")
        said = config.get("name") or config.get("source_name") if isinstance(config, Mapping) else None
    return said if isinstance(said, str) else "float32"


def _cast(call: Call, given: Any, dtype: str) -> Any:
    if isinstance(given, list | tuple):
        return [_cast(call, one, dtype) for one in given]
    if not isinstance(given, Value) or given.dtype not in _FLOATS or given.dtype == dtype:
        return given
    cast = call.add("cast", [given], {"dtype": dtype}, suffix=dtype, dtype=dtype)
    mask = call.mask(given)
    if mask is not None:
        call.builder.masks[cast.name] = mask
    return cast

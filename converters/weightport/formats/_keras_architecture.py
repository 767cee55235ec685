"""A Keras model's config beside a file of its weights: ``model.to_json()``, and what a config lacks the groups say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..checkpoint import Contents
from ..errors import CheckpointError, UsageError
from ._hdf5 import MAX_JSON_BYTES, parse_json

_OUTER = ("keras_version", "backend")
"""What ``to_json`` puts beside the model's own config."""


def with_architecture(contents: Contents, path: Path) -> Contents:
    """The contents of a file of Keras weights with the config that another file has.

    Raises UsageError where the weights are not Keras' or have a config themselves, CheckpointError for a file that
    holds no config of a model, or one of another Keras than the weights'."""
    description = contents.description
    if contents.framework != "keras" or description.get("config") is not None:
        has = (
            "says itself what its model is"
            if description.get("config")
            else f"has no Keras weights ({contents.format})"
        )
        raise UsageError(f"{contents.origin} {has}; leave out the architecture")
    said = _read(path)
    versions = [version for version in (description.get("keras_version"), said.get("keras_version")) if version]
    if len({str(version).partition(".")[0] for version in versions}) > 1:
        raise CheckpointError(f"{path}: it is of Keras {versions[1]}, and the weights are of Keras {versions[0]}")
    config = {key: value for key, value in said.items() if key not in _OUTER}
    known = {"keras_version": next(iter(versions), None), "backend": description.get("backend") or said.get("backend")}
    named = named_config(config, description.get("groups", {}))
    return replace(contents, description={**description, **known, "config": named})


def named_config(config: Any, groups: Mapping[str, object]) -> Any:
    """The config with the names that it does not have: a model that was one of the layers of a Sequential was a list
    before Keras 2.2.3, and its name is that of its group."""
    layers = config.get("config") if isinstance(config, dict) else None
    names = [name for name in groups if name]
    if not isinstance(layers, list) or len(layers) != len(names):
        return config
    named = [
        {**layer, "name": name} if isinstance(layer, dict) and isinstance(layer.get("config"), list) else layer
        for layer, name in zip(layers, names, strict=True)
    ]
    return {**config, "config": named}


def _read(path: Path) -> dict[str, Any]:
    """The config in a file, which is no longer than a config is."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    said = parse_json(text, str(path))
    if not isinstance(said.get("class_name"), str) or not isinstance(said.get("config"), dict | list):
        raise CheckpointError(f"{path}: no config of a Keras model, as model.to_json() gives it")
    return said

"""Keras: layers from the config of a model and the order of its weights, or from names and shapes without a config.

A layer is called as the user called it; nested models, and the cells of a stack, are joined with ``.``, and ``/`` in
a name becomes ``.`` too. The Contents of a Keras checkpoint are described by

    keras_version   the Keras that wrote it, None where the file does not say
    backend         the backend that it ran on, where the file says so
    config          the model's config, None for files of weights only
    graph           the config that says how the layers feed one another, where it is another one
    dialect         "objects": groups are paths of a tree of objects; "layers": groups are the layers of the model
    groups          the tensors of each group in their order, and the user's name of an object where the file has it
    optimizer       the tensors that belong to an optimizer
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..checkpoint import Contents, Layer, Output, Structure
from ..errors import CheckpointError, UsageError
from ._keras_classes import Writer
from ._keras_config import entry_of, major_version
from ._keras_flow import flattened_axes
from ._keras_legacy import legacy_structure
from ._keras_live import live_contents, load_live
from ._keras_objects import objects_structure

if TYPE_CHECKING:
    from ..graph.building import Reader, Writer

NAME = "keras"
NAMES_FROM_SOURCE = False
CHOICES: tuple[str, ...] = ()


def structure(contents: Contents) -> Structure:
    """The layers of a Keras checkpoint, in the order of its model's config.

    Raises CheckpointError where the config and the weights are not of one model."""
    description = contents.description
    is_tree = description.get("dialect") == "objects"
    # Keras 1 wrote no version; neither does Keras 3 into a file of weights only.
    major = major_version(description.get("keras_version"), default=3 if is_tree else 1)
    writer = Writer(major, str(description.get("backend") or ""))
    try:
        found = objects_structure(contents, writer) if is_tree else legacy_structure(contents, writer)
    except CheckpointError as error:
        raise CheckpointError(f"{contents.origin}: {error}") from error
    covered = {*found.skipped, *found.unknown, *(name for layer in found.layers for name in layer.tensors.values())}
    lost = dict.fromkeys((name for name in contents.tensors if name not in covered), "it is in no group of the model")
    layers = _with_feature_maps(_distinct(found.layers), description)
    return replace(found, layers=tuple(layers), unknown={**found.unknown, **lost})


def tensor_name(layer: str, tensor: str) -> str:
    """Raises UsageError: the names of a Keras file come from a template."""
    raise UsageError(f"no name for {tensor!r} of {layer!r}: a Keras file is written into a template only")


def owns(model: object) -> bool:
    """Whether the model is a Keras 3 model or layer, whatever its backend."""
    return any((cls.__module__, cls.__name__) == ("keras.src.layers.layer", "Layer") for cls in type(model).__mro__)


def read_live(model: Any) -> Contents:
    """The weights of a live model or layer, and the config of each layer in it."""
    return live_contents(model)


def write_live(model: Any, tensors: Sequence[Output]) -> None:
    """Assign each tensor to its variable, once all of them are made and fit."""
    load_live(model, tensors)


def _with_feature_maps(layers: Sequence[Layer], description: Mapping[str, Any]) -> list[Layer]:
    """The layers with what the model's graph says of the feature maps that their axes run over."""
    root = entry_of(description.get("graph", description.get("config")))
    found = flattened_axes(root) if root is not None else None
    return [replace(layer, flattened=found[layer.name]) if found and layer.name in found else layer for layer in layers]


def graph_reader() -> Reader | None:
    """The config of a model says what it computes."""
    from ..graph.keras_reader import read_keras

    return read_keras


def graph_writer() -> Writer | None:
    """Nothing writes Keras models yet."""
    return None


def _distinct(layers: Sequence[Layer]) -> list[Layer]:
    """The layers with a counter where a name stands twice, which Keras allows in a subclassed model."""
    seen: set[str] = set()
    distinct = []
    for layer in layers:
        name, number = layer.name, 1
        while name in seen:
            number += 1
            name = f"{layer.name}_{number}"
        seen.add(name)
        distinct.append(replace(layer, name=name))
    return distinct

"""Keras 1 and 2's HDF5 files: a group for each layer, its weights under their variables' names, in a stated order.

A whole model has them in the group ``model_weights`` and the config in an attribute; a file of weights only has them
at its root.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count, takewhile
from pathlib import Path

from ..checkpoint import Array, Contents, Output
from ..errors import CheckpointError, RefusedError
from ._hdf5 import Dataset, Group, parse_json, read_tree, text_of, texts_of
from ._hdf5_keras import LAYERS, WEIGHTS, dialect_of_file
from ._hdf5_region import file_region, guarded
from ._hdf5_write import make_frame, placed
from ._keras_architecture import named_config

NAME = "h5"
FRAMEWORK = "keras"
SUFFIXES: tuple[str, ...] = (".h5", ".hdf5")

_OPTIMIZER = "optimizer_weights"
_TOP_LEVEL = "top_level_model_weights"


def recognises(path: Path, head: bytes) -> bool:
    """An HDF5 file that names its layers, or one that is damaged."""
    return dialect_of_file(path, head) == LAYERS


def read(path: Path) -> Contents:
    """The layers and their weights. Raises CheckpointError, and nothing else, on a bad file."""
    tree = read_tree(file_region(path))
    with guarded(str(path)):
        groups = _layers(tree)
        datasets = _datasets(tree)
        config = text_of(tree.attributes.get("model_config"))
        description = {
            "keras_version": _keras_version(tree),
            "config": None
            if config is None
            else named_config(parse_json(config, f"{path}: attribute 'model_config'"), groups),
            "dialect": LAYERS,
            "groups": {name: {"weights": list(weights)} for name, weights in groups.items()},
            "optimizer": [name for name, dataset in datasets.items() if _is_optimizer(dataset.path)],
        }
    tensors = {name: replace(dataset.tensor, name=name) for name, dataset in datasets.items()}
    return Contents(str(path), NAME, FRAMEWORK, tensors, description=description)


def write(path: Path, tensors: Sequence[Output], *, template: Contents | None, metadata: Mapping[str, str]) -> None:
    """Write the template with new values. The template is a file of the same kind."""
    del metadata  # the format has no place for text of others
    if template is None or template.format != NAME:
        given = "none was given" if template is None else f"{template.origin} is another"
        hint = f"; name the target *.{template.format} to keep its format" if template is not None else ""
        raise RefusedError(f"{path.name}: an .h5 file needs a template in Keras's older .h5 format, and {given}{hint}")
    tree = read_tree(file_region(Path(template.origin)))
    with guarded(template.origin):
        datasets = _datasets(tree)
    make_frame(path, tree, placed(path, tensors, template, datasets)).fill()


def _weights_group(tree: Group) -> Group:
    """The group that has the layers."""
    group = tree.members.get(WEIGHTS)
    return group if isinstance(group, Group) else tree


def _layers(tree: Group) -> dict[str, dict[str, Dataset]]:
    """The datasets of each layer by their tensors' names, in the model's order; the model's own under ``""``."""
    holder = _weights_group(tree)
    names = _texts(holder.attributes, "layer_names")
    if len(set(names)) < len(names):
        raise CheckpointError("the attribute 'layer_names' has a name twice: the file is damaged")
    layers = {name: dict(_weights(holder, name)) for name in names}
    if _TOP_LEVEL in holder.members:
        layers[""] = dict(_weights(holder, _TOP_LEVEL))
    return layers


def _weights(holder: Group, layer: str) -> Iterator[tuple[str, Dataset]]:
    """A layer's datasets in the order of its ``weight_names``."""
    group = holder.find(layer)
    if not isinstance(group, Group):
        raise CheckpointError(f"layer {layer!r} is listed in 'layer_names', but has no group: the file is damaged")
    names = _texts(group.attributes, "weight_names")
    if len(set(names)) < len(names):
        raise CheckpointError(f"layer {layer!r} lists a weight twice: the file is damaged")
    for name in names:
        dataset = group.find(name)
        if name.startswith("/"):
            raise CheckpointError(f"layer {layer!r} lists the weight {name!r}, outside of its group: refused as unsafe")
        if not isinstance(dataset, Dataset):
            raise CheckpointError(f"layer {layer!r} lists the weight {name!r}, which is not there: damaged")
        yield f"{layer}/{name}", dataset


def _datasets(tree: Group) -> dict[str, Dataset]:
    """Every dataset by its tensor's name: the layers' weights, then what no layer lists, then the optimizer's."""
    listed = [pair for weights in _layers(tree).values() for pair in weights.items()]
    paths = {dataset.path for _, dataset in listed}
    if len(paths) < sum(1 for _ in listed):
        raise CheckpointError("two layers list the same weight: the file is damaged")
    others = [item for item in tree.walk() if isinstance(item, Dataset) and item.path not in paths]
    others.sort(key=lambda dataset: _is_optimizer(dataset.path))
    datasets = dict(listed) | {dataset.path: dataset for dataset in others}
    if len(datasets) < len(listed) + len(others):
        raise CheckpointError("a weight that no layer lists has the name of one: the file is damaged")
    return datasets


def _is_optimizer(path: str) -> bool:
    return path.split("/", 1)[0] == _OPTIMIZER


def _keras_version(tree: Group) -> str | None:
    """The version that wrote the file; Keras 1 did not say."""
    name = "keras_version"
    return text_of(tree.attributes.get(name)) or text_of(_weights_group(tree).attributes.get(name))


def _texts(attributes: Mapping[str, Array | None], name: str) -> list[str]:
    """A list of texts, which Keras cuts into several attributes where one would be too long."""
    if name in attributes:
        return texts_of(attributes[name])
    parts = takewhile(attributes.__contains__, (f"{name}{index}" for index in count()))
    return [text for part in parts for text in texts_of(attributes[part])]

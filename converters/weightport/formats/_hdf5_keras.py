"""How Keras uses HDF5: which dialect a file is in, and what a Keras 3 tree of objects says.

A tree of objects has a group for every object that holds weights, named after the attributes that lead to it, and in
it a group ``vars`` whose datasets are numbered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..checkpoint import Contents, LazyTensor
from ..errors import CheckpointError
from ._hdf5 import SIGNATURE, Dataset, Group, read_root, read_tree, text_of
from ._hdf5_region import file_region, guarded
from ._hdf5_write import text_attribute, type_attributes

LAYERS, OBJECTS = "layers", "objects"
WEIGHTS = "model_weights"
LAYER_NAMES = ("layer_names", "layer_names0")

_VARS = "vars"
_TRAINING_STATE = ("optimizer", "metrics")
"""Groups of a model that are no weights. Keras 2 keeps its metrics there, too."""
_CHILDREN = "layers"
_CHILDREN_BEFORE_2_14 = "_layer_checkpoint_dependencies"


def dialect_of_file(path: Path, head: bytes) -> str | None:
    """``"objects"`` or ``"layers"``; None for a file that is not Keras's. ``head`` is how the file begins.

    A damaged HDF5 file counts as ``"layers"``, so that reading it can say what is wrong with it."""
    if not head.startswith(SIGNATURE):
        return None
    try:
        attributes, members = read_root(file_region(path))
        if WEIGHTS in members or any(name in attributes for name in LAYER_NAMES):
            return LAYERS
        if members & {_VARS, _CHILDREN, _CHILDREN_BEFORE_2_14}:
            return OBJECTS
        return OBJECTS if _vars_groups(read_tree(file_region(path))) else None
    except CheckpointError:
        return LAYERS


def object_contents(tree: Group, origin: Path, file_format: str, description: Mapping[str, Any]) -> Contents:
    """A tree of objects as Contents; ``description`` is what is known beside the tree.

    Raises CheckpointError where two tensors would have one name."""
    with guarded(str(origin)):
        groups = {
            _normal(group.path, tree): {
                "name": text_of(holder.attributes.get("name")),
                "weights": [_normal(dataset.path, tree) for dataset in _numbered(holder)],
            }
            for group, holder in _sorted(_vars_groups(tree))
            if not _is_training_state(group.path)
        }
    tensors = {name: replace(dataset.tensor, name=name) for name, dataset in object_datasets(tree).items()}
    state = [name for name in tensors if _is_training_state(name)]
    said = {**description, "dialect": OBJECTS, "groups": groups, "optimizer": state}
    return Contents(str(origin), file_format, "keras", tensors, description=said)


def object_datasets(tree: Group) -> dict[str, Dataset]:
    """The datasets of a tree of objects by their tensors' names: weights, then what no group lists, then the
    state of optimizer and metrics."""
    listed = [dataset for _, holder in _sorted(_vars_groups(tree)) for dataset in _numbered(holder)]
    paths = {dataset.path for dataset in listed}
    others = [item for item in tree.walk() if isinstance(item, Dataset) and item.path not in paths]
    datasets = {_normal(dataset.path, tree): dataset for dataset in [*listed, *others]}
    return dict(sorted(datasets.items(), key=lambda item: _is_training_state(item[0])))


def object_tree(contents: Contents) -> Group:
    """The tree of objects that the contents of a live model describe."""
    root: dict[str, Any] = {}
    for path in contents.description.get("groups", {}):
        _folder(root, [*path.split("/"), _VARS] if path else [_VARS])
    for name, tensor in contents.tensors.items():
        *parents, last = name.split("/")
        _folder(root, parents)[last] = LazyTensor(name, tensor.shape, tensor.dtype, tensor.read)
    return _grown(root, "", contents.description.get("groups", {}))


def _vars_groups(tree: Group) -> list[tuple[Group, Group]]:
    """Every group that has a group ``vars``, and that group."""
    groups = [group for group in tree.walk() if isinstance(group, Group)]
    pairs = [(group, group.members.get(_VARS)) for group in groups]
    return [(group, holder) for group, holder in pairs if isinstance(holder, Group)]


def _sorted(pairs: list[tuple[Group, Group]]) -> list[tuple[Group, Group]]:
    """By path, parents first, with ``dense_2`` before ``dense_10``."""
    return sorted(pairs, key=lambda pair: [_natural(name) for name in pair[0].path.split("/")])


def _natural(name: str) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _numbered(holder: Group) -> list[Dataset]:
    """The datasets of a ``vars`` group in the order of their numbers; those with another name come last."""
    datasets = [member for member in holder.members.values() if isinstance(member, Dataset)]
    return sorted(datasets, key=lambda dataset: _number(dataset.path.rpartition("/")[2]))


def _number(name: str) -> tuple[bool, int, str]:
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)


def _is_training_state(path: str) -> bool:
    return path.split("/", 1)[0] in _TRAINING_STATE


def _normal(path: str, tree: Group) -> str:
    """A path as Keras 3 has it; the first Keras versions with this format called a model's layers otherwise."""
    first, slash, rest = path.partition("/")
    old = first == _CHILDREN_BEFORE_2_14 and _CHILDREN not in tree.members
    return f"{_CHILDREN}{slash}{rest}" if old else path


def _folder(root: dict[str, Any], names: list[str]) -> dict[str, Any]:
    for name in names:
        root = root.setdefault(name, {})
    return root


def _grown(folder: dict[str, Any], path: str, groups: Mapping[str, Any]) -> Group:
    members: dict[str, Group | Dataset] = {}
    for name, item in folder.items():
        below = f"{path}/{name}" if path else name
        if isinstance(item, LazyTensor):
            members[name] = Dataset(below, type_attributes(item.dtype), item)
        else:
            members[name] = _grown(item, below, groups)
    owner = path.removesuffix(_VARS).removesuffix("/")
    text = groups.get(owner, {}).get("name") if path.rpartition("/")[2] == _VARS else None
    return Group(path, {} if text is None else {"name": text_attribute(text)}, members)

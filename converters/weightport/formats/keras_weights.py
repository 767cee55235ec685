"""Keras 3's ``.weights.h5``: a model's tree of objects in HDF5, weights only, without a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..checkpoint import Contents, Output
from ..errors import CheckpointError, RefusedError
from . import keras_archive
from ._hdf5 import Group, read_tree
from ._hdf5_keras import OBJECTS, dialect_of_file, object_contents, object_datasets, object_tree
from ._hdf5_region import file_region
from ._hdf5_write import make_frame, placed

NAME = "weights.h5"
FRAMEWORK = "keras"
SUFFIXES: tuple[str, ...] = (".weights.h5",)

_INDEX_BYTES = 1 << 16


def recognises(path: Path, head: bytes) -> bool:
    """An HDF5 file with ``vars`` groups, or the index of several such files, told by its content."""
    return dialect_of_file(path, head) == OBJECTS or _is_index(path)


def read(path: Path) -> Contents:
    """The file's tree as lazy tensors. Raises CheckpointError, and nothing else, on a bad file."""
    region = file_region(path)
    if _is_index(path):
        raise CheckpointError(
            f"{path}: an index of weights that are spread over several files: refused; load the model in Keras and "
            "save its weights with max_shard_size=None, or name one of the .weights.h5 files"
        )
    return object_contents(read_tree(region), path, NAME, {"keras_version": None, "config": None})


def write(path: Path, tensors: Sequence[Output], *, template: Contents | None, metadata: Mapping[str, str]) -> None:
    """Write the template's tree with new values. The template is a ``.weights.h5``, a ``.keras`` or a live model."""
    del metadata  # the format has no place for text
    if template is None or template.description.get("dialect") != OBJECTS:
        given = "none was given" if template is None else f"{template.origin} is another"
        raise RefusedError(
            f"{path.name}: a .weights.h5 file needs a template that has the model's tree of objects "
            f"(a .weights.h5 or .keras file), and {given}"
        )
    tree = _tree_of(template)
    make_frame(path, tree, placed(path, tensors, template, object_datasets(tree))).fill()


def _tree_of(template: Contents) -> Group:
    if template.format == NAME:
        return read_tree(file_region(Path(template.origin)))
    if template.format == keras_archive.NAME:
        return read_tree(keras_archive.weights_region(Path(template.origin)))
    return object_tree(template)


def _is_index(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            text = file.read(_INDEX_BYTES)
    except OSError:
        return False
    return text.lstrip().startswith(b"{") and b'"weight_map"' in text and b'.weights.h5"' in text

"""Keras's ``.keras``: a zip archive of the model's config, its tree of weights in HDF5, and assets.

Keras stores the members uncompressed, so that the weights are read where they lie inside the archive.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..checkpoint import Array, Contents, LazyTensor, Output
from ..errors import CheckpointError, RefusedError
from ._hdf5 import parse_json, read_tree
from ._hdf5_keras import object_contents, object_datasets, object_tree
from ._hdf5_region import Region
from ._hdf5_write import make_frame, placed
from ._zip import SIGNATURE, ZipDirectory, open_directory
from ._zip_write import Content, write_archive

NAME = "keras"
CONFIG = "config"
"""The format of contents that are a config and no file yet."""
FRAMEWORK = "keras"
SUFFIXES: tuple[str, ...] = (".keras",)

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_WRITES_LIKE = "3.10.0"  # the first whose groups have the layers' names
_NAME_OFFSET = 30
_COPY_BYTES = 1 << 20


def recognises(path: Path, head: bytes) -> bool:
    """A zip archive with a config and weights. A damaged one is known by its first member's name."""
    if not head.startswith(SIGNATURE):
        return False
    try:
        names = open_directory(path).members
    except CheckpointError:
        return head[_NAME_OFFSET:].startswith((_METADATA.encode(), _CONFIG.encode()))
    return _CONFIG in names and any(name == _METADATA or name.startswith("model.weights.") for name in names)


def read(path: Path) -> Contents:
    """The archive's config and the tree of its weights. Raises CheckpointError, and nothing else, on a bad file."""
    archive = open_directory(path)
    metadata = parse_json(archive.read(_METADATA), f"{path}: {_METADATA}") if _METADATA in archive.members else {}
    version = metadata.get("keras_version")
    description = {
        "keras_version": version if isinstance(version, str) else None,
        "config": parse_json(archive.read(_CONFIG), f"{path}: {_CONFIG}"),
    }
    return object_contents(read_tree(_region(archive)), path, NAME, description)


def weights_region(path: Path) -> Region:
    """The HDF5 file in the archive. Raises CheckpointError where there is none."""
    return _region(open_directory(path))


def write(path: Path, tensors: Sequence[Output], *, template: Contents | None, metadata: Mapping[str, str]) -> None:
    """Write the template with new values: a ``.keras`` file, of which all but the weights is copied byte for byte, or
    a Keras 3 config with the groups of its weights, of which a file is made anew."""
    del metadata  # Keras has no place for text of others
    if template is None or template.format not in (NAME, CONFIG):
        given = "none was given" if template is None else f"{template.origin} has no config that Keras 3 can load"
        raise RefusedError(f"{path.name}: a .keras file needs another .keras file as its template, and {given}")
    if template.format == CONFIG:
        named = {tensor.name: LazyTensor(tensor.name, tensor.shape, tensor.dtype, _no_values) for tensor in tensors}
        tree = object_tree(replace(template, tensors=named))
        outputs: Mapping[str, Output] = {tensor.name: tensor for tensor in tensors}
        members = list(_texts(template.description["config"]))
    else:
        archive = open_directory(Path(template.origin))
        tree = read_tree(_region(archive))
        outputs = placed(path, tensors, template, object_datasets(tree))
        members = [(name, archive.content(name)) for name in archive.members]
    frame_path = path.with_name(f"{path.name}.frame")
    try:
        weights = tuple(make_frame(frame_path, tree, outputs).parts())
        write_archive(path, [(name, weights if name == _WEIGHTS else content) for name, content in members])
    finally:
        frame_path.unlink(missing_ok=True)


def _no_values() -> Array:
    raise CheckpointError("a tensor that is to be written has no values yet")


def _texts(config: Mapping[str, Any]) -> Iterator[tuple[str, Content]]:
    """The members as Keras has them: what wrote the file, the config, the weights."""
    for name, value in ((_METADATA, {"keras_version": _WRITES_LIKE}), (_CONFIG, config)):
        yield name, json.dumps(value).encode()
    yield _WEIGHTS, b""


def _region(archive: ZipDirectory) -> Region:
    """The bytes of the weights: inside the archive, or in a temporary file where they are compressed."""
    if _WEIGHTS not in archive.members:
        found = [name for name in archive.members if name.startswith("model.weights.")]
        raise CheckpointError(
            f"{archive.path}: it has no {_WEIGHTS}"
            + (f", but {', '.join(found)}: only HDF5 weights are read; save the model again" if found else "")
        )
    member = archive.member(_WEIGHTS)
    label = f"{archive.path}: {_WEIGHTS}"
    if not member.compressed:
        verify = partial(archive.check_crc, _WEIGHTS)
        return Region(archive.path, member.data_offset, member.size, label, verify=verify)
    copy = _Inflated(archive)
    return Region(copy.path, 0, member.size, label, owner=copy)


class _Inflated:
    """The weights of a compressed archive in a temporary file, which goes when nobody refers to this any more."""

    def __init__(self, archive: ZipDirectory) -> None:
        try:
            handle, name = tempfile.mkstemp(suffix=f".{_WEIGHTS}")
            self.path = Path(name)
            weakref.finalize(self, self.path.unlink, missing_ok=True)
            with os.fdopen(handle, "wb") as file, zipfile.ZipFile(archive.path) as source:
                with source.open(_WEIGHTS) as content:
                    shutil.copyfileobj(content, file, _COPY_BYTES)
                size = file.tell()
        except (OSError, zipfile.BadZipFile, EOFError, zlib.error) as error:
            raise CheckpointError(f"{archive.path}: {_WEIGHTS} cannot be unpacked: {error}") from error
        if size != archive.member(_WEIGHTS).size:
            raise CheckpointError(f"{archive.path}: {_WEIGHTS} does not unpack to its size: the file is damaged")

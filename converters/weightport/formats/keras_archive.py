"""Keras's ``.keras``: a zip archive of the model's config, its tree of weights in HDF5, and assets.

Keras stores the members uncompressed, so that the weights are mapped into memory inside the archive.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from ..checkpoint import Contents, Output
from ..errors import CheckpointError, RefusedError
from ._hdf5 import parse_json, read_tree
from ._hdf5_keras import object_contents, object_datasets
from ._hdf5_region import Region
from ._hdf5_write import Frame, make_frame, placed
from ._zip import SIGNATURE, ZipDirectory, open_directory

NAME = "keras"
FRAMEWORK = "keras"
SUFFIXES: tuple[str, ...] = (".keras",)

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_NAME_OFFSET = 30
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
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
    """Write the template ``.keras`` file with new values; its config, metadata and assets are copied byte for byte."""
    del metadata  # Keras has no place for text of others
    if template is None or template.format != NAME:
        given = "none was given" if template is None else f"{template.origin} has no config that Keras 3 can load"
        raise RefusedError(f"{path.name}: a .keras file needs another .keras file as its template, and {given}")
    archive = open_directory(Path(template.origin))
    tree = read_tree(_region(archive))
    outputs = placed(path, tensors, template, object_datasets(tree))
    frame_path = path.with_name(f"{path.name}.frame")
    try:
        _write_archive(path, archive, make_frame(frame_path, tree, outputs))
    finally:
        frame_path.unlink(missing_ok=True)


def _write_archive(path: Path, template: ZipDirectory, frame: Frame) -> None:
    """The template's members in its order, with the frame in the place of its weights."""
    try:
        with zipfile.ZipFile(template.path) as source, zipfile.ZipFile(path, "x") as target:
            for name, member in template.members.items():
                size = frame.size if name == _WEIGHTS else member.size
                with target.open(_entry(name, size), "w") as file:
                    if name == _WEIGHTS:
                        frame.copy_to(file.write)
                    else:
                        with source.open(name) as content:
                            shutil.copyfileobj(content, file, _COPY_BYTES)
    except (OSError, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"{path}: cannot be written from {template.path}: {reason}") from error


def _entry(name: str, size: int) -> zipfile.ZipInfo:
    """A member that says nothing of the time and the machine, so that equal content gives equal bytes."""
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.create_system = _UNIX
    entry.file_size = size
    return entry


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
        verify = cache(lambda: archive.check_crc(_WEIGHTS))
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

"""Reading PyTorch's zip archives: a pickle that describes the tensors, and one uncompressed member a storage."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..checkpoint import Array, DType, LazyTensor, Stored
from ..errors import CheckpointError
from ._pickle import load
from ._torch_objects import NAMES, Storage, StoredTensor, Unreadable, storage_of
from ._torch_state import State, find_state
from ._torch_tensors import lazy_tensors
from ._zip import MAX_RATIO, ZipDirectory, open_directory

SMALL_PICKLE = 1 << 20

_PICKLE = "data.pkl"
_ONE_PICKLE = re.compile(r"[^/]+/data\.pkl")

# What else PyTorch keeps in zip archives: a member's name after the archive's folder, and what to say.
_OTHERS = (
    (
        re.compile(r"constants\.pkl|code/.*"),
        "a TorchScript archive, which is a program; load it with torch.jit.load and save model.state_dict()",
    ),
    (
        re.compile(r"archive_format|models/.*\.json"),
        "a torch.export archive (.pt2), which is a program; load it with torch.export.load and save its state_dict",
    ),
    (
        re.compile(r"\.data/extern_modules"),
        "a torch.package archive, which is a program; load it in PyTorch and save model.state_dict()",
    ),
)


def is_archive(names: Iterable[str]) -> bool:
    """Whether an archive with these members is one of PyTorch's, of whatever kind."""
    return any(
        name.rpartition("/")[2] == _PICKLE or any(form.fullmatch(_inner(name)) for form, _ in _OTHERS) for name in names
    )


def read_archive(path: Path) -> tuple[State, Mapping[str, LazyTensor]]:
    """The state dict in the archive and its tensors. Raises CheckpointError, and nothing else, on a bad file."""
    archive = open_directory(path)
    root = _root(archive)
    _check_byte_order(archive, root)
    value, _ = load(_pickle(archive, root), f"{path}: its pickle", NAMES, storage_of)
    state = find_state(value, str(path))
    storages = _Storages(archive, root)
    storages.check(state.tensors)
    return state, lazy_tensors(state.tensors, str(path), storages.array)


class _Storages:
    """The storages as members of the archive. Each one's checksum is verified before its bytes are first used."""

    def __init__(self, archive: ZipDirectory, root: str) -> None:
        self._archive = archive
        self._root = root

    def check(self, tensors: Mapping[str, StoredTensor | Unreadable]) -> None:
        """Raise CheckpointError where a tensor's storage is missing or not as large as the pickle says."""
        for name, tensor in tensors.items():
            if isinstance(tensor, Unreadable):
                continue
            storage = tensor.storage
            member = self._archive.members.get(self._member(storage))
            where = f"{self._archive.path}: tensor {name!r}"
            if member is None:
                raise CheckpointError(f"{where}: the archive has no member {self._member(storage)!r}: it is damaged")
            size = storage.numel * storage.itemsize
            if member.size != size:
                raise CheckpointError(
                    f"{where}: its storage should have {size} bytes, but member {member.name!r} has {member.size}: "
                    "the file is damaged"
                )

    def array(self, storage: Storage, first: int, shape: tuple[int, ...], dtype: DType) -> Array | Stored:
        """The array that begins at a byte of a storage; in memory where the member is compressed."""
        return self._archive.array(self._member(storage), first, shape, dtype)

    def _member(self, storage: Storage) -> str:
        return f"{self._root}/data/{storage.key}"


def _root(archive: ZipDirectory) -> str:
    """The folder that everything is in. Raises CheckpointError for the other kinds of archive that PyTorch writes."""
    for form, text in _OTHERS:
        if any(form.fullmatch(_inner(name)) for name in archive.members):
            raise CheckpointError(f"{archive.path}: {text}")
    pickles = [name for name in archive.members if _ONE_PICKLE.fullmatch(name)]
    if len(pickles) > 1:
        raise CheckpointError(f"{archive.path}: has {pickles[0]!r} and {pickles[1]!r}: refused as unsafe")
    if not pickles:
        raise CheckpointError(f"{archive.path}: a zip archive without a folder that has {_PICKLE}: no PyTorch file")
    return pickles[0].partition("/")[0]


def _pickle(archive: ZipDirectory, root: str) -> bytes:
    """The pickle, which takes many times its size in memory once it is read; so it may not grow much before."""
    member = archive.member(f"{root}/{_PICKLE}")
    if member.size > max(SMALL_PICKLE, MAX_RATIO * member.stored_size):
        raise CheckpointError(
            f"{archive.path}: the {member.stored_size} bytes of its pickle grow to {member.size}: refused, more than "
            f"{MAX_RATIO} times"
        )
    return archive.read(member.name)


def _inner(name: str) -> str:
    return name.partition("/")[2]


def _check_byte_order(archive: ZipDirectory, root: str) -> None:
    """Files before PyTorch 2.1 do not tell; they are little-endian."""
    name = f"{root}/byteorder"
    order = archive.read(name).strip() if name in archive.members else b"little"
    if order != b"little":
        raise CheckpointError(
            f"{archive.path}: its byte order is {order[:20].decode(errors='replace')!r}, and only little-endian files "
            "are read; load it in PyTorch on a little-endian machine and save it again"
        )

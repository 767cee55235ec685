"""Reading the files of PyTorch before 1.6, which some packages still ship: five pickles, then the storages.

Source: torch/serialization.py, _legacy_save.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checkpoint import DType, LazyTensor
from ..errors import CheckpointError
from ._pickle import load
from ._stored import FileArray, FileBytes
from ._torch_objects import NAMES, Storage, storage_of
from ._torch_state import State, find_state
from ._torch_tensors import lazy_tensors

MAGIC = 0x1950A86A20F9469CFC6C
MAGIC_BYTES = b"\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."
"""The first pickle after its protocol: the opcode for a long of ten bytes, the magic number, the end."""
PROTOCOL = 1001

_LENGTH = struct.Struct("<q")


def is_legacy(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is one: a pickle of the magic number."""
    return head.startswith(b"\x80") and MAGIC_BYTES in head


def read_legacy(path: Path) -> tuple[State, Mapping[str, LazyTensor]]:
    """The state dict in the file and its tensors. Raises CheckpointError, and nothing else, on a bad file."""
    with FileBytes(path) as data:
        value, places = _parse(data, str(path))

    def array(storage: Storage, first: int, shape: tuple[int, ...], dtype: DType) -> FileArray:
        return FileArray(path, places[storage.key] + first, shape, dtype)

    state = find_state(value, str(path))
    return state, lazy_tensors(state.tensors, str(path), array)


def _parse(data: FileBytes, where: str) -> tuple[object, Mapping[str, int]]:
    """The saved object, and where in the file each storage's elements begin."""
    position = _check_head(data, where)
    storages: dict[str, Storage] = {}

    def persistent(arguments: tuple[Any, ...]) -> Storage:
        storage = storage_of(arguments)
        other = storages.setdefault(storage.key, storage)
        if (other.type_name, other.numel) != (storage.type_name, storage.numel):
            raise ValueError(f"has two different storages with the key {storage.key!r}: it is damaged")
        return storage

    value, position = load(data, f"{where}: its pickle", NAMES, persistent, position)
    keys, position = load(data, f"{where}: its list of storages", {}, _no_storage, position)
    if type(keys) is not list or not all(type(key) is str for key in keys) or sorted(keys) != sorted(storages):
        raise CheckpointError(f"{where}: its list of storages does not match its tensors: the file is damaged")
    return value, _places(data, position, [storages[key] for key in keys], where)


def _check_head(data: FileBytes, where: str) -> int:
    """The end of the first three pickles: the magic number, the protocol, the system."""
    magic, position = load(data, f"{where}: its first pickle", {}, _no_storage)
    protocol, position = load(data, f"{where}: its second pickle", {}, _no_storage, position)
    system, position = load(data, f"{where}: its third pickle", {}, _no_storage, position)
    if type(magic) is not int or magic != MAGIC or type(protocol) is not int or protocol != PROTOCOL:
        raise CheckpointError(f"{where}: not a PyTorch file, or one of an unknown version")
    if type(system) is not dict or system.get("little_endian") is not True:
        raise CheckpointError(
            f"{where}: was written on a big-endian machine; load it in PyTorch there and save it as .safetensors"
        )
    return position


def _places(data: FileBytes, position: int, storages: list[Storage], where: str) -> Mapping[str, int]:
    places = {}
    for storage in storages:
        begin = position + _LENGTH.size
        position = begin + storage.numel * storage.itemsize
        if position > len(data):
            raise CheckpointError(
                f"{where}: storage {storage.key!r} ends at byte {position}, but the file has {len(data)} bytes: "
                "it is cut short"
            )
        (numel,) = _LENGTH.unpack(data[begin - _LENGTH.size : begin])
        if numel != storage.numel:
            raise CheckpointError(
                f"{where}: storage {storage.key!r} has {numel} elements, expected {storage.numel}: the file is damaged"
            )
        places[storage.key] = begin
    if position != len(data):
        raise CheckpointError(
            f"{where}: {len(data) - position} bytes follow the last tensor: it is damaged, or several objects were "
            "saved into one file; save the state dict alone"
        )
    return places


def _no_storage(arguments: tuple[Any, ...]) -> object:
    del arguments
    raise ValueError("refers to a storage where there is none: it is damaged")

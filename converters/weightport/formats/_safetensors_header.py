"""The header of a safetensors file, checked to the letter of the specification: what it says is what is in the file.

Source: https://github.com/huggingface/safetensors, README and safetensors/src/tensor.rs. The reference reader lets
some things pass (a name twice, unknown keys, blanks before the first brace) by which two readers could see two files.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from ..checkpoint import DType
from ..errors import CheckpointError
from ._safetensors_dtypes import DTYPE_OF_NAME

LENGTH = struct.Struct("<Q")
MAX_HEADER = 100_000_000
MAX_RANK = 32
MAX_CONTAINERS = 1_500_000
"""An entry has three: half a million tensors in one file."""
METADATA = "__metadata__"
MAX_SHOWN = 200
_KEYS = {"dtype", "shape", "data_offsets"}
_MAX_ELEMENTS = 1 << 62


@dataclass(frozen=True)
class Entry:
    """A tensor in the file: ``size`` bytes from byte ``offset`` of the file on."""

    dtype: DType
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True)
class Header:
    """The tensors by name, in the header's order, and the file's own text."""

    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """The checked header. Raises CheckpointError, and nothing else, on a bad file."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(0)
            size = _header_size(path, file.read(LENGTH.size), end)
            header = file.read(size)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if not header.startswith(b"{"):
        raise CheckpointError(f"{path}: its header does not begin with a brace: no safetensors file, or damaged")
    items = parse_json(header, f"{path}: its header")
    metadata = _metadata(items.pop(METADATA, None), path)
    start = LENGTH.size + size
    entries = {name: _entry(item, start, f"{path}: tensor {name[:MAX_SHOWN]!r}") for name, item in items.items()}
    _check_layout(entries, start, end, path)
    return Header(entries, metadata)


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object without the liberties that Python's parser takes: no name twice, no NaN, no half characters."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) != len(items):
            (twice, _), *_ = Counter(name for name, _ in items).most_common(1)
            raise CheckpointError(f"{where} has {twice[:MAX_SHOWN]!r} twice: refused as unsafe")
        for name in made:
            name.encode()
        return made

    def constant(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    if data.count(b"{") + data.count(b"[") > MAX_CONTAINERS:
        raise CheckpointError(f"{where} has more than {MAX_CONTAINERS} lists and objects: refused")
    try:
        made = json.loads(data.decode(), object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} {_json_problem(error)}: the file is damaged") from error
    if type(made) is not dict:
        raise CheckpointError(f"{where} is no JSON object: the file is damaged")
    return made


def _json_problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "is nested too deep"
    return "is not UTF-8 text" if isinstance(error, UnicodeError) else f"is no plain JSON ({error})"


def _header_size(path: Path, length: bytes, end: int) -> int:
    if len(length) < LENGTH.size:
        raise CheckpointError(f"{path}: has {len(length)} bytes: too short for a safetensors file")
    (size,) = LENGTH.unpack(length)
    if size > MAX_HEADER:
        raise CheckpointError(f"{path}: says that its header has {size} bytes, more than {MAX_HEADER}: refused")
    if LENGTH.size + size > end:
        raise CheckpointError(
            f"{path}: its header ends at byte {LENGTH.size + size}, but the file has {end} bytes: it is cut short"
        )
    return int(size)


def _metadata(item: object, path: Path) -> dict[str, str]:
    if item is None:  # absent, or null, as MLX writes it and the reference reader reads it
        return {}
    if type(item) is not dict or not all(type(value) is str for value in item.values()):
        raise CheckpointError(f"{path}: its {METADATA} is not text by name: the file is damaged")
    return item


def _entry(item: object, start: int, where: str) -> Entry:
    if type(item) is not dict or item.keys() != _KEYS:
        found = ", ".join(map(repr, item)) if type(item) is dict else f"a {type(item).__name__}"
        raise CheckpointError(f"{where} has {found[:200]} where dtype, shape and data_offsets should be: refused")
    shape, offsets = item["shape"], item["data_offsets"]
    if not (_are_sizes(shape) and _are_sizes(offsets) and len(offsets) == 2):
        raise CheckpointError(f"{where} has a shape or data_offsets that are not lists of sizes: the file is damaged")
    if len(shape) > MAX_RANK:
        raise CheckpointError(f"{where} has {len(shape)} dimensions, more than the {MAX_RANK} that NumPy can hold")
    if prod(max(length, 1) for length in shape) > _MAX_ELEMENTS:
        raise CheckpointError(f"{where} says that its shape is {shape}: no array can be that large")
    dtype = _dtype(item["dtype"], where)
    size = prod(shape) * dtype.itemsize
    begin, end = offsets
    if end - begin != size:
        raise CheckpointError(f"{where} has {end - begin} bytes, but {dtype}{shape} takes {size}: the file is damaged")
    return Entry(dtype, tuple(shape), start + begin, size)


def _dtype(name: object, where: str) -> DType:
    if type(name) is not str or name not in DTYPE_OF_NAME:
        raise CheckpointError(f"{where} is of an unknown type {str(name)[:40]!r}: damaged, or of a newer version")
    dtype = DTYPE_OF_NAME[name]
    if dtype is None:
        raise CheckpointError(f"{where} is of {name}, whose elements share bytes: dequantize it first")
    return dtype


def _are_sizes(values: object) -> bool:
    return type(values) is list and all(type(value) is int and value >= 0 for value in values)


def _check_layout(entries: Mapping[str, Entry], start: int, end: int, path: Path) -> None:
    """The tensors lie one after another and fill the file: nothing overlaps and nothing is hidden between them."""
    position = start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].offset, item[1].size)):
        if entry.offset != position:
            what = "overlaps the one before it" if entry.offset < position else "leaves a gap before it"
            where = f"{path}: tensor {name[:MAX_SHOWN]!r}"
            raise CheckpointError(f"{where} begins at byte {entry.offset} and {what}: refused")
        position += entry.size
    if position > end:
        raise CheckpointError(f"{path}: its tensors end at byte {position}, but the file has {end}: it is cut short")
    if position < end:
        raise CheckpointError(f"{path}: {end - position} bytes follow its last tensor: refused")

"""Safetensors files that are spread over several shards, beside an index that says which tensor is in which.

Source: huggingface_hub/serialization/_torch.py (the convention has no specification).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

from ..checkpoint import Output
from ..errors import CheckpointError
from ..staging import companion_names
from ._safetensors_header import MAX_SHOWN, Header, parse_json, read_header

INDEX_SUFFIX = ".safetensors.index.json"
WEIGHT_MAP = "weight_map"
MAX_INDEX = 100_000_000


def read_shards(index: Path) -> list[tuple[Path, Header]]:
    """The shards and their headers. Raises CheckpointError where they do not hold exactly what the index says."""
    weight_map = _weight_map(index)
    shards: dict[str, set[str]] = {}
    for name, shard in weight_map.items():
        shards.setdefault(shard, set()).add(name)
    found = [(path, read_header(path)) for path in [_shard_path(index, shard) for shard in shards]]
    for (path, header), names in zip(found, shards.values(), strict=True):
        missing, extra = names - header.entries.keys(), header.entries.keys() - names
        if missing:
            raise CheckpointError(f"{path}: has no {_some(missing)}, which {index.name} says is in it")
        if extra:
            raise CheckpointError(f"{path}: has {_some(extra)}, which {index.name} does not say is in it")
    return found


def split(tensors: Sequence[Output], shard_bytes: int) -> list[list[Output]]:
    """The tensors in their order, in shards of at most that many bytes; a larger tensor has a shard of its own."""
    shards: list[list[Output]] = [[]]
    filled = 0
    for tensor in tensors:
        size = _size(tensor)
        if shards[-1] and filled + size > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled += size
    return shards


def shard_names(index: Path, count: int) -> Sequence[str]:
    """``model-00001-of-00003.safetensors`` and so on, for ``model.safetensors.index.json``."""
    stem = index.name.removesuffix(INDEX_SUFFIX) or "model"

    def named(mark: str) -> list[str]:
        return [f"{stem}{mark}-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]

    return companion_names(index, named, rf"{re.escape(stem)}(\.\d+)?-\d{{5}}-of-\d{{5}}\.safetensors")


def index_text(shards: Mapping[str, Sequence[Output]]) -> str:
    """The index of these shards."""
    weight_map = {tensor.name: shard for shard, tensors in shards.items() for tensor in tensors}
    total = sum(_size(tensor) for tensors in shards.values() for tensor in tensors)
    index = {"metadata": {"total_size": total}, WEIGHT_MAP: weight_map}
    return json.dumps(index, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _size(tensor: Output) -> int:
    return prod(tensor.shape) * tensor.dtype.itemsize


def _weight_map(index: Path) -> dict[str, str]:
    try:
        size = index.stat().st_size
        if size > MAX_INDEX:
            raise CheckpointError(f"{index}: has {size} bytes, more than {MAX_INDEX}: refused")
        text = index.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{index}: cannot be read: {error.strerror}") from error
    weight_map = parse_json(text, f"{index}: the index").get(WEIGHT_MAP)
    if type(weight_map) is not dict or not weight_map or not all(type(shard) is str for shard in weight_map.values()):
        raise CheckpointError(f"{index}: has no {WEIGHT_MAP} from tensors to files: damaged, or another index")
    return weight_map


def _shard_path(index: Path, shard: str) -> Path:
    """The shard's file. Raises CheckpointError where it is not a plain file right beside the index."""
    if shard in ("", ".", "..") or any(mark in shard for mark in "/\\:\0"):
        shown = repr(shard[:MAX_SHOWN])
        raise CheckpointError(f"{index}: names a shard {shown}, which is no plain file name: refused as unsafe")
    if len(shard) > MAX_SHOWN:
        raise CheckpointError(f"{index}: names a shard by {len(shard)} characters: refused as unsafe")
    if not shard.endswith(".safetensors"):
        raise CheckpointError(f"{index}: shard {shard!r} is no .safetensors file; save the model as safetensors")
    path = index.parent / shard
    try:
        real, folder = path.resolve(strict=True), index.parent.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no such file"
        raise CheckpointError(f"{index}: shard {shard!r} cannot be read: {reason}; put it beside the index") from error
    if real.parent != folder:
        raise CheckpointError(
            f"{index}: shard {shard!r} is a link that leaves the folder: refused as unsafe; copy the file itself here"
        )
    if not real.is_file():
        raise CheckpointError(f"{index}: shard {shard!r} is not a file")
    return path


def _some(names: set[str]) -> str:
    first = min(names)[:MAX_SHOWN]
    return f"tensor {first!r}" if len(names) == 1 else f"{len(names)} tensors ({first!r} ...)"

"""How large the files of a checkpoint may be that is spread over several: sizes as people write them."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import UsageError
from .formats import Format, ShardedFormat

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def byte_size(text: str | int) -> int:
    """The bytes of a size such as ``5GB``, ``500 MB`` or ``2GiB``. Raises UsageError where it is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?B?)", str(text).strip().upper())
    unit = found[2] if found else None
    if found is None or unit not in _UNITS or not float(found[1]):
        raise UsageError(f"no size {text!r}; write it as 5GB, 500MB or 2GiB")
    return int(float(found[1]) * _UNITS[unit])


def sharded_format(file_format: Format | None, path: Path) -> ShardedFormat:
    """The target's format, which has to write shards. Raises UsageError saying which name would ask for it."""
    if isinstance(file_format, ShardedFormat):
        if path.name.endswith(file_format.INDEX_SUFFIX):
            return file_format
        stem = path.name.split(".", maxsplit=1)[0]
        raise UsageError(f"{path}: shards need an index; name the target {stem}{file_format.INDEX_SUFFIX}")
    raise UsageError(f"{path}: only .safetensors can be spread over shards; leave out --shard-size")

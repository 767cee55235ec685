"""Mapping files: which layer goes into which, and what else no file tells.

A TOML file::

    [layers]                     # one model's layer = the other's
    "encoder_lstm" = "encoder.lstm"

    [flatten]                    # height, width and channels of the feature map that a layer's rows follow, channels
    "dense" = [7, 7, 64]         # last whatever the frameworks; "same" where both models flatten in one order
    "expand" = { out = [4, 4, 32] }   # of what the layer gives, where that is made into a map
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeAlias

from .errors import UsageError

SAME = "same"
Flattened: TypeAlias = str | tuple[int, ...]
"""``same``, or the sizes of a feature map with its channels last."""
_TABLES = ("layers", "flatten")


@dataclass(frozen=True)
class NameMap:
    """What a mapping file says.

    ``layers`` has pairs of names, the source's first. ``flatten`` has, by the name of a layer of either model (or a
    pattern of names), what each of its axes runs over; the axis ``""`` is the first that can."""

    layers: Mapping[str, str] = field(default_factory=dict)
    flatten: Mapping[str, Mapping[str, Flattened]] = field(default_factory=dict)

    def flattened(self, *names: str) -> Mapping[str, Flattened]:
        """What is said of the layer that the two models call by these names."""
        found: dict[str, Flattened] = {}
        for pattern, axes in self.flatten.items():
            if any(fnmatchcase(name, pattern) for name in names):
                found |= axes
        return found


def name_map(mapping: str | os.PathLike[str] | Mapping[str, str] | NameMap | None) -> NameMap:
    """A mapping in any form that the library takes. Raises UsageError naming the file and the entry."""
    if mapping is None:
        return NameMap()
    if isinstance(mapping, NameMap):
        return mapping
    return NameMap(mapping) if isinstance(mapping, Mapping) else read_mapping(Path(mapping))


def read_mapping(path: Path) -> NameMap:
    """Read a mapping file. Raises UsageError naming the file and the entry."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    unknown = sorted(set(content) - set(_TABLES))
    if unknown:
        raise UsageError(f"{path}: a mapping file has the tables {' and '.join(_TABLES)}; found {', '.join(unknown)}")
    tables = {name: content.get(name, {}) for name in _TABLES}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(f"{path}: [{name}] must be a table, found {table!r}")
    for source, target in tables["layers"].items():
        if not isinstance(target, str):
            raise UsageError(f"{path}: [layers] {source!r} must name a target layer, found {target!r}")
    flatten = {name: _axes(f"{path}: [flatten] {name!r}", value) for name, value in tables["flatten"].items()}
    return NameMap(tables["layers"], flatten)


def _axes(where: str, value: Any) -> Mapping[str, Flattened]:
    if isinstance(value, dict):
        return {axis: _flattened(f"{where} {axis}", inner) for axis, inner in value.items()}
    return {"": _flattened(where, value)}


def _flattened(where: str, value: Any) -> Flattened:
    if value == SAME:
        return SAME
    sizes = value if isinstance(value, list) else []
    if len(sizes) > 1 and all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes):
        return tuple(sizes)
    raise UsageError(f"{where} must be the sizes of a feature map, as [height, width, channels], or {SAME!r}")

"""Mapping files: which layer goes into which, where names and order do not tell."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from .errors import UsageError


def read_mapping(path: Path) -> Mapping[str, str]:
    """The pairs of a mapping file: a TOML file with ``[layers]`` and lines ``"source layer" = "target layer"``.

    Raises UsageError naming the file and the line."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    unknown = sorted(set(content) - {"layers"})
    layers = content.get("layers", {})
    if unknown or not isinstance(layers, dict):
        raise UsageError(f"{path}: a mapping file has one table, [layers]; found {', '.join(unknown) or layers!r}")
    for source, target in layers.items():
        if not isinstance(target, str):
            raise UsageError(f"{path}: [layers] {source!r} must name a target layer, found {target!r}")
    return layers

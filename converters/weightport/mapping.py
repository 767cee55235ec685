"""Mapping files: which layer goes into which, and what else no file tells.

A TOML file; ``weightport map`` proposes one::

    ignore = ["head.*"]                   # layers or tensors of either model that stay behind

    [layers]                              # one model's layer = the other's
    "encoder_lstm" = "encoder.lstm"
    "lower" = "rnn"                       # two layers that are one stack there
    "upper" = "rnn"
    "block_*/dense" = "layers.*.linear"   # a * stands for the same text on both sides, within one part of a name

    [flatten]                             # height, width and channels of the feature map that a layer's rows follow,
    "dense" = [7, 7, 64]                  # channels last whatever the frameworks; "same" where both flatten alike
    "expand" = { out = [4, 4, 32] }       # of what the layer gives, where that is made into a map

    [kinds]                               # what a layer is, where its file does not tell
    "decoder.up*" = "conv_transpose"

Either model may be the source. A value of ``"?"`` is not settled yet, and refused.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeAlias

from .errors import RefusedError, UsageError
from .kinds import all_kinds

SAME = "same"
OPEN = "?"
Flattened: TypeAlias = str | tuple[int, ...]
"""``same``, or the sizes of a feature map with its channels last."""
Partners: TypeAlias = str | tuple[str, ...]


@dataclass(frozen=True)
class NameMap:
    """What a mapping file says.

    ``layers`` has names of one model's layers, each with the other's, either model first. ``flatten`` has, by the name
    of a layer of either model (or a pattern of names), what each of its axes runs over; the axis ``""`` is the first
    that can. ``kinds`` has the kind of a layer of either model, by its name or a pattern of names. ``ignore`` has
    patterns of layers and tensors that stay behind."""

    layers: Mapping[str, Partners] = field(default_factory=dict)
    flatten: Mapping[str, Mapping[str, Flattened]] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    origin: str = "the mapping"
    kinds: Mapping[str, str] = field(default_factory=dict)

    def flattened(self, *names: str) -> Mapping[str, Flattened]:
        """What is said of the layer that the two models call by these names."""
        found: dict[str, Flattened] = {}
        for pattern, axes in self.flatten.items():
            if any(fnmatchcase(name, pattern) for name in names):
                found |= axes
        return found

    def kind_of(self, name: str) -> str | None:
        """What is said of the kind of a layer; the last pattern that fits it."""
        found = [kind for pattern, kind in self.kinds.items() if fnmatchcase(name, pattern)]
        return found[-1] if found else None

    def ignores(self, *names: str) -> bool:
        """Whether something of these names stays behind."""
        return any(fnmatchcase(name, pattern) for pattern in self.ignore for name in names)

    def pairs(self, source: Iterable[str], target: Iterable[str]) -> list[tuple[str, str]]:
        """Every pair of layers, the source's first, with patterns written out for these names of layers.

        Raises UsageError for a pattern that fits no layer; a plain name that is none is left to whoever looks it up."""
        sides = dict.fromkeys(source), dict.fromkeys(target)
        entries = [(one, other) for one, others in self.layers.items() for other in _several(others)]
        found = [self._entry(one, other, sides) for one, other in entries]
        backwards = any(b and not f for f, b in found) and not any(f and not b for f, b in found)
        pairs = []
        for (one, other), (forward, backward) in zip(entries, found, strict=True):
            chosen = [(theirs, ours) for ours, theirs in backward] if backwards else forward
            if not chosen and "*" in one:
                raise UsageError(f"{self.origin}: [layers] {one!r} = {other!r} fits no pair of layers")
            pairs += chosen or [(other, one) if backwards else (one, other)]
        return list(dict.fromkeys(pairs))

    def _entry(
        self, one: str, other: str, sides: tuple[Mapping[str, None], Mapping[str, None]]
    ) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """The pairs that an entry stands for with the source on its left, and with the source on its right."""
        return list(_expanded(one, other, *sides)), list(_expanded(one, other, *reversed(sides)))


def name_map(mapping: str | os.PathLike[str] | Mapping[str, str] | NameMap | None) -> NameMap:
    """A mapping in any form that the library takes. Raises UsageError naming the file and the entry."""
    if mapping is None:
        return NameMap()
    if isinstance(mapping, NameMap):
        return mapping
    return NameMap(mapping) if isinstance(mapping, Mapping) else read_mapping(Path(mapping))


def read_mapping(path: Path) -> NameMap:
    """Read a mapping file. Raises UsageError naming the file and the entry, and RefusedError where entries are not
    settled yet."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    return mapping_from(content, str(path))


def mapping_from(content: Mapping[str, Any], origin: str) -> NameMap:
    """What the content of a mapping file says. Raises UsageError and RefusedError as :func:`read_mapping` does."""
    unknown = sorted(set(content) - {"layers", "flatten", "kinds", "ignore"})
    if unknown:
        raise UsageError(
            f"{origin}: a mapping file has [layers], [flatten], [kinds] and ignore; found {', '.join(unknown)}"
        )
    layers, flatten = (_table(content, name, origin) for name in ("layers", "flatten"))
    not_settled = [
        f"[{table}] {name!r} is not settled; write a name, or the sizes of the map, in place of {OPEN!r}"
        for table, values in (("layers", layers), ("flatten", flatten))
        for name, value in values.items()
        if value == OPEN
    ]
    if not_settled:
        raise RefusedError(f"{origin} has entries for you to settle", not_settled)
    ignore = content.get("ignore", [])
    if not isinstance(ignore, list) or not all(isinstance(pattern, str) for pattern in ignore):
        raise UsageError(f"{origin}: ignore must be a list of names or patterns, found {ignore!r}")
    return NameMap(
        {name: _partners(f"{origin}: [layers] {name!r}", value) for name, value in layers.items()},
        {name: _axes(f"{origin}: [flatten] {name!r}", value) for name, value in flatten.items()},
        tuple(ignore),
        origin,
        {name: _kind(f"{origin}: [kinds] {name!r}", value) for name, value in _table(content, "kinds", origin).items()},
    )


def _kind(where: str, value: Any) -> str:
    if value not in all_kinds():
        raise UsageError(f"{where} must be one of {', '.join(all_kinds())}, found {value!r}")
    return str(value)


def _table(content: Mapping[str, Any], name: str, origin: str) -> dict[str, Any]:
    table = content.get(name, {})
    if not isinstance(table, dict):
        raise UsageError(f"{origin}: [{name}] must be a table, found {table!r}")
    return table


def _partners(where: str, value: Any) -> Partners:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise UsageError(f"{where} must name a target layer, or a list of them that are one stack, found {value!r}")


def _several(partners: Partners) -> Sequence[str]:
    return (partners,) if isinstance(partners, str) else partners


def _expanded(one: str, other: str, ours: Mapping[str, None], theirs: Mapping[str, None]) -> Iterator[tuple[str, str]]:
    """The pairs of layers that an entry means; none where it means no layers of these."""
    if "*" not in one:
        left, right = _known(one, ours), _known(other, theirs)
        if left is not None and right is not None:
            yield left, right
        return
    pattern = re.compile("([^./]+)".join(re.escape(_dotted(part)) for part in one.split("*")))
    parts = _dotted(other).split("*")
    for name in ours:
        match = pattern.fullmatch(name)
        if match and len(parts) == len(match.groups()) + 1:
            partner = "".join(part + text for part, text in zip(parts, (*match.groups(), ""), strict=True))
            if partner in theirs:
                yield name, partner


def _known(name: str, names: Mapping[str, None]) -> str | None:
    """The layer of that name; a ``/`` may stand for the dot between a model's name and its layers'."""
    return next((known for known in (name, _dotted(name)) if known in names), None)


def _dotted(name: str) -> str:
    return name.replace("/", ".")


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

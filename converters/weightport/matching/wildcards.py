"""Repeated blocks in a mapping file: pairs that differ in one number become one line with a wildcard."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from ..mapping import NameMap

Entry: TypeAlias = tuple[str, list[str], str]
"""A layer's name, its partners' and why they are."""
FEWEST = 3
_NUMBER = re.compile(r"\d+")


def folded(entries: Sequence[Entry], ours: Sequence[str], theirs: Sequence[str]) -> list[Entry]:
    """The entries, with those that one pattern stands for put together, where it stands for these and no others.

    ``ours`` and ``theirs`` are all names of layers that a pattern may fit."""
    families: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        pattern = _pattern(entry)
        if pattern is not None:
            families.setdefault((*pattern, entry[2]), []).append(entry)
    done: set[str] = set()
    lines: dict[str, Entry] = {}
    for (one, other, why), members in families.items():
        expected = {(name, partners[0]) for name, partners, _ in members}
        if len(members) >= FEWEST and set(NameMap({one: other}).pairs(ours, theirs)) == expected:
            lines[members[0][0]] = (one, [other], f"{why}, {len(members)} layers")
            done |= {name for name, _, _ in members}
    return [lines.get(entry[0], entry) for entry in entries if entry[0] in lines or entry[0] not in done]


def _pattern(entry: Entry) -> tuple[str, str] | None:
    """The entry with the first number that both names have, between dots or underscores, as a star."""
    name, partners, _ = entry
    if len(partners) != 1:
        return None
    for match, other in _same_numbers(name, partners[0]):
        return _starred(name, match), _starred(partners[0], other)
    return None


def _same_numbers(one: str, other: str) -> Iterator[tuple[re.Match[str], re.Match[str]]]:
    for match in _NUMBER.finditer(one):
        for candidate in _NUMBER.finditer(other):
            if match.group() == candidate.group():
                yield match, candidate


def _starred(name: str, match: re.Match[str]) -> str:
    return f"{name[: match.start()]}*{name[match.end() :]}"

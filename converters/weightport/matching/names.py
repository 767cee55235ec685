"""Names as evidence: which words two layers' names share, and what their numbers count. Evidence only, never proof."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_BORDER = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TOKEN = re.compile(r"[a-z]+(?:\dd\b)?|\d+")  # the digit of conv2d is none that counts
_NUMBER = "#"
_PREFIX, _INITIAL = 0.75, 0.5


@dataclass(frozen=True)
class Name:
    """A name taken apart: its words, ``#`` where a number stands among them, and the numbers. A number at the end is a
    counter, and a name without one is the first that counts."""

    words: tuple[str, ...]
    numbers: tuple[int, ...]

    @classmethod
    def of(cls, name: str) -> Name:
        tokens = _TOKEN.findall(_BORDER.sub("_", name).lower().replace("_", " ").replace(".", " "))
        counter = int(tokens.pop()) if tokens and tokens[-1].isdigit() else -1
        words = tuple(_NUMBER if token.isdigit() else token for token in tokens)
        return cls(words, (*(int(token) for token in tokens if token.isdigit()), counter))


def telling(stems: Sequence[tuple[str, ...]]) -> list[frozenset[str]]:
    """The words of each stem that not all of them have; all of them, of a single one."""
    words = [frozenset(stem) - {_NUMBER} for stem in stems]
    common = frozenset.intersection(*words) if len(words) > 1 else frozenset()
    return [own - common for own in words]


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """How many of the words of two names are the same, from 0 to 1; one that begins the other counts less."""
    if not one or not other:
        return 0.0
    ours = sum(max(_alike(word, theirs) for theirs in other) for word in one)
    theirs = sum(max(_alike(word, ours_) for ours_ in one) for word in other)
    return (ours + theirs) / (len(one) + len(other))


def _alike(one: str, other: str) -> float:
    if one == other:
        return 1.0
    shorter, longer = sorted((one, other), key=len)
    if not longer.startswith(shorter):
        return 0.0
    return _PREFIX if len(shorter) > 1 else _INITIAL

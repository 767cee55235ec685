"""The axes notation: text such as ``"direction (side gate unit)"`` as a value, and where each block lies in memory.

The notation is einops' own: names, ``( )`` for a group flattened in row-major order, ``1`` for a singleton, ``...``
for any number of axes (``...state`` for any number of others); and ``(a + b)`` for parts that follow one another along
one dimension. Syntax and arithmetic only: this module knows no kinds, no frameworks and no arrays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod

from .errors import LayoutError

SPATIAL = "..."
_TOKEN = re.compile(r"\s*(\.\.\.[a-z]*|[A-Za-z_][A-Za-z0-9_]*|[1()+])")

Group = tuple[str, ...]
"""Axes flattened into one dimension in row-major order, the first one slowest; none at all is the singleton ``1``."""
Dimensions = tuple[Group, ...]
"""A tensor's (or a part's) dimensions in order."""


@dataclass(frozen=True)
class Axes:
    """Parsed text: the dimensions of each part, and the dimension along which the parts follow one another."""

    parts: tuple[Dimensions, ...]
    along: int = 0


@dataclass(frozen=True)
class Block:
    """A part of a C-contiguous tensor: the element it starts at, and (axis, size, stride in elements) of each axis.

    Where ``regroup`` is given, the block's elements, read row by row, are an array of those (axis, size) instead, and
    ``axes`` only says where the rows lie.
    """

    offset: int
    axes: tuple[tuple[str, int, int], ...]
    regroup: tuple[tuple[str, int], ...] = ()

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(size for _, size, _ in self.axes)

    @property
    def names(self) -> tuple[str, ...]:
        """The axes that its elements have, in order."""
        return tuple(name for name, *_ in (self.regroup or self.axes))


@cache
def parse_axes(text: str) -> Axes:
    """Parse one tensor's axes. Raises LayoutError naming the text and the place."""
    dimensions = list(_dimensions(text))
    choices = [index for index, parts in enumerate(dimensions) if len(parts) > 1]
    if len(choices) > 1:
        raise LayoutError(f"axes {text!r}: more than one concatenation")
    count = len(dimensions[choices[0]]) if choices else 1
    parts = tuple(tuple(groups[min(part, len(groups) - 1)] for groups in dimensions) for part in range(count))
    for part in parts:
        names = axis_names(part)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise LayoutError(f"axes {text!r}: {', '.join(twice)} stands twice")
    return Axes(parts, choices[0] if choices else 0)


def axis_names(dimensions: Dimensions) -> tuple[str, ...]:
    """Every axis that is named, in order."""
    return tuple(name for group in dimensions for name in group)


def spatial_count(dimensions: Dimensions, rank: int) -> int | None:
    """How many axes ``...`` stands for in a tensor of this rank (0 without ``...``); None where it cannot fit."""
    free = rank - len(dimensions)
    if any(is_spatial(group) for group in dimensions):
        return free + 1 if free >= -1 else None
    return None if free else 0


def is_spatial(group: Group) -> bool:
    """Whether a dimension stands for any number of axes."""
    return len(group) == 1 and group[0].startswith(SPATIAL) and not group[0][-1].isdigit()


def spatial_names(token: str, names: Iterable[str]) -> list[str]:
    """The numbered axes that a ``...`` has become, in order, among the names."""
    return sorted(name for name in names if name.startswith(token) and name[len(token) :].isdecimal())


def expand(dimensions: Dimensions, count: int) -> Dimensions:
    """Replace ``...`` by that many numbered axes: dimensions of their own, or inside a group where it stands in one."""
    expanded: list[Group] = []
    for group in dimensions:
        if is_spatial(group):
            expanded.extend((f"{group[0]}{index}",) for index in range(count))
        else:
            expanded.append(tuple(name for token in group for name in _numbered(token, count)))
    return tuple(expanded)


def _numbered(token: str, count: int) -> list[str]:
    return [f"{token}{index}" for index in range(count)] if is_spatial((token,)) else [token]


def expanded_index(dimensions: Dimensions, index: int, count: int) -> int:
    """Where a dimension stands once ``...`` is replaced by that many axes."""
    return index + (count - 1) * sum(is_spatial(group) for group in dimensions[:index])


def group_size(group: Group, sizes: Mapping[str, int]) -> int:
    """The length of a dimension for these sizes (a labelled axis counts its labels)."""
    return prod(sizes[name] for name in group)


def describe_group(group: Group, sizes: Mapping[str, int]) -> str:
    """A dimension in words, with the sizes that are known: ``4 gate x unit``."""
    return " x ".join(f"{sizes[name]} {name}" if name in sizes else name for name in group) or "1"


def locate(
    dimensions: Dimensions,
    sizes: Mapping[str, int],
    places: Mapping[str, int],
    strides: Sequence[int] | None = None,
    offset: int = 0,
) -> Block:
    """The block at these places of the labelled axes: an offset, and a stride for every other axis.

    ``strides`` are those of the dimensions in elements (None: the tensor is this part alone, C-contiguous);
    ``offset`` is where the part begins."""
    if strides is None:
        strides = contiguous_strides([group_size(group, sizes) for group in dimensions])
    axes = []
    for group, stride in zip(dimensions, strides, strict=True):
        step = stride * group_size(group, sizes)
        for name in group:
            step //= sizes[name] or 1
            if name in places:
                offset += places[name] * step
            else:
                axes.append((name, sizes[name], step))
    return Block(offset, tuple(axes))


def contiguous_strides(shape: Sequence[int]) -> list[int]:
    """The stride of each dimension of a C-contiguous tensor, in elements."""
    return [prod(shape[index + 1 :]) for index in range(len(shape))]


def _dimensions(text: str) -> Iterator[tuple[Group, ...]]:
    """Every dimension as its alternatives: one group, or the parts of a concatenation."""
    tokens = _tokens(text)
    position = 0
    while position < len(tokens):
        token = tokens[position]
        position += 1
        if token == "1":
            yield ((),)
        elif token == "(":
            parts, position = _bracket(text, tokens, position)
            yield parts
        elif token in {")", "+"}:
            raise LayoutError(f"axes {text!r}: unexpected {token!r}")
        else:
            yield ((token,),)


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    stripped = text.rstrip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None:
            raise LayoutError(f"axes {text!r}: cannot read {stripped[position:].strip()!r}")
        tokens.append(match[1])
        position = match.end()
    return tokens


def _bracket(text: str, tokens: list[str], position: int) -> tuple[tuple[Group, ...], int]:
    """What stands between brackets: groups, joined by ``+`` where there is more than one."""
    parts: list[list[str]] = [[]]
    while position < len(tokens) and tokens[position] != ")":
        token = tokens[position]
        position += 1
        if token == "+":
            parts.append([])
        elif token == "(":
            inner, position = _bracket(text, tokens, position)
            if len(inner) > 1:
                raise LayoutError(f"axes {text!r}: a concatenation must be a dimension of its own")
            parts[-1].extend(inner[0])
        elif token != "1":
            parts[-1].append(token)
    if position == len(tokens):
        raise LayoutError(f"axes {text!r}: a bracket is not closed")
    if not all(parts) and len(parts) > 1:
        raise LayoutError(f"axes {text!r}: nothing stands on one side of '+'")
    return tuple(tuple(part) for part in parts), position + 1

"""The axes notation: text such as ``"direction (side gate unit)"`` as a value, and where each block lies in memory.

The notation is einops' own: names, ``( )`` for a group flattened in row-major order, ``1`` for a singleton, ``...``
for any number of axes (``...state`` for any number of others), ``1...`` for as many singletons; and ``(a + b)`` for
parts that follow one another along one dimension. ``-`` before an axis says that it is stored from its end to its
start. An axis that stands in dimensions that follow one another is spread over them, the first one slowest: ``in unit
unit`` is an ``in unit`` whose second dimension is written as two.
Syntax and arithmetic only: this module knows no kinds, no frameworks and no arrays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from math import prod

from .errors import LayoutError

SPATIAL = "..."
SHARE = "/"  # unit/0 and unit/1 are what two dimensions have of the axis unit
REVERSED = "-"
ONES = "1..."
_TOKEN = re.compile(r"\s*(1\.\.\.|-?\.\.\.[a-z]*|-?[A-Za-z_][A-Za-z0-9_]*|[1()+])")

Group = tuple[str, ...]
"""Axes flattened into one dimension in row-major order, the first one slowest; none at all is the singleton ``1``."""
Dimensions = tuple[Group, ...]
"""A tensor's (or a part's) dimensions in order."""


@dataclass(frozen=True)
class Axes:
    """Parsed text: the dimensions of each part, the dimension along which the parts follow one another, and the axes
    that are stored from their end to their start."""

    parts: tuple[Dimensions, ...]
    along: int = 0
    turned: tuple[str, ...] = ()


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
    if count == 1:
        parts = (_spread(parts[0]),)
    for part in parts:
        twice = _stand_twice(axis_names(part))
        if twice:
            raise LayoutError(f"axes {text!r}: {', '.join(twice)} stands twice")
    if sum(map(_stands_for_many, parts[0])) > 1:
        raise LayoutError(f"axes {text!r}: more than one dimension stands for any number of axes")
    turned = tuple(token.removeprefix(REVERSED) for token in _tokens(text) if token.startswith(REVERSED))
    return Axes(parts, choices[0] if choices else 0, turned)


def _spread(dimensions: Dimensions) -> Dimensions:
    """Tell the shares of an axis apart that ends one dimension and begins the next."""
    spread = list(dimensions)
    for index in range(len(spread) - 1):
        one, other = spread[index], spread[index + 1]
        if one and other and whole_axis(one[-1]) == other[0] and not is_spatial(other[:1]):
            axis, share = other[0], int(one[-1].partition(SHARE)[2] or 0)
            spread[index] = (*one[:-1], f"{axis}{SHARE}{share}")
            spread[index + 1] = (f"{axis}{SHARE}{share + 1}", *other[1:])
    return tuple(spread)


def _stand_twice(names: Sequence[str]) -> list[str]:
    """The axes that are named twice and are not spread over dimensions that follow one another."""
    runs = [axis for axis, _ in groupby(names, key=whole_axis)]
    spread = {whole_axis(name) for name in names if SHARE in name}
    again = [name for name in names if names.count(name) > 1 or name in spread]
    return sorted({*(axis for axis in runs if runs.count(axis) > 1), *map(whole_axis, again)})


def whole_axis(name: str) -> str:
    """The axis that a name is, or has a share of."""
    return name.partition(SHARE)[0]


def shares_of(axis: str, names: Iterable[str]) -> list[str]:
    """The shares of an axis among the names, the slowest first; none where it stands whole."""
    return sorted({name for name in names if name.startswith(f"{axis}{SHARE}")})


def axis_names(dimensions: Dimensions) -> tuple[str, ...]:
    """Every axis that is named, in order."""
    return tuple(name for group in dimensions for name in group if name != ONES)


def is_of_any_rank(dimensions: Dimensions) -> bool:
    """Whether a tensor with these dimensions may have more of them in one layer than in another."""
    return any(_stands_for_many(group) for group in dimensions)


def _stands_for_many(group: Group) -> bool:
    return group == (ONES,) or is_spatial(group)


def spatial_count(dimensions: Dimensions, rank: int) -> int | None:
    """How many axes ``...`` (or ``1...``) stands for in a tensor of this rank, 0 without; None where it cannot fit."""
    free = rank - len(dimensions)
    if is_of_any_rank(dimensions):
        return free + 1 if free >= -1 else None
    return None if free else 0


def is_spatial(group: Group) -> bool:
    """Whether a dimension stands for any number of axes."""
    return len(group) == 1 and group[0].startswith(SPATIAL) and not group[0][-1].isdigit()


def spatial_names(token: str, names: Iterable[str]) -> list[str]:
    """The numbered axes that a ``...`` has become, in order, among the names."""
    return sorted(name for name in names if name.startswith(token) and name[len(token) :].isdecimal())


def is_one_of(name: str, axes: Iterable[str]) -> bool:
    """Whether an axis is one of these, or one of the numbered axes that a ``...`` among them has become."""
    return name in axes or any(is_spatial((axis,)) and spatial_names(axis, [name]) for axis in axes)


def expand(dimensions: Dimensions, count: int) -> Dimensions:
    """Replace ``...`` by that many numbered axes: dimensions of their own, or inside a group where it stands in one."""
    expanded: list[Group] = []
    for group in dimensions:
        if group == (ONES,):
            expanded.extend([()] * count)
        elif is_spatial(group):
            expanded.extend((f"{group[0]}{index}",) for index in range(count))
        else:
            expanded.append(tuple(name for token in group for name in _numbered(token, count)))
    return tuple(expanded)


def _numbered(token: str, count: int) -> list[str]:
    return [f"{token}{index}" for index in range(count)] if is_spatial((token,)) else [token]


def expanded_index(dimensions: Dimensions, index: int, count: int) -> int:
    """Where a dimension stands once ``...`` is replaced by that many axes."""
    return index + (count - 1) * sum(_stands_for_many(group) for group in dimensions[:index])


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
    return Block(offset, tuple(_joined(axes)))


def _joined(axes: Iterable[tuple[str, int, int]]) -> Iterator[tuple[str, int, int]]:
    """The axes with the shares of each put together: they follow one another, and so has the last one their stride."""
    for axis, group in groupby(axes, key=lambda entry: whole_axis(entry[0])):
        shares = list(group)
        yield axis, prod(size for _, size, _ in shares), shares[-1][2]


def contiguous_strides(shape: Sequence[int]) -> list[int]:
    """The stride of each dimension of a C-contiguous tensor, in elements."""
    return [prod(shape[index + 1 :]) for index in range(len(shape))]


def _dimensions(text: str) -> Iterator[tuple[Group, ...]]:
    """Every dimension as its alternatives: one group, or the parts of a concatenation."""
    tokens = [token.removeprefix(REVERSED) for token in _tokens(text)]
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
        elif token == ONES:
            raise LayoutError(f"axes {text!r}: {ONES!r} must be a dimension of its own")
        elif token != "1":
            parts[-1].append(token)
    if position == len(tokens):
        raise LayoutError(f"axes {text!r}: a bracket is not closed")
    if not all(parts) and len(parts) > 1:
        raise LayoutError(f"axes {text!r}: nothing stands on one side of '+'")
    return tuple(tuple(part) for part in parts), position + 1

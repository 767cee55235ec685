"""Layers of one kind and one size: which is which, by their names, their numbers and their order.

Names come first: words that only one layer of either side has. What they leave open goes by order, where both sides
have one and neither names nor numbers speak against it. Anything else is left open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..checkpoint import Layer
from .names import Name, likeness, telling

MOST_STEMS = 128
"""With more different names than that, only equal words are looked for."""


@dataclass
class Assignment:
    """Partners, each with why they are, and what is left open, with the reason."""

    partners: list[tuple[Layer, Layer, str]] = field(default_factory=list)
    open_ours: list[Layer] = field(default_factory=list)
    open_theirs: list[Layer] = field(default_factory=list)
    why: str = ""


def assign(ours: Sequence[Layer], theirs: Sequence[Layer], *, in_order: bool) -> Assignment:
    """Find the partners among layers that could all go into one another."""
    found = Assignment()
    if len(ours) == len(theirs) == 1:
        found.partners.append((ours[0], theirs[0], "kind and shape"))
        return found
    left, right = _Stems.of(ours), _Stems.of(theirs)
    for a, b in _alike_stems(left, right):
        members = left.take(a), right.take(b)
        single = len(members[0]) == 1
        pairs = _in_sequence(*members, in_order=in_order)
        if pairs is None:
            found.open_ours += members[0]
            found.open_theirs += members[1]
            found.why = found.why or "their names differ in their numbers only, and these do not go with their order"
        else:
            found.partners += [
                (x, y, "kind, shape and words of the name" + ("" if single else ", in order")) for x, y in pairs
            ]
    _rest(found, left, right, in_order=in_order)
    return found


@dataclass
class _Stems:
    """Layers by the words of their names."""

    members: dict[tuple[str, ...], list[Layer]]
    order: dict[str, int]

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> _Stems:
        members: dict[tuple[str, ...], list[Layer]] = {}
        for layer in layers:
            members.setdefault(Name.of(layer.name).words, []).append(layer)
        return cls(members, {layer.name: index for index, layer in enumerate(layers)})

    def take(self, stem: tuple[str, ...]) -> list[Layer]:
        return self.members.pop(stem)

    def rest(self) -> list[Layer]:
        """What is left, in the file's order."""
        left = [layer for layers in self.members.values() for layer in layers]
        return sorted(left, key=lambda layer: self.order[layer.name])


def _alike_stems(left: _Stems, right: _Stems) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Stems that are more like one another than either is like any other, and have as many layers."""
    ours, theirs = list(left.members), list(right.members)
    if len(ours) == len(theirs) == 1:
        return []
    if max(len(ours), len(theirs)) > MOST_STEMS:
        return [(stem, stem) for stem in ours if len(left.members[stem]) == len(right.members.get(stem, ()))]
    scores = _scores(ours, theirs)
    found: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    open_ours, open_theirs = set(range(len(ours))), set(range(len(theirs)))
    while True:
        new = [
            (i, j)
            for i in sorted(open_ours)
            if (j := _best(scores[i], open_theirs)) is not None
            and _best([row[j] for row in scores], open_ours) == i
            and len(left.members[ours[i]]) == len(right.members[theirs[j]])
        ]
        if not new:
            return found
        found += [(ours[i], theirs[j]) for i, j in new]
        open_ours -= {i for i, _ in new}
        open_theirs -= {j for _, j in new}


def _scores(ours: Sequence[tuple[str, ...]], theirs: Sequence[tuple[str, ...]]) -> list[list[float]]:
    one, other = telling(ours), telling(theirs)
    return [[likeness(a, b) for b in other] for a in one]


def _best(scores: Sequence[float], among: set[int]) -> int | None:
    """The one index among these with the highest score, None where there is none or where two share it."""
    highest = max((scores[index] for index in among), default=0.0)
    best = [index for index in among if scores[index] == highest]
    return best[0] if highest > 0 and len(best) == 1 else None


def _in_sequence(ours: Sequence[Layer], theirs: Sequence[Layer], *, in_order: bool) -> list[tuple[Layer, Layer]] | None:
    """Partners one after the other: by order or by number, and by neither where the two disagree."""
    by_order = list(zip(ours, theirs, strict=True))
    if len(by_order) == 1:
        return by_order
    one, other = _by_number(ours), _by_number(theirs)
    by_number = list(zip(one, other, strict=True)) if one and other else None
    if not in_order:
        return by_number
    return by_order if by_number is None or set(_names(by_number)) == set(_names(by_order)) else None


def _names(pairs: Sequence[tuple[Layer, Layer]]) -> list[tuple[str, str]]:
    return [(one.name, other.name) for one, other in pairs]


def _by_number(layers: Sequence[Layer]) -> list[Layer] | None:
    """The layers as their names count them, None where the names do not."""
    names = {layer.name: Name.of(layer.name) for layer in layers}
    numbers = {name.numbers for name in names.values()}
    if len({name.words for name in names.values()}) != 1 or len(numbers) != len(layers):
        return None
    return sorted(layers, key=lambda layer: names[layer.name].numbers)


def _rest(found: Assignment, left: _Stems, right: _Stems, *, in_order: bool) -> None:
    """What names leave open goes by order, if as much is open on either side and no name speaks against it."""
    ours, theirs = left.rest(), right.rest()
    if not ours or not theirs:
        return
    if len(ours) != len(theirs):
        why = f"there are {len(ours)} of them and {len(theirs)} of the others"
    elif names_contradict(ours, theirs):
        why = "their names point another way than their order"
    else:
        pairs = _in_sequence(ours, theirs, in_order=in_order)
        if pairs is not None:
            how = "kind and order" if in_order else "kind and number"
            found.partners += [(one, other, how if len(pairs) > 1 else "kind and shape") for one, other in pairs]
            return
        why = "their numbers do not go with their order" if in_order else "one of the files has no order"
    found.open_ours += ours
    found.open_theirs += theirs
    found.why = found.why or why


def names_contradict(ours: Sequence[Layer], theirs: Sequence[Layer]) -> bool:
    """Whether a layer's name is more like another's than its partner's by order. Names all alike say nothing."""
    one, other = ([Name.of(layer.name).words for layer in layers] for layers in (ours, theirs))
    stems = list(dict.fromkeys(one)), list(dict.fromkeys(other))
    if max(map(len, stems)) > MOST_STEMS:
        return False
    scores = _scores(*stems)
    rows, columns = ({stem: index for index, stem in enumerate(side)} for side in stems)
    return any(
        max(scores[rows[a]]) > scores[rows[a]][columns[b]]
        or max(row[columns[b]] for row in scores) > scores[rows[a]][columns[b]]
        for a, b in set(zip(one, other, strict=True))
    )

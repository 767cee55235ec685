"""Mistakes between parameters of one shape: two of them exchanged, or one in the place of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations

from ..checkpoint import Array
from .case import Case, Slot, Slots
from .hypothesis import Hypothesis, Made


def hypotheses(case: Case) -> Iterator[Hypothesis]:
    """Every two parameters exchanged, then every parameter in the place of another."""
    pairs = [(one, other) for one, other in permutations(case.roles, 2) if _alike(case, one, other)]
    for one, other in pairs:
        if case.roles.index(one) < case.roles.index(other):
            yield Hypothesis(f"equal if {one} and {other} are exchanged", _from({one: other, other: one}))
    for one, other in pairs:
        yield Hypothesis(f"B has A's {other} in the place of its {one}", _from({one: other}))


def _alike(case: Case, one: str, other: str) -> bool:
    """Whether the two have the same labelled axes and, but for axes of one element, the same sizes: one fits where the
    other is."""
    labelled = [case.kind.labelled_axes(role) for role in (one, other)]
    shapes = [
        [tuple(size for size in array.shape if size > 1) for slot, array in case.a.items() if slot.role == role]
        for role in (one, other)
    ]
    return labelled[0] == labelled[1] and shapes[0] == shapes[1]


def _from(homes: Mapping[str, str]) -> Made:
    def made(slots: Slots, slot: Slot) -> Array | None:
        other = slots.get(slot._replace(role=homes[slot.role])) if slot.role in homes else None
        return other.reshape(slots[slot].shape) if other is not None else None

    return made

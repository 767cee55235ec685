"""Mistakes between parameters: two of them exchanged, three in a circle, or one in the place of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from ..checkpoint import Array
from .case import Case, Slot, Slots
from .hypothesis import Hypothesis
from .words import listed, paired


def hypotheses(case: Case) -> Iterator[Hypothesis]:
    """What each parameter that differs holds instead, where it holds another one."""
    homes = {role: home for role in case.roles if (home := _home(case, role))}
    if homes:
        yield Hypothesis(_told(homes), partial(_from, homes))


def _home(case: Case, role: str) -> str:
    """The parameter of A that B has in the place of this one, wherever this one differs; empty where there is none."""
    slots = [slot for slot in case.open if slot.role == role]
    others = [other for other in case.roles if other != role] if slots else []
    return next((other for other in others if all(_holds(case, slot, other) for slot in slots)), "")


def _holds(case: Case, slot: Slot, other: str) -> bool:
    made = _from({slot.role: other}, case.a, slot)
    return made is not None and case.has_values(slot) and case.agrees(slot, made)


def _from(homes: Mapping[str, str], slots: Slots, slot: Slot) -> Array | None:
    """The other parameter's array in this one's shape, where axes of one element are all that they differ in."""
    other = slots.get(slot._replace(role=homes[slot.role])) if slot.role in homes else None
    shapes = [tuple(size for size in array.shape if size > 1) for array in (slots[slot], other) if array is not None]
    return other.reshape(slots[slot].shape) if other is not None and shapes[0] == shapes[1] else None


def _told(homes: Mapping[str, str]) -> str:
    """Parameters that are exchanged, those in a circle, and those that stand in another's place beside their own."""
    order = list(homes)
    mutual = [(role, home) for role, home in homes.items() if homes.get(home) == role]
    exchanged = [(role, home) for role, home in mutual if order.index(role) < order.index(home)]
    circling = [role for role, home in homes.items() if homes.get(home) != role and role in homes.values()]
    copied = [role for role in homes if role not in homes.values()]
    parts = [f"equal if {paired(exchanged)} are exchanged"] if exchanged else []
    if circling:
        parts.append(f"equal if {listed(circling)} of B are read as {listed([homes[role] for role in circling])}")
    parts += [f"B has A's {homes[role]} in the place of its {role}" for role in copied]
    return "; ".join(parts)

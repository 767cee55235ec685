"""Mistakes in values: a sign turned, a run-time constant missing, a factor, a lost precision, nothing loaded at all."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from ..checkpoint import Array
from ..families import VARYING
from ..layouts import all_layouts
from .case import Case, Slot, Slots
from .hypothesis import Hypothesis, Made
from .words import listed

_NARROW = ("float16", "bfloat16")
_GLANCE = 8
"""Values along each axis that are looked at first."""
_FRAMEWORKS = 3
"""Frameworks that are named as an example."""
_LEAST = 3
"""Values from which on one factor for all of them is no chance."""


def hypotheses(case: Case) -> Iterator[Hypothesis]:
    """One side of one value throughout, signs, the constants that frameworks add, narrower dtypes, factors."""
    yield from _untrained(case)
    yield Hypothesis("equal if every sign is turned", lambda slots, slot: -slots[slot])
    yield from _signs(case)
    yield from _constants(case)
    yield from _rounded(case)
    yield from _scaled(case)


def _untrained(case: Case) -> Iterator[Hypothesis]:
    for side, slots, layers in (("A", case.a, case.pair.a), ("B", case.b, case.pair.b)):
        stored = {role for part in layers.parts for role in part.view.roles}
        constant = {slot for slot in case.open if slots[slot].size > 1 and np.ptp(slots[slot]) == 0}
        for value in dict.fromkeys(float(slots[slot].flat[0]) for slot in case.open if slot in constant):
            own = frozenset(slot for slot in constant if slots[slot].flat[0] == value)
            roles = [role for role in case.roles if role in {slot.role for slot in own}]
            is_are = "is" if len(roles) == 1 else "are"
            text = f"{side}'s {listed(roles)} {is_are} {value:g} everywhere, as if nothing had been trained or loaded"
            if not stored & set(roles):
                text = f"{side} has no {listed(roles)}"
            yield Hypothesis(text, partial(_held, case, own), moves=False)


def _held(case: Case, own: frozenset[Slot], slots: Slots, slot: Slot) -> Array | None:
    return case.b[slot] if slot in own else None


def _signs(case: Case) -> Iterator[Hypothesis]:
    """The sign of one label turned: a gate that one side writes the other way round."""
    for axis, labels in case.kind.labels.items():
        for label in labels if axis not in VARYING else ():
            yield Hypothesis(f"equal if the sign of {axis} {label} is turned", _at_label(case, axis, label, sign=-1))


def _at_label(case: Case, axis: str, label: str, *, sign: int = 1, add: float = 0.0, role: str = "") -> Made:
    """What stands at one label with another sign or a constant more; the constant enters a sum once."""

    def made(slots: Slots, slot: Slot) -> Array | None:
        axes, own = case.axes[slot], case.kind.labels_of(slot.role, axis) if axis in case.axes[slot] else ()
        if label not in own or (role and slot.role != role):
            return None
        changed = slots[slot].copy()
        place = np.moveaxis(changed, axes.index(axis), 0)[own.index(label)]
        place *= sign
        rest = [name for name in axes if name != axis]
        summed = case.kind.roles[slot.role].sums
        first = np.moveaxis(place, rest.index(summed), 0)[0] if summed in rest else place
        first += add
        return changed

    return made


def _constants(case: Case) -> Iterator[Hypothesis]:
    """The constants that some framework adds when it runs, once too often or once too seldom."""
    known: dict[tuple[str, str, float], list[str]] = {}
    for layout in all_layouts().values():
        for role, constants in layout.adds.items() if layout.kind.name == case.kind.name else ():
            for label, constant in constants.items():
                known.setdefault((role, label, constant), []).append(layout.framework)
    for (role, label, constant), frameworks in known.items():
        for more, less, sign in (("B", "A", 1), ("A", "B", -1)):
            made = _at_label(case, "gate", label, add=sign * constant, role=role)
            examples = listed(list(dict.fromkeys(frameworks))[:_FRAMEWORKS])
            text = (
                f"{role} of gate {label} is {constant:g} more in {more} than in {less}: a constant that is added when "
                f"the layer runs (as in {examples}) was stored in {more}, or left out of {less}"
            )
            yield Hypothesis(text, made, moves=False)


def _rounded(case: Case) -> Iterator[Hypothesis]:
    for name in _NARROW:
        yield Hypothesis(f"B is A rounded to {name}", partial(_rounded_a, case, name), moves=False)
        yield Hypothesis(f"A is B rounded to {name}", partial(_rounded_b, case, name), moves=False)


def _rounded_a(case: Case, name: str, slots: Slots, slot: Slot) -> Array | None:
    return _rounds(case, name, slots[slot], case.b[slot])


def _rounded_b(case: Case, name: str, slots: Slots, slot: Slot) -> Array | None:
    return case.b[slot] if _rounds(case, name, case.b[slot], slots[slot]) is not None else None


def _rounds(case: Case, name: str, full: Array, rounded: Array) -> Array | None:
    """``full`` in the narrower dtype where that is ``rounded``; a few values are looked at first."""
    glance = tuple(slice(_GLANCE) for _ in full.shape)
    if not case.near(_narrowed(full[glance], name), rounded[glance]):
        return None
    narrowed = _narrowed(full, name)
    return narrowed if case.near(narrowed, rounded) else None


def _narrowed(array: Array, name: str) -> Array:
    import ml_dtypes

    with np.errstate(over="ignore"):
        return np.asarray(array.astype(getattr(ml_dtypes, name, name)).astype(np.float64))


def _scaled(case: Case) -> Iterator[Hypothesis]:
    """B is A times a number, the same for all values of a slot."""
    factors = {slot: factor for slot in case.open if (factor := _factor(case.a[slot], case.b[slot])) is not None}
    for text in dict.fromkeys(f"{value:.6g}" for value in factors.values()):

        def made(slots: Slots, slot: Slot, text: str = text) -> Array | None:
            own = factors.get(slot)
            return slots[slot] * own if own is not None and f"{own:.6g}" == text else None

        yield Hypothesis(f"equal if A is multiplied by {text}", made, moves=False)


def _factor(a: Array, b: Array) -> float | None:
    """The ratio of the largest value, where there are enough values to make it more than chance."""
    if np.count_nonzero(a) < _LEAST or not np.all(np.isfinite(a)):
        return None
    place = int(np.argmax(np.abs(a)))
    ratio = float(b.flat[place] / a.flat[place])
    return ratio if np.isfinite(ratio) and ratio not in (0.0, 1.0) else None

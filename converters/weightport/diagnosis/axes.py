"""Mistakes along sized axes: not transposed, reversed, flattened in another order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, permutations

import numpy as np

from ..checkpoint import Array
from ..flattening import place_axis
from ..notation import SPATIAL
from .case import Case, Slot, Slots
from .hypothesis import Hypothesis, Made
from .words import axis_word, listed


def hypotheses(case: Case) -> Iterator[Hypothesis]:
    """Axes exchanged, axes flattened in the other order, axes reversed, feature maps flattened in the other order."""
    for names in dict.fromkeys(_sized(case, slot) for slot in case.a):
        yield from _transpositions(case, names)
    yield from _reshapings(case)
    yield from _reversals(case)
    yield from _rotations(case)
    yield from _flattenings(case)


def _transpositions(case: Case, names: tuple[str, ...]) -> Iterator[Hypothesis]:
    """Every exchange of axes of one length."""
    sizes = _sizes(case)
    roles = listed(list(dict.fromkeys(slot.role for slot in case.a if _sized(case, slot) == names)))
    for order in permutations(names):
        if order != names and [sizes[axis] for axis in order] == [sizes[axis] for axis in names]:
            yield Hypothesis(f"equal if {roles} {_turned(names, order)}", _transposed(case, names, order))


def _reshapings(case: Case) -> Iterator[Hypothesis]:
    """Every two neighbours of other lengths, flattened the other way round in one of the two."""
    sizes = _sizes(case)
    neighbours: dict[tuple[str, str], list[str]] = {}
    for slot in case.a:
        for pair in pairwise(axis for axis in _sized(case, slot) if sizes[axis] > 1):
            if sizes[pair[0]] != sizes[pair[1]] and slot.role not in neighbours.setdefault(pair, []):
                neighbours[pair].append(slot.role)
    for pair, roles in neighbours.items():
        one, other = map(axis_word, pair)
        text = f"equal if {one} and {other} of {listed(roles)} follow each other in the other order"
        yield from (Hypothesis(text, _reshaped(case, pair, in_b=in_b)) for in_b in (True, False))


def _reversals(case: Case) -> Iterator[Hypothesis]:
    """All axes of space reversed at once, and every axis alone."""
    sizes = {axis: size for axis, size in _sizes(case).items() if size > 1}
    spatial = [axis for axis in sizes if axis.startswith(SPATIAL)]
    if len(spatial) > 1:
        yield Hypothesis("equal if the kernel is flipped along every axis of space", _flipped(case, spatial))
    for axis, size in sizes.items():
        colours = " (RGB on one side, BGR on the other)" if axis == "in" and size == 3 else ""
        yield Hypothesis(f"equal if {axis_word(axis)} is reversed{colours}", _flipped(case, [axis]))


def _rotations(case: Case) -> Iterator[Hypothesis]:
    """An axis whose first part stands behind the rest, as after a concatenation in the other order."""
    slots = [slot for slot in case.open if case.may_be_moved(slot)]
    places = [(slot, axis) for slot in slots for axis in _sized(case, slot)]
    cuts = dict.fromkeys((name, cut) for slot, name in places for cut in _cuts(case, slot, name))
    for axis, cut in cuts:
        text = (
            f"equal if the first {cut} values along {axis_word(axis)} come last in B: two parts that are joined stand "
            "in the other order"
        )
        yield Hypothesis(text, _rolled(case, axis, cut))


def _cuts(case: Case, slot: Slot, axis: str) -> list[int]:
    """Where a first line along the axis can be cut so that its parts, exchanged, begin as B's does."""
    a, b = (np.moveaxis(slots[slot], case.axes[slot].index(axis), -1) for slots in (case.a, case.b))
    if a.shape != b.shape or not a.size:
        return []
    line, begin = a.reshape(-1, a.shape[-1])[0], b.reshape(-1, b.shape[-1])[0, 0]
    return [cut for cut in range(1, len(line)) if case.near(line[cut], begin)]


def _rolled(case: Case, axis: str, cut: int) -> Made:
    def made(slots: Slots, slot: Slot) -> Array | None:
        axes = case.axes[slot]
        return np.roll(slots[slot], -cut, axes.index(axis)) if axis in axes else None

    return made


def _flattenings(case: Case) -> Iterator[Hypothesis]:
    """Every way to split an axis in two, with the two parts the other way round on the other side."""
    for axis in _sizes(case):
        yield from _unturned(case, axis)
    for axis, size in _lengths(case):
        for outer in (number for number in range(2, size) if size % number == 0):
            split = (outer, size // outer)
            text = (
                f"equal if {axis_word(axis)} ({size} values) follows {split} in A and {split[::-1]} in B: a feature map"
                " was flattened channels last on one side, channels first on the other"
            )
            yield Hypothesis(text, _regrouped(case, axis, split))


def _unturned(case: Case, axis: str) -> Iterator[Hypothesis]:
    """The feature map that an axis is known to run over, in one order on both sides, where one has it in the other."""
    known = case.pair.a.parts[0].view.sizes[0]
    places, channels = known.get(place_axis(axis)), known.get(axis, 1)
    for split in ((channels, places), (places, channels)) if places else ():
        text = (
            f"equal if the flattened feature map of {places} places and {channels} channels that {axis} runs over was "
            "not turned from channels last to channels first"
        )
        yield Hypothesis(text, _regrouped(case, axis, split))


def _lengths(case: Case) -> list[tuple[str, int]]:
    """Every sized axis with its size; with each of its sizes, where stacked layers differ in it."""
    lengths = (length for slot, array in case.a.items() for length in zip(case.axes[slot], array.shape, strict=True))
    return list(dict.fromkeys((axis, size) for axis, size in lengths if not case.kind.is_labelled(axis)))


def _sizes(case: Case) -> dict[str, int]:
    """One size of every sized axis."""
    return dict(_lengths(case))


def _sized(case: Case, slot: Slot) -> tuple[str, ...]:
    return tuple(axis for axis in case.axes[slot] if not case.kind.is_labelled(axis))


def _turned(names: Sequence[str], order: Sequence[str]) -> str:
    moved = [axis_word(name) for name, other in zip(names, order, strict=True) if name != other]
    if len(moved) == 2:
        return f"is transposed ({moved[0]} and {moved[1]} are exchanged)"
    words = [", ".join(map(axis_word, axes)) for axes in (names, order)]
    return f"is transposed (axes {words[0]} of B are read as {words[1]})"


def _transposed(case: Case, names: tuple[str, ...], order: tuple[str, ...]) -> Made:
    """B holds along each axis what A has along the axis of ``order``; labelled axes stay where they are."""

    def made(slots: Slots, slot: Slot) -> Array | None:
        axes = case.axes[slot]
        if _sized(case, slot) != names:
            return None
        source = dict(zip(names, order, strict=True))
        return slots[slot].transpose([axes.index(source.get(axis, axis)) for axis in axes])

    return made


def _flipped(case: Case, names: Sequence[str]) -> Made:
    def made(slots: Slots, slot: Slot) -> Array | None:
        found = tuple(index for index, axis in enumerate(case.axes[slot]) if axis in names)
        return np.flip(slots[slot], found) if found else None

    return made


def _reshaped(case: Case, pair: tuple[str, str], *, in_b: bool) -> Made:
    """Two neighbouring axes (but for axes of one element between them) are flattened the other way round in B or A."""

    def made(slots: Slots, slot: Slot) -> Array | None:
        array = slots[slot]
        long = [axis for axis, size in zip(case.axes[slot], array.shape, strict=True) if size > 1]
        if pair not in pairwise(long):
            return None
        at, shape = long.index(pair[0]), [size for size in array.shape if size > 1]
        if in_b:
            return np.swapaxes(array.reshape(shape), at, at + 1).reshape(array.shape)
        shape[at : at + 2] = shape[at + 1], shape[at]
        return np.swapaxes(array.reshape(shape), at, at + 1).reshape(array.shape)

    return made


def _regrouped(case: Case, axis: str, split: tuple[int, int]) -> Made:
    def made(slots: Slots, slot: Slot) -> Array | None:
        axes, array = case.axes[slot], slots[slot]
        if axis not in axes or array.shape[axes.index(axis)] != split[0] * split[1]:
            return None
        at = axes.index(axis)
        parts = array.reshape(*array.shape[:at], *split, *array.shape[at + 1 :])
        return np.swapaxes(parts, at, at + 1).reshape(array.shape)

    return made

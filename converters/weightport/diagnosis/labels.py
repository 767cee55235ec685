"""Mistakes along labelled axes: gates in another order, halves of a bias or directions exchanged, gates interleaved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, permutations

import numpy as np

from ..checkpoint import Array
from ..families import VARYING
from ..frameworks import framework_names
from ..layouts import Layout, layouts_of
from .case import Case, Slot, Slots
from .hypothesis import Hypothesis
from .words import listed, paired

_MANY = 5
"""Labels of one axis whose every order is tried."""


def hypotheses(case: Case) -> Iterator[Hypothesis]:
    """Every order of the labels of every axis, stacked layers in another order, labels interleaved with what follows
    them."""
    for axis, labels in case.kind.labels.items():
        if axis not in VARYING:
            for order in _orders(labels):
                yield _reordered(case, axis, labels, order)
            yield from _interleaved(case, axis, labels)
    if any(slot.direction for slot in case.a):
        yield Hypothesis("equal if directions forward and backward are swapped", _other_direction)
    layers = sorted({slot.layer for slot in case.a})
    for one, other in combinations(layers, 2):
        yield _swapped_layers(one, other)


def _orders(labels: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every other order of the labels, swaps of two first; of many labels the swaps only."""
    every = permutations(labels) if len(labels) <= _MANY else ()
    swaps = [
        tuple({one: other, other: one}.get(label, label) for label in labels) for one, other in combinations(labels, 2)
    ]
    yield from dict.fromkeys([*swaps, *(order for order in every if order != tuple(labels))])


def _reordered(case: Case, axis: str, labels: Sequence[str], order: Sequence[str]) -> Hypothesis:
    """B holds, in the place of each label, what A has under the label of ``order``."""
    instead = dict(zip(labels, order, strict=True))

    def made(slots: Slots, slot: Slot) -> Array | None:
        axes = case.axes[slot]
        if axis not in axes:
            return None
        own = case.kind.labels_of(slot.role, axis)
        if not all(instead[label] in own for label in own):
            return None
        return np.take(slots[slot], [own.index(instead[label]) for label in own], axis=axes.index(axis))

    roles = listed([role for role in case.roles if axis in case.kind.roles[role].axes])
    of = f" of {roles}" if roles in case.roles else ""
    text = f"equal if {axis}s {_exchange(labels, order, of)}"
    hint = _hint(case, axis, instead)
    return Hypothesis(f"{text} ({hint})" if hint else text, made)


def _exchange(labels: Sequence[str], order: Sequence[str], of: str) -> str:
    """A permutation in words: pairs that are swapped, or what stands where."""
    moved = [(label, other) for label, other in zip(labels, order, strict=True) if label != other]
    pairs = [(one, other) for one, other in moved if (other, one) in moved and labels.index(one) < labels.index(other)]
    if 2 * len(pairs) == len(moved):
        return f"{paired(pairs)}{of} are swapped"
    places, contents = zip(*moved, strict=True)
    return f"{listed(places)}{of} in B are read as {listed(contents)}"


def _hint(case: Case, axis: str, instead: Mapping[str, str]) -> str:
    """Which framework has the labels in the order in which one side has them, where one of ours does."""
    back = {other: label for label, other in instead.items()}
    for side, read, partner in (("B", instead, "A"), ("A", back, "B")):
        found = tuple(read[label] for label in _order(_layout(case, side), axis))
        frameworks = dict.fromkeys([_layout(case, partner).framework, *framework_names()])
        for framework in frameworks if found else ():
            layout = layouts_of(framework).get(f"{framework}.{case.kind.name}")
            if layout and _order(layout, axis) == found:
                return f"{side}'s are in the order of {framework}"
    return ""


def _layout(case: Case, side: str) -> Layout:
    return (case.pair.a if side == "A" else case.pair.b).parts[0].view.layout


def _order(layout: Layout, axis: str) -> tuple[str, ...]:
    """The order of an axis that lives inside tensors; empty where it is spelled in names."""
    return tuple(layout.orders.get(axis, ()))


def _interleaved(case: Case, axis: str, labels: Sequence[str]) -> Iterator[Hypothesis]:
    """On one side the labels change fastest, where its layout has whole blocks of them."""
    for side in ("A", "B"):
        stored = _order(_layout(case, side), axis) or tuple(labels)

        def made(slots: Slots, slot: Slot, side: str = side, stored: Sequence[str] = stored) -> Array | None:
            axes = case.axes[slot]
            if axis not in axes[:-1]:
                return None
            own = case.kind.labels_of(slot.role, axis)
            order = [own.index(label) for label in stored if label in own]
            array = np.moveaxis(slots[slot], (axes.index(axis), axes.index(axis) + 1), (0, 1))[order]
            if side == "B":
                read = np.swapaxes(array, 0, 1).reshape(array.shape)
            else:
                read = np.swapaxes(array.reshape(array.shape[1], array.shape[0], *array.shape[2:]), 0, 1)
            return np.moveaxis(read[np.argsort(order)], (0, 1), (axes.index(axis), axes.index(axis) + 1))

        yield Hypothesis(
            f"equal if the {axis}s of {side} are interleaved, every {axis} of one unit after the other", made
        )


def _other_direction(slots: Slots, slot: Slot) -> Array | None:
    if not slot.direction:
        return None
    return next(
        (
            slots[other]
            for other in slots
            if other.direction != slot.direction and (other.layer, other.role) == (slot.layer, slot.role)
        ),
        None,
    )


def _swapped_layers(one: int, other: int) -> Hypothesis:
    exchange = {one: other, other: one}

    def made(slots: Slots, slot: Slot) -> Array | None:
        if slot.layer not in exchange:
            return None
        return slots.get(slot._replace(layer=exchange[slot.layer]))

    return Hypothesis(f"equal if stacked layers {one} and {other} are swapped", made)

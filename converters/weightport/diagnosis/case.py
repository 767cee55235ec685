"""A layer that differs, as the hypotheses look at it: both sides' parameters by slot, and what counts as agreement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np

from ..checkpoint import Array, Setting
from ..families import VARYING
from ..kinds import Kind, Role
from ..layer_comparison import EXACTLY, Tolerance, coarsest_precision, summing_settings
from ..layer_pairs import LayerPair, LayerSide
from ..logical import role_axes
from ..planner import Part


class Slot(NamedTuple):
    """One parameter of one direction of one stacked layer; ``direction`` is empty where the kind has none."""

    layer: int
    direction: str
    role: str


Slots: TypeAlias = Mapping[Slot, Array]
"""Arrays by slot; their axes are the role's own without layer and direction, labels in the kind's order."""

_ROUNDINGS = 4
"""Units in the last place by which two ways to compute one number may differ."""

_SUMMATION = 1e-9
"""What the sums of the same numbers in another order may differ by, relatively."""


@dataclass(frozen=True)
class Case:
    """A pair of layers with the parameters of both sides, in every slot that both can have.

    A parameter that one side lacks has the value that stands for its absence. ``axes`` are the axes of each slot's
    array. Not ``whole``: the tensors have more values than the pair's views."""

    pair: LayerPair
    a: Slots
    b: Slots
    axes: Mapping[Slot, tuple[str, ...]]
    settings: Mapping[str, Setting]
    tolerance: Tolerance
    whole: bool = True
    _known_sums: dict[tuple[bool, Slot], tuple[int, float, float]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, pair: LayerPair, tolerance: Tolerance = EXACTLY, *, whole: bool = True) -> Case:
        """Reads every tensor of both layers, whose sizes must agree."""
        a, b = slots_of(pair.kind, pair.a.weights()), slots_of(pair.kind, pair.b.weights())
        axes = {**_slot_axes(pair.a), **_slot_axes(pair.b)}
        filled_a, filled_b = dict(_filled(pair.kind, a, b)), dict(_filled(pair.kind, b, a))
        precision = coarsest_precision(pair)
        limit = Tolerance(tolerance.relative + _ROUNDINGS * precision.relative, tolerance.absolute + precision.absolute)
        return cls(pair, filled_a, filled_b, axes, summing_settings(pair), limit, whole)

    @property
    def kind(self) -> Kind:
        """The layers' kind."""
        return self.pair.kind

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """The parameters that both sides can have, in the kind's order."""
        present = {slot.role for slot in self.a}
        return tuple(role for role in self.kind.roles if role in present)

    @cached_property
    def open(self) -> tuple[Slot, ...]:
        """The slots in which the sides differ."""
        return tuple(slot for slot in self.a if not self.agrees(slot, self.a[slot]))

    def agrees(self, slot: Slot, candidate: Array) -> bool:
        """Whether ``candidate`` is what B has in a slot, as far as the mathematics can tell."""
        goal = self.b[slot]
        if candidate.shape != goal.shape:
            return False
        role, axes = self.kind.roles[slot.role], self.axes[slot]
        if not self._sums_sides(slot):
            rows = range(len(goal)) if goal.ndim > 1 else ()
            return all(self.near(candidate[row], goal[row]) for row in rows) if rows else self.near(candidate, goal)
        sums = [summed(self.kind, role, axes, self.settings, array) for array in (candidate, goal)]
        sizes = [summed(self.kind, role, axes, self.settings, np.abs(array)) for array in (candidate, goal)]
        return self.near(*sums, *sizes)

    def has_values(self, slot: Slot) -> bool:
        """Whether B has in a slot the values of one of A's slots, in whatever order and with whatever signs.

        Told by their sums: two sets of values with the same sums of magnitudes and of squares may be taken for one."""
        goal = self._sums(self.b, slot)
        return any(self._alike(self._sums(self.a, other), goal) for other in self.a)

    def may_be_moved(self, slot: Slot) -> bool:
        """Whether moving A's values can give B's: always, where what is moved is summed afterwards."""
        return self._sums_sides(slot) or self.has_values(slot)

    def _sums_sides(self, slot: Slot) -> bool:
        sums = self.kind.roles[slot.role].sums
        return sums is not None and sums in self.axes[slot]

    def _sums(self, slots: Slots, slot: Slot) -> tuple[int, float, float]:
        """The number of values, and the sums of their magnitudes and squares."""
        key = (slots is self.b, slot)
        if key not in self._known_sums:
            array = slots[slot]
            if self._sums_sides(slot):
                array = summed(self.kind, self.kind.roles[slot.role], self.axes[slot], self.settings, array)
            flat = np.nan_to_num(array.reshape(-1))
            self._known_sums[key] = array.size, float(np.abs(flat).sum()), float(flat @ flat)
        return self._known_sums[key]

    def _alike(self, one: tuple[int, float, float], other: tuple[int, float, float]) -> bool:
        relative = 2 * self.tolerance.relative + _SUMMATION
        return one[0] == other[0] and all(
            abs(x - y) <= relative * max(x, y) + self.tolerance.absolute * one[0]
            for x, y in zip(one[1:], other[1:], strict=True)
        )

    def near(self, one: Array, other: Array, *sizes: Array) -> bool:
        """Whether all values are the same, as far as the dtypes can tell. Rounding is relative to ``sizes``."""
        size = np.maximum(*(sizes or (np.abs(one), np.abs(other))))
        with np.errstate(invalid="ignore"):
            near = np.abs(one - other) <= self.tolerance.absolute + self.tolerance.relative * size
        return bool(np.all(near | (one == other) | (np.isnan(one) & np.isnan(other))))


def slots_of(kind: Kind, layers: Sequence[Mapping[str, Array]]) -> dict[Slot, Array]:
    """Each role's array of each stacked layer, every direction apart. Bookkeeping is left out."""
    return {
        slot: array
        for index, layer in enumerate(layers)
        for role, whole in layer.items()
        if not kind.roles[role].incidental
        for slot, array in _directions(kind, role, index, whole)
    }


def summed(kind: Kind, role: Role, axes: Sequence[str], settings: Mapping[str, Setting], array: Array) -> Array:
    """An array in which the places that enter the mathematics as one sum are that sum, and zeros.

    What the kind keeps apart under these settings stays as it is."""
    side = axes.index(str(role.sums))
    total = np.zeros_like(array)
    np.moveaxis(total, side, 0)[0] = array.sum(axis=side)
    apart = role.apart
    if apart and all(settings.get(name, value) == value for name, value in apart.when.items()):
        labels = [index for index, label in enumerate(kind.labels_of(role.name, apart.axis)) if label in apart.labels]
        kept = (slice(None),) * axes.index(apart.axis) + (labels,)
        total[kept] = array[kept]
    return total


def _directions(kind: Kind, role: str, layer: int, whole: Array) -> Iterator[tuple[Slot, Array]]:
    axes = [axis for axis in kind.labelled_axes(role) if axis != "layer"]
    if "direction" not in axes:
        yield Slot(layer, "", role), whole
        return
    for index, array in enumerate(np.moveaxis(whole, axes.index("direction"), 0)):
        yield Slot(layer, kind.labels["direction"][index], role), array


def _filled(kind: Kind, own: Slots, other: Slots) -> Iterator[tuple[Slot, Array]]:
    """The slots of one side, and those that only the other has where a value stands for absence."""
    for slot in dict.fromkeys([*own, *other]):
        absent = kind.roles[slot.role].absent
        if slot in own and (slot in other or absent is not None):
            yield slot, own[slot]
        elif slot not in own and absent is not None:
            yield slot, np.full_like(other[slot], absent)


def _slot_axes(side: LayerSide) -> dict[Slot, tuple[str, ...]]:
    return {
        slot: tuple(
            axis for axis in role_axes(part.view, slot.role, slot.layer - part.first_layer) if axis not in VARYING
        )
        for part in side.parts
        for slot in _part_slots(part)
    }


def _part_slots(part: Part) -> Iterator[Slot]:
    kind = part.view.layout.kind
    for block in part.blocks():
        place = dict(zip(kind.labelled_axes(block.role), block.covers[0], strict=True))
        yield Slot(int(place.get("layer", 0)), str(place.get("direction", "")), block.role)

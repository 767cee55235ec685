"""Mistakes of whole tensors: copied as they lay in the file, or reshaped where they had to be transposed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from math import prod

import numpy as np

from ..checkpoint import Array
from ..engine import Read, execute, settle
from ..errors import RefusedError
from ..logical import logical_arrays
from ..plan import Plan
from ..planner import Part, plan_layer
from .case import Case, Slot, Slots, slots_of
from .hypothesis import Hypothesis


def hypotheses(case: Case) -> Iterator[Hypothesis]:
    """B's tensors hold the elements of A's, or of the right ones, in another order."""
    if not case.whole or not any(case.has_values(slot) for slot in case.open):
        return
    ours, theirs = (side.parts[0].view.layout.framework for side in (case.pair.a, case.pair.b))
    right, stored = _right(case), _stored(case)
    for tensors, turned, text in (
        (right, True, "were reshaped, or left as they were, where they have to be transposed"),
        (stored, False, f"were copied as they are stored in {ours}, where {theirs} stores them in another order"),
        (stored, True, f"were transposed from how they are stored in {ours}, where {theirs} needs another order"),
    ):
        yield Hypothesis(f"B's tensors {text}", partial(_of, _held(case, tensors, turned=turned)))


def _of(held: Slots, slots: Slots, slot: Slot) -> Array | None:
    return held.get(slot)


def _held(case: Case, tensors: Mapping[str, Array], *, turned: bool) -> Slots:
    """What B would have if its tensors had these elements, row by row; of a tensor that is not given, NaN."""
    found: dict[Slot, Array] = {}
    for part in case.pair.b.parts:
        arrays: dict[str, Array] = {}
        for local, shape in part.view.shapes.items():
            array = tensors.get(part.names[local])
            fits = array is not None and array.size == prod(shape)
            arrays[local] = (array.T if turned else array).reshape(shape) if fits else np.full(shape, np.nan)  # type: ignore[union-attr]
        for slot, values in slots_of(case.kind, logical_arrays(part.view, arrays.__getitem__)).items():
            found[slot._replace(layer=slot.layer + part.first_layer)] = values
    return found


def _right(case: Case) -> dict[str, Array]:
    """B's tensors as a conversion of A makes them; none where there is no such conversion."""
    a, b, read = case.pair.a, case.pair.b, case.pair.a.reader()
    try:
        layer = plan_layer(a.parts, b.parts, case.settings, lambda name: a.checkpoint.tensors[name].dtype)
        plan = settle(Plan((layer,)), read)
    except RefusedError:
        return {}
    made = {tensor.name: np.empty(tensor.shape, tensor.dtype) for tensor in plan.tensors}
    for tensor in plan.tensors:
        execute(tensor, read, made[tensor.name])
    return made


def _stored(case: Case) -> dict[str, Array]:
    """A's tensors as they are, under the names of those of B that hold the same."""
    read: Read = case.pair.a.reader()
    homes = {_what(part, local): name for part in case.pair.a.parts for local, name in part.names.items()}
    return {
        name: read(homes[what])
        for part in case.pair.b.parts
        for local, name in part.names.items()
        if (what := _what(part, local)) in homes
    }


def _what(part: Part, local: str) -> object:
    """What a tensor holds: roles, and the stacked layers and directions of them."""
    kind = part.view.layout.kind
    places: set[tuple[str, object, object]] = set()
    for block in part.blocks():
        if block.tensor == part.names[local]:
            place: Mapping[str, object] = dict(zip(kind.labelled_axes(block.role), block.covers[0], strict=True))
            places.add((block.role, place.get("layer", 0), place.get("direction", "")))
    return frozenset(places)

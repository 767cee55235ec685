"""Layers exchanged with each other: what belongs into one layer was loaded into another of the same shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..blocks import StoredBlock
from ..checkpoint import Array
from ..differences import SAME
from ..engine import strided
from ..kinds import Kind
from ..layer_comparison import EXACTLY, Tolerance, compare_roles, sizes_that_differ
from ..layer_pairs import LayerPair, LayerSide

_LOOKED_AT = 4
"""Values along each axis of a layer that are compared with those of every other one before the whole layers are."""


def exchanged_layers(
    pairs: Sequence[LayerPair], differing: Sequence[int], tolerance: Tolerance = EXACTLY
) -> dict[int, str]:
    """A sentence for each of the pairs that differ, by its index, whose B is the same as the A of another pair.

    A few values of each layer are read to find candidates."""
    homes = dict(_homes(pairs, differing, tolerance))
    sentences = {}
    for index, home in homes.items():
        here, there = pairs[index], pairs[home]
        if homes.get(home) == index:
            sentences[index] = f"equal if the layers {here.b.name} and {there.b.name} of B are exchanged"
        else:
            sentences[index] = f"{here.b.name} of B holds {there.a.name} of A, which belongs into {there.b.name}"
    return sentences


def _homes(pairs: Sequence[LayerPair], differing: Sequence[int], tolerance: Tolerance) -> Iterator[tuple[int, int]]:
    """For each pair that differs the first other one whose A is its B."""
    glimpses = [_glimpse(pair.a) for pair in pairs] if differing else []
    for index in differing:
        here = pairs[index]
        seen = _glimpse(here.b)
        for other, there in enumerate(pairs):
            alike = other != index and there.kind is here.kind and _alike(glimpses[other], seen)
            if alike and _same(replace(here, a=there.a), tolerance):
                yield index, other
                break


def _alike(one: Array, other: Array) -> bool:
    """Whether two glimpses can be of the same layer."""
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-2, atol=1e-6, equal_nan=True))


def _same(pair: LayerPair, tolerance: Tolerance) -> bool:
    """Whether both sides of a pair have the same weights. Reads them."""
    return not sizes_that_differ(pair) and all(role.verdict == SAME for role in compare_roles(pair, tolerance))


def _glimpse(side: LayerSide) -> Array:
    """The first values of the first parameter that is no sum, at its first place; none where every one is."""
    blocks = [block for block in side.parts[0].blocks() if block.tensor and side.kind.roles[block.role].sums is None]
    if not blocks:
        return np.zeros(0)
    block = min(blocks, key=lambda block: _rank(side.kind, block))
    stored = side.checkpoint.tensors[block.tensor].read()
    rows = strided(np.ascontiguousarray(stored), block.block, sorted(block.block.names))
    return np.asarray(rows[tuple(slice(_LOOKED_AT) for _ in rows.shape)].astype(np.float64) * block.sign + block.adds)


def _rank(kind: Kind, block: StoredBlock) -> tuple[int, ...]:
    """Where a block stands among its kind's places."""
    labels = zip(kind.labelled_axes(block.role), block.covers[0], strict=True)
    places = [int(label) if axis in kind.counted else kind.labels[axis].index(str(label)) for axis, label in labels]
    return (list(kind.roles).index(block.role), *places)

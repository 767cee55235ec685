"""Heat maps of a recurrent layer: where its gates' weights and its outputs differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..checkpoint import Array
from ..layer_pairs import LayerPair
from .result import HeatMap
from .side_by_side import PairRun

COLUMNS = 48
"""Units beyond that are put together, each column showing the largest."""
STEPS = 24


def heat_maps(pair: LayerPair, found: PairRun | None, *, weights_differ: bool) -> tuple[HeatMap, ...]:
    """Gate by unit of each parameter that has gates, where weights differ; step by unit of the outputs."""
    if "layer" not in pair.kind.counted:
        return ()
    maps = list(_weights(pair)) if weights_differ else []
    if found is not None and found.same_form and found.outputs[0].ndim == 3:
        apart = _apart(*found.outputs).max(axis=0)
        maps.append(_map("outputs, step by unit", *_by_steps(apart)))
    return tuple(maps)


def _weights(pair: LayerPair) -> Iterator[HeatMap]:
    """One map for each parameter with gates, of each stacked layer."""
    gates = pair.kind.labels.get("gate", ())
    for layer, (ours, theirs) in enumerate(zip(pair.a.weights(), pair.b.weights(), strict=False)):
        for role, one in ours.items():
            axes = [axis for axis in pair.kind.roles[role].axes if axis != "layer"]
            other = theirs.get(role, np.zeros_like(one))
            if "gate" in axes and "unit" in axes and one.shape == other.shape:
                what = f"{role}, gate by unit" + (f", layer {layer}" if layer else "")
                yield _map(what, list(gates), _by_gate_and_unit(one - other, axes))


def _by_gate_and_unit(difference: Array, axes: Sequence[str]) -> Array:
    """The largest |difference| of each gate and unit; of biases, that of the sum of both sides."""
    if "side" in axes:
        difference = difference.sum(axis=axes.index("side"))
        axes = [axis for axis in axes if axis != "side"]
    others = tuple(index for index, axis in enumerate(axes) if axis not in ("gate", "unit"))
    return np.asarray(np.abs(difference).max(axis=others))


def _by_steps(values: Array) -> tuple[list[str], Array]:
    """The rows' names and the rows: one for each step, or for several where there are many."""
    steps = np.array_split(np.arange(len(values)), min(len(values), STEPS))
    names = [f"step {part[0]}" + (f" to {part[-1]}" if len(part) > 1 else "") for part in steps]
    return names, np.stack([values[part].max(axis=0) for part in steps])


def _map(what: str, rows: list[str], values: Array) -> HeatMap:
    pooled = _pooled(values)
    columns = f"{values.shape[1]} units" + ("" if pooled is values else f" in {pooled.shape[1]} columns")
    return HeatMap(what, tuple(rows), columns, tuple(tuple(float(v) for v in row) for row in pooled))


def _pooled(values: Array) -> Array:
    if values.shape[1] <= COLUMNS:
        return values
    return np.stack([part.max(axis=1) for part in np.array_split(values, COLUMNS, axis=1)], axis=1)


def _apart(one: Array, other: Array) -> Array:
    return np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64))

"""Layers side by side: what each pair of layers took in and gave out in two runs, brought into one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .._reference_activations import activation
from ..checkpoint import Array, Layer
from ..errors import UsageError
from ..match import Pair
from .orders import ORDERS
from .runners import LayerRun, Run


@dataclass(frozen=True)
class PairRun:
    """One pair of layers in one case: what both took in and gave out, in the first side's form."""

    pair: Pair
    inputs: tuple[Array, Array]
    outputs: tuple[Array, Array]

    @property
    def takes_the_same(self) -> bool:
        """Whether both layers took in arrays of one shape, with the same numbers but for a thousandth."""
        one, other = self.inputs
        return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-3, atol=1e-3 * _size(one)))


def pair_runs(pairs: Sequence[Pair], ours: Run, theirs: Run) -> dict[str, PairRun]:
    """Every pair whose layers both ran and whose results can be held against each other, by the target's name."""
    found = {}
    for pair in pairs:
        one, other = _chain(pair.sources, ours.layers), _chain(pair.targets, theirs.layers)
        if one is None or other is None:
            continue
        outputs = _same_form(one, other, pair)
        if outputs is not None:
            inputs = (one.inputs, _turned(one.inputs, other.inputs))
            found[pair.targets[0].name] = PairRun(pair, inputs, outputs)
    return found


def _chain(layers: Sequence[Layer], runs: Mapping[str, LayerRun]) -> LayerRun | None:
    """A stack of layers as one: what its first takes in and its last gives out."""
    if layers[0].name not in runs or layers[-1].name not in runs:
        return None
    first, last = runs[layers[0].name], runs[layers[-1].name]
    return LayerRun(first.inputs, last.outputs, last.activation)


def _same_form(one: LayerRun, other: LayerRun, pair: Pair) -> tuple[Array, Array] | None:
    """Both outputs after the same activation, of the same steps and in the same order of axes; None where none fits."""
    settings = [layers[-1].settings for layers in (pair.sources, pair.targets)]
    outputs = _same_activation(one, other)
    if outputs is None:
        return None
    ours, theirs = outputs
    directions = [setting.get("direction", "forward") for setting in settings]
    if ours.ndim + 1 == theirs.ndim and pair.kind in ("lstm", "gru", "rnn"):
        theirs = _last_step(theirs, ours.shape[-1], both_ways="bidirectional" in directions)
    elif theirs.ndim + 1 == ours.ndim and pair.kind in ("lstm", "gru", "rnn"):
        ours = _last_step(ours, theirs.shape[-1], both_ways="bidirectional" in directions)
    theirs = _turned(ours, theirs)
    return (ours, theirs) if ours.shape == theirs.shape else None


def _same_activation(one: LayerRun, other: LayerRun) -> tuple[Array, Array] | None:
    """Where one side's layer has an activation of its own and the other's has not, it is applied to the other's."""
    if one.activation == other.activation:
        return one.outputs, other.outputs
    try:
        if other.activation == "linear":
            return one.outputs, activation(one.activation)(other.outputs)
        if one.activation == "linear":
            return activation(other.activation)(one.outputs), other.outputs
    except UsageError:
        return None
    return one.outputs, other.outputs


def _last_step(sequence: Array, width: int, *, both_ways: bool) -> Array:
    """The last step processed: of the backward half, that is the first of the sequence."""
    if not both_ways or sequence.shape[-1] != width:
        return np.asarray(sequence[:, -1])
    half = width // 2
    return np.concatenate([sequence[:, -1, :half], sequence[:, 0, half:]], axis=-1)


def _turned(ours: Array, theirs: Array) -> Array:
    """The other side's array in our order of axes, where one of the orders gives it our shape."""
    orders = [order for order in ORDERS if theirs.ndim >= order.least]
    return next((t for order in orders if (t := order.turn(theirs)).shape == ours.shape), theirs)


def _size(array: Array) -> float:
    return float(np.abs(array).max()) if array.size and array.dtype.kind != "b" else 0.0

"""Layers side by side: what each pair of layers took in and gave out in two runs, brought into one form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .._reference_activations import activation
from ..checkpoint import Array, FeatureMap, Layer
from ..errors import UsageError
from ..layer_pairs import LayerPair
from .orders import ORDERS
from .runners import LayerRun, Run

_RECURRENT = frozenset({"lstm", "gru", "rnn", "mgu"})
_MERGES: Mapping[str, Callable[[Array, Array], Array]] = {
    "sum": np.add,
    "mul": np.multiply,
    "ave": lambda one, other: (one + other) / 2,
}


@dataclass(frozen=True)
class PairRun:
    """One pair of layers in one case: what both took in and gave out, in the first side's form where one fits."""

    pair: LayerPair
    inputs: tuple[Array, Array]
    outputs: tuple[Array, Array]

    @property
    def same_form(self) -> bool:
        """Whether the outputs are of one shape."""
        return self.outputs[0].shape == self.outputs[1].shape

    def takes_the_same(self, limit: float) -> bool:
        """Whether both layers took in the same but for ``limit``."""
        one, other = self.inputs
        return near(one, other, limit)

    @property
    def takes_alike(self) -> bool:
        """Whether both layers took in nearly the same, to find out the order of axes before anything was measured."""
        one, other = self.inputs
        return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-3, atol=1e-3 * _size(one)))


def pair_runs(pairs: Sequence[LayerPair], ours: Run, theirs: Run) -> dict[str, PairRun]:
    """Every pair whose layers both ran, by the name of its second side."""
    found = {}
    for pair in pairs:
        one, other = _chain(pair.a.layers, ours.layers), _chain(pair.b.layers, theirs.layers)
        if one is not None and other is not None:
            maps = dict(pair.a.layers[0].flattened or {}), dict(pair.b.layers[0].flattened or {})
            inputs = _channels_last(one.inputs, maps[0]), _channels_last(other.inputs, maps[1])
            outputs = _same_form(_mapped(one, maps[0]), _mapped(other, maps[1]), pair)
            found[pair.b.name] = PairRun(pair, (inputs[0], _turned(*inputs)), outputs)
    return found


def near(one: Array, other: Array, limit: float) -> bool:
    """Whether two arrays are of one shape and differ by no more than ``limit`` anywhere."""
    if one.shape != other.shape:
        return False
    apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
    return bool((apart <= limit).all())


def _channels_last(
    array: Array, maps: Mapping[str, FeatureMap | str], axes: Sequence[str] = ("in", "channel")
) -> Array:
    """The array whose last axis runs over a flattened feature map, with the channels of that last."""
    for axis in axes:
        found = maps.get(axis)
        if isinstance(found, FeatureMap) and found.order == "first":
            divided = array.reshape(*array.shape[:-1], found.channels, -1)
            return np.swapaxes(divided, -1, -2).reshape(array.shape)
    return array


def _mapped(run: LayerRun, maps: Mapping[str, FeatureMap | str]) -> LayerRun:
    return replace(run, outputs=_channels_last(run.outputs, maps, ("out", "channel")))


def _chain(layers: Sequence[Layer], runs: Mapping[str, LayerRun]) -> LayerRun | None:
    """A stack of layers as one: what its first takes in and its last gives out."""
    if layers[0].name not in runs or layers[-1].name not in runs:
        return None
    first, last = runs[layers[0].name], runs[layers[-1].name]
    return LayerRun(first.inputs, last.outputs, last.activation)


def _same_form(one: LayerRun, other: LayerRun, pair: LayerPair) -> tuple[Array, Array]:
    """Both outputs after the same activation and merge, of the same steps and in the same order of axes."""
    ours, theirs = _same_activation(one, other)
    if pair.kind.name in _RECURRENT:
        settings = {**pair.b.settings, **pair.a.settings}
        if pair.a.settings.get("direction") != pair.b.settings.get("direction"):
            ours, theirs = _as_processed(ours, pair.a.settings), _as_processed(theirs, pair.b.settings)
        mode = str(settings.get("merge_mode", "concat"))
        widths = ours.shape[-1], theirs.shape[-1]
        both_ways = pair.a.parts[0].view.counts.get("direction", 1) == 2
        apart = [both_ways and (mode == "concat" or width == max(widths) > min(widths)) for width in widths]
        ours, theirs = _same_steps(ours, theirs.ndim, apart[0]), _same_steps(theirs, ours.ndim, apart[1])
        ours, theirs = _merged(ours, widths[1], mode), _merged(theirs, widths[0], mode)
    return ours, _turned(ours, theirs)


def _same_activation(one: LayerRun, other: LayerRun) -> tuple[Array, Array]:
    """Where one side's layer has an activation of its own and the other's has not, it is applied to the other's."""
    try:
        if other.activation == "linear" != one.activation:
            return one.outputs, activation(one.activation)(other.outputs)
        if one.activation == "linear" != other.activation:
            return activation(other.activation)(one.outputs), other.outputs
    except UsageError:  # a function of the user's own
        pass
    return one.outputs, other.outputs


def _as_processed(outputs: Array, settings: Mapping[str, object]) -> Array:
    """The steps in the order in which they were processed, as Keras' ``go_backwards`` gives them out."""
    return np.flip(outputs, 1) if settings.get("direction") == "reverse" and outputs.ndim > 2 else outputs


def _merged(outputs: Array, width: int, mode: str) -> Array:
    """Both directions put together as the other side did, where this side has them one beside the other."""
    if mode not in _MERGES or outputs.shape[-1] != 2 * width:
        return outputs
    return np.asarray(_MERGES[mode](outputs[..., :width], outputs[..., width:]))


def _same_steps(sequence: Array, axes: int, apart: bool) -> Array:
    """The last step processed, where the other side gives out no other; of a backward half that stands apart from the
    forward one, that is the first."""
    if sequence.ndim != axes + 1:
        return sequence
    if not apart:
        return np.asarray(sequence[:, -1])
    half = sequence.shape[-1] // 2
    return np.concatenate([sequence[:, -1, :half], sequence[:, 0, half:]], axis=-1)


def _turned(ours: Array, theirs: Array) -> Array:
    """The other side's array in our order of axes, where one of the orders gives it our shape."""
    orders = [order for order in ORDERS if theirs.ndim >= order.least]
    return next((t for order in orders if (t := order.turn(theirs)).shape == ours.shape), theirs)


def _size(array: Array) -> float:
    return float(np.abs(array).max()) if array.size and array.dtype.kind != "b" else 0.0

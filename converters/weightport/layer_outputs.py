"""The reference depth of a comparison: both layers of a pair run in float64 NumPy on one random input.

Weights that are the same can still compute different things: settings decide, and here their effect is measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .checkpoint import Array
from .differences import SettingDifference
from .errors import WeightportError
from .layer_pairs import LayerPair
from .reference import run
from .reference_inputs import random_inputs
from .setting_differences import settings_differences


@dataclass(frozen=True)
class SettingEffect:
    """A setting that differs, and how much of the output it changes by itself: infinite where the shapes differ."""

    setting: SettingDifference
    largest: float


@dataclass(frozen=True)
class LayerOutputs:
    """What both sides of a pair compute for one input, each with its own weights and settings.

    A setting that only one side states has the same value on the other, or the kind's usual one where that brings the
    two nearer. ``effects`` are A's weights under A's settings against the same under B's, setting by setting, the
    strongest first."""

    inputs: Array
    a: Array
    b: Array
    effects: tuple[SettingEffect, ...]

    @property
    def largest(self) -> float:
        """The largest difference; infinite where the shapes differ or only one side is NaN."""
        return largest_difference(self.a, self.b)


def reference_outputs(pair: LayerPair, *, seed: int = 0, time: int = 5) -> LayerOutputs:
    """Run the references of both sides of a pair on one random input.

    Raises UsageError for a kind or a setting that has no reference, LayoutError where the two take in other sizes."""
    kind, weights_a, weights_b = pair.kind.name, pair.a.weights(), pair.b.weights()
    a, b = pair.a.settings, pair.b.settings
    shared = {**b, **a}, {**a, **b}
    inputs = random_inputs(kind, weights_a, shared[0], np.random.default_rng(seed), time)
    outputs = run(kind, weights_a, shared[0], inputs), run(kind, weights_b, shared[1], inputs)
    used = shared
    try:
        own = run(kind, weights_a, a, inputs), run(kind, weights_b, b, inputs)
    except WeightportError:
        own = outputs  # the usual value of what a side does not state does not go with its weights
    if largest_difference(*own) < largest_difference(*outputs):
        outputs, used = own, (a, b)
    effects = []
    for setting in settings_differences(pair.a, pair.b):
        changed = run(kind, weights_a, {**used[0], setting.name: used[1][setting.name]}, inputs)
        effects.append(SettingEffect(setting, largest_difference(outputs[0], changed)))
    return LayerOutputs(inputs, *outputs, tuple(sorted(effects, key=lambda effect: -effect.largest)))


def largest_difference(one: Array, other: Array) -> float:
    """max |one - other|; infinite where the shapes differ, where only one is NaN and where there is nothing."""
    if one.shape != other.shape or not one.size:
        return float("inf")
    apart = np.isnan(one) != np.isnan(other)
    with np.errstate(invalid="ignore"):
        distance = np.where((one == other) | (np.isnan(one) & np.isnan(other)), 0.0, np.abs(one - other))
    return float("inf") if apart.any() else float(distance.max())

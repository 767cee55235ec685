"""Each pair of layers run in float64 NumPy on one random input: the depth that needs no framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..checkpoint import Array, DType
from ..differences import SettingDifference
from ..errors import WeightportError
from ..layer_outputs import reference_outputs
from ..layer_pairs import LayerPair
from ..reference import run
from ..setting_differences import settings_differences
from .measure import Difference, compare, unit_roundoff
from .model_depth import Question
from .tolerance import DRAWS

# What can be done in a layer and as well before or after it: a padding by a node of its own, a sequence turned.
_OUTSIDE = frozenset({"padding", "direction", "return_sequences", "merge_mode", "activation"})
_FLOAT64 = np.dtype(np.float64)


def compare_references(pair: LayerPair, dtype: DType, question: Question) -> tuple[Difference | None, str]:
    """How far both sides of a pair are apart, or why there is no reference for them.

    The tolerance is what one unit in the last place of ``dtype``, the coarser that both are stored in, does to the
    output: two biases that became one were rounded once, and a weight that was cast, too."""
    try:
        outputs = reference_outputs(pair, seed=question.seed)
        moved = [
            _moved(pair, outputs.inputs, dtype, np.random.default_rng([question.seed, draw])) for draw in range(DRAWS)
        ]
    except WeightportError as error:
        return None, str(error)
    tolerance = question.tolerance(2 * max(_largest(outputs.a, other) for other in moved))
    difference = compare(outputs.a, outputs.b, _FLOAT64, *tolerance)
    outside = [found for found in settings_differences(pair.a, pair.b) if found.name in _OUTSIDE]
    if difference.agrees or not outside:
        return difference, ""
    alike = reference_outputs(_alike(pair, outside), seed=question.seed)
    if not compare(alike.a, alike.b, _FLOAT64, *tolerance).agrees:
        return difference, ""
    listed = ", ".join(f"{found.name} is {found.a} in A and {found.b} in B" for found in outside)
    return None, f"{listed}: only the models' own run shows whether something outside the layer makes up for it"


def _alike(pair: LayerPair, settings: Sequence[SettingDifference]) -> LayerPair:
    """The pair as if the second side had these settings of the first."""
    stated = {**pair.b.layers[0].settings, **{found.name: found.a for found in settings}}
    return replace(pair, b=replace(pair.b, layers=(replace(pair.b.layers[0], settings=stated), *pair.b.layers[1:])))


def _moved(pair: LayerPair, inputs: Array, dtype: DType, generator: np.random.Generator) -> Array:
    """The first side's output with every weight moved by at most one unit in the last place."""
    unit = 2 * unit_roundoff(dtype)
    weights: Sequence[Mapping[str, Array]] = [
        {role: array * (1 + unit * generator.uniform(-1, 1, array.shape)) for role, array in layer.items()}
        for layer in pair.a.weights()
    ]
    return run(pair.kind.name, weights, {**pair.b.settings, **pair.a.settings}, inputs)


def _largest(one: Array, other: Array) -> float:
    apart = np.abs(one - other)
    finite = apart[np.isfinite(apart)]
    return float(finite.max()) if finite.size else 0.0

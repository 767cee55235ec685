"""How far apart two correct models may be: what rounding does to this model on these inputs, measured, not guessed.

The idea is backward error analysis (Wilkinson 1963; Higham, Accuracy and Stability of Numerical Algorithms, 2002,
section 3.1). A sum of n products that is evaluated in floating point, in whatever order, is the exact sum of products
whose factors each carry a relative error of at most

    gamma_n = n u / (1 - n u),        u the unit roundoff of the dtype (2^-24 for float32).

So a correct model computes exactly what the same model would with every weight moved by at most gamma_n. How far that
moves an output is asked of the model itself: it runs again with every weight moved at random by up to gamma_n, where n
is the number of terms that the weight's layer sums up, and by what elementary functions round. Depth, number of steps
and conditioning are in that answer, because the moved model is as deep, as long and as badly conditioned. Two models
that are compared round independently, so the tolerance is twice the largest movement seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ..checkpoint import Array, Checkpoint, DType
from ..errors import LayoutError
from ..match import layer_view
from ..planner import is_floating
from ..views import View
from .inputs import Case
from .measure import unit_roundoff
from .runners import BOUNDED, Run, Runner

# Unit roundoffs that a framework's tanh, sigmoid or exp may be off by, relative to its largest value: the worst of
# TensorFlow 2.21, PyTorch 2.13 and ONNX Runtime on the CPU, as tests/parity/test_tolerance.py measures.
FUNCTION_ROUNDINGS = 12
DRAWS = 2
_SUMMED_AXES = frozenset({"in", "hidden", "cell"})


@dataclass(frozen=True)
class Rounding:
    """What rounding does to each output, to each layer's output and to what each layer takes in: twice the largest
    movement over all draws and cases."""

    outputs: Mapping[str, float]
    layers: Mapping[str, float]
    inputs: Mapping[str, float]
    dtype: DType


def measure_rounding(
    runner: Runner,
    cases: Sequence[Case],
    runs: Sequence[Run],
    dtype: DType,
    seed: int,
    bounded: Collection[str] = (),
) -> Rounding:
    """Run the model with moved weights on each case, and see how far it goes from ``runs``, its own results.

    ``bounded`` are the outputs that a function of values up to 1 makes in one of the models."""
    unit = unit_roundoff(dtype)
    outputs = {name: _last_rounding(runs, name, unit, float(name in bounded)) for name in runs[0].outputs}
    last = FUNCTION_ROUNDINGS * unit
    layers, inputs = _last_roundings(runs, last, "outputs"), _last_roundings(runs, last, "inputs")
    for draw in range(DRAWS):
        weights = moved_weights(runner.checkpoint, unit, np.random.default_rng([seed, draw]))
        with runner.holding(weights) as moved:
            for case, run in zip(cases, runs, strict=True):
                other = moved.run(case.arrays, layers=bool(run.layers))
                for name, array in run.outputs.items():
                    outputs[name] = max(outputs[name], _movement(array, other.outputs[name]))
                for name, layer in run.layers.items():
                    if name in other.layers:
                        layers[name] = max(layers[name], _movement(layer.outputs, other.layers[name].outputs))
                        inputs[name] = max(inputs[name], _movement(layer.inputs, other.layers[name].inputs))
    return Rounding(_doubled(outputs), _doubled(layers), _doubled(inputs), dtype)


def _last_roundings(runs: Sequence[Run], unit: float, what: str) -> dict[str, float]:
    """What the last operation, or an elementary function, rounds the largest value by that a layer takes or gives."""
    sizes: dict[str, float] = {}
    for run in runs:
        for name, layer in run.layers.items():
            least = float(what == "outputs" and layer.activation in BOUNDED)
            sizes[name] = max(sizes.get(name, 0.0), unit * max(least, _size(getattr(layer, what))))
    return sizes


def _doubled(movements: Mapping[str, float]) -> dict[str, float]:
    return {name: 2 * movement for name, movement in movements.items()}


def moved_weights(checkpoint: Checkpoint, unit: float, generator: np.random.Generator) -> dict[str, Array]:
    """Every floating-point weight, each element moved by a random share of gamma_n."""
    terms = dict(_terms(checkpoint))
    moved = {}
    for name, tensor in checkpoint.tensors.items():
        if is_floating(tensor.dtype) and name not in checkpoint.structure.skipped:
            n = terms.get(name, max(tensor.shape, default=1)) + FUNCTION_ROUNDINGS
            gamma = n * unit / (1 - min(n * unit, 0.5))
            values = tensor.read().astype(np.float64)
            moved[name] = (values * (1 + gamma * generator.uniform(-1, 1, values.shape))).astype(tensor.dtype)
    return moved


def coarsest_dtype(checkpoints: Sequence[Checkpoint]) -> DType:
    """The floating-point dtype of any weight that rounds the most; float32 where there is none."""
    found = {
        tensor.dtype
        for checkpoint in checkpoints
        for name, tensor in checkpoint.tensors.items()
        if is_floating(tensor.dtype) and name not in checkpoint.structure.skipped
    }
    return max(found, key=unit_roundoff, default=np.dtype(np.float32))


def _terms(checkpoint: Checkpoint) -> Iterator[tuple[str, int]]:
    """For each weight of a layer, how many terms the layer sums up for one element of its output."""
    for layer in checkpoint.layers:
        try:
            count = max(map(_summed, _sizes(layer_view(checkpoint, layer, layer.kinds[0]))))
        except LayoutError:
            continue
        yield from ((name, count) for name in layer.tensors.values())


def _sizes(view: View) -> Sequence[Mapping[str, int]]:
    return view.sizes or ({},)


def _summed(sizes: Mapping[str, int]) -> int:
    """Products of every input and state at every place of the kernel, and the bias; of a normalisation, its places."""
    kernel = prod(size for axis, size in sizes.items() if axis.removeprefix("...").isdecimal())
    return (sum(size for axis, size in sizes.items() if axis in _SUMMED_AXES) or 1) * kernel + 1


def _movement(one: Array, other: Array) -> float:
    """The largest difference of two results of the same model; integers are held to be exact."""
    if one.shape != other.shape or not one.size or one.dtype.kind in "iub":
        return 0.0
    with np.errstate(invalid="ignore"):
        apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
    finite = apart[np.isfinite(apart)]
    return float(finite.max()) if finite.size else 0.0


def _last_rounding(runs: Sequence[Run], name: str, unit: float, least: float) -> float:
    """What the last operation rounds by, and an elementary function in its place, whose largest value is at least
    ``least``."""
    arrays = [run.outputs[name] for run in runs]
    if arrays[0].dtype.kind in "iub":
        return 0.0
    return FUNCTION_ROUNDINGS * unit * max(least, *(_size(array) for array in arrays))


def _size(array: Array) -> float:
    finite = np.abs(array[np.isfinite(array)]) if array.dtype.kind not in "b" else np.zeros(0)
    return float(finite.max()) if finite.size else 0.0

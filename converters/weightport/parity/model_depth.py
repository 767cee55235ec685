"""Both whole models, run on the same inputs: outputs and layers held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..checkpoint import Array, Checkpoint, DType
from ..errors import LayoutError, UsageError
from ..match import Pair, layer_view
from ..views import View
from .inputs import Case, InputSpec, cases, given_cases, merged
from .measure import Difference, compare
from .orders import Order, combinations, fitting
from .result import LayerParity, OutputParity
from .runners import Run, Runner, UnreachableError
from .side_by_side import PairRun, pair_runs
from .tolerance import Rounding, coarsest_dtype, measure_rounding


@dataclass(frozen=True)
class Question:
    """What is asked of two models: the given inputs if any, the given tolerances if any, a seed, layers or not."""

    inputs: Any = None
    rtol: float | None = None
    atol: float | None = None
    seed: int = 0
    layers: bool = True

    @property
    def measures_rounding(self) -> bool:
        """Whether the tolerance is to be found by measuring, as none was given."""
        return self.rtol is None and self.atol is None


@dataclass(frozen=True)
class ModelRuns:
    """Both models' runs of every case, the orders into which the inputs were turned, and what rounding can do."""

    cases: tuple[Case, ...]
    ours: tuple[Run, ...]
    theirs: tuple[Run, ...]
    orders: tuple[Order, ...]
    rounding: Rounding | None
    dtype: DType
    same_framework: bool
    warnings: tuple[str, ...] = ()


def run_both(one: Runner, other: Runner, pairs: Sequence[Pair], question: Question) -> ModelRuns:
    """Make the inputs, run both models on them, and measure what rounding does to the first.

    Raises UnreachableError where one of the models does not run, UsageError where no inputs can be made."""
    made = _cases(one, other, question)
    ours = tuple(one.run(case.arrays, layers=question.layers) for case in made)
    same_framework = one.checkpoint.framework == other.checkpoint.framework
    orders, first = _orders(other, made[0], ours[0], pairs, same_framework)
    rest = tuple(other.run(_turned(case.arrays, orders), layers=question.layers) for case in made[1:])
    dtype = coarsest_dtype([one.checkpoint, other.checkpoint])
    measured = measure_rounding(one, made, ours, dtype, question.seed) if question.measures_rounding else None
    warnings = (*one.warnings, *other.warnings)
    return ModelRuns(tuple(made), ours, (first, *rest), orders, measured, dtype, same_framework, warnings)


def _cases(one: Runner, other: Runner, question: Question) -> list[Case]:
    ours, theirs = one.specs, other.specs
    if question.inputs is not None:
        return given_cases(question.inputs, ours or theirs)
    specs = merged(ours, theirs) if ours and theirs else ours or theirs or _specs_of_first_layer(one.checkpoint)
    try:
        return cases(specs, question.seed, _reach([one.checkpoint, other.checkpoint]))
    except TypeError as error:
        raise UsageError(f"no inputs can be made for {specs}: {error}; give some with inputs=") from error


def _orders(
    other: Runner, case: Case, ours: Run, pairs: Sequence[Pair], same_framework: bool
) -> tuple[tuple[Order, ...], Run]:
    """The orders of the inputs' axes in which the other model's layers take in what ours do, and its run.

    Where no layer tells, the first order in which the other model runs at all."""
    found: list[tuple[int, tuple[Order, ...], Run]] = []
    refused = None
    for orders in combinations(case.arrays, same_framework=same_framework):
        try:
            run = other.run(_turned(case.arrays, orders), layers=True)
        except UnreachableError as error:
            refused = refused or error
            continue
        found.append((sum(pair.takes_the_same for pair in pair_runs(pairs, ours, run).values()), orders, run))
    if not found:
        raise refused or UnreachableError("the model takes no inputs")
    _, orders, run = max(found, key=lambda entry: entry[0])
    return orders, run


def _turned(arrays: Sequence[Array], orders: Sequence[Order]) -> tuple[Array, ...]:
    return tuple(np.ascontiguousarray(order.turn(array)) for order, array in zip(orders, arrays, strict=True))


def compare_outputs(runs: ModelRuns, question: Question) -> tuple[tuple[OutputParity, ...], str]:
    """Every pair of outputs in its worst case, and what is wrong with the outputs as a whole, if anything."""
    names = list(runs.ours[0].outputs), list(runs.theirs[0].outputs)
    if not names[0] or not names[1]:
        return (), "a model without outputs: there is nothing to compare"
    if len(names[0]) != len(names[1]):
        listed = [f"{len(side)} ({', '.join(side)})" for side in names]
        return (), f"the models give different numbers of outputs: {listed[0]} against {listed[1]}"
    partners = names[1] if set(names[0]) != set(names[1]) else names[0]
    return tuple(_worst_output(runs, *pair, question) for pair in zip(names[0], partners, strict=True)), ""


def _worst_output(runs: ModelRuns, name: str, other: str, question: Question) -> OutputParity:
    found = []
    for case, ours, theirs in zip(runs.cases, runs.ours, runs.theirs, strict=True):
        order, array = fitting(ours.outputs[name], theirs.outputs[other], same_framework=runs.same_framework)
        measured = runs.rounding.outputs[name] if runs.rounding else 0.0
        difference = _difference(ours.outputs[name], array, runs.dtype, measured, question)
        found.append(OutputParity(name, other, case.what, order.name, difference))
    return max(found, key=lambda output: output.difference.excess)


def compare_layers(runs: ModelRuns, pairs: Sequence[Pair], question: Question) -> tuple[LayerParity, ...]:
    """Every pair of layers in its worst case, in the order of the first model's layers."""
    by_case = [pair_runs(pairs, ours, theirs) for ours, theirs in zip(runs.ours, runs.theirs, strict=True)]
    return tuple(
        _worst_layer(runs, pair, [found.get(pair.targets[0].name) for found in by_case], question) for pair in pairs
    )


def _worst_layer(runs: ModelRuns, pair: Pair, found: Sequence[PairRun | None], question: Question) -> LayerParity:
    last = pair.sources[-1].name
    blank = LayerParity(_joined(pair.sources), _joined(pair.targets), pair.kind, pair.how)
    measured = runs.rounding.layers.get(last, 0.0) if runs.rounding else 0.0
    results = [
        replace(blank, difference=_difference(*run.outputs, runs.dtype, measured, question), case=case.what)
        for case, run in zip(runs.cases, found, strict=True)
        if run is not None
    ]
    return max(results, key=lambda layer: layer.difference.excess if layer.difference else 0.0, default=blank)


def _difference(ours: Array, theirs: Array, dtype: DType, measured: float, question: Question) -> Difference:
    if question.measures_rounding:
        return compare(ours, theirs, dtype, measured)
    return compare(ours, theirs, dtype, question.atol or 0.0, question.rtol or 0.0)


def _joined(layers: Sequence[Any]) -> str:
    return " + ".join(layer.name or "(root)" for layer in layers)


def _specs_of_first_layer(checkpoint: Checkpoint) -> tuple[InputSpec, ...]:
    """What the first layer takes in, for models that do not say what they do.

    Raises UsageError where there is no layer that says."""
    for layer in checkpoint.layers:
        try:
            return (_SPECS[layer.kinds[0]](layer_view(checkpoint, layer, layer.kinds[0])),)
        except (LayoutError, KeyError):
            continue
    raise UsageError(f"{checkpoint.contents.origin} does not say what inputs it takes; give some with inputs=")


def _sequence(view: View) -> InputSpec:
    return InputSpec("input", (None, None, view.sizes[0]["in"]))


def _features(view: View) -> InputSpec:
    return InputSpec("input", (None, view.sizes[0]["in"]))


def _image(view: View) -> InputSpec:
    groups = view.conditions.get("groups", 1)
    space = [None for axis in view.sizes[0] if axis.startswith("...")]
    return InputSpec("input", (None, *space, view.sizes[0]["in"] * (groups if isinstance(groups, int) else 1)))


def _tokens(view: View) -> InputSpec:
    return InputSpec("input", (None, None), "int32", view.sizes[0]["token"])


_SPECS = {
    **dict.fromkeys(("lstm", "gru", "rnn", "mgu"), _sequence),
    "dense": _features,
    "conv": _image,
    "embedding": _tokens,
}


def _reach(checkpoints: Sequence[Checkpoint]) -> int:
    """What the kernels of a model need in one direction of space, strides included, one model as good as the other."""
    needed = [0]
    for checkpoint in checkpoints:
        reach = 0
        for layer in checkpoint.layers:
            if layer.kinds[0] == "conv":
                reach += _kernel_reach(checkpoint, layer)
        needed.append(reach)
    return max(needed)


def _kernel_reach(checkpoint: Checkpoint, layer: Any) -> int:
    try:
        sizes = layer_view(checkpoint, layer, "conv").sizes[0]
    except LayoutError:
        return 0
    spread = [value if isinstance(value, int) else max(value) for value in _stated(layer, ("dilation", "strides"))]
    return max((size for axis, size in sizes.items() if axis.startswith("...")), default=1) * int(np.prod(spread))


def _stated(layer: Any, names: Sequence[str]) -> list[Any]:
    return [layer.settings.get(name, 1) for name in names]

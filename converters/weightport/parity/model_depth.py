"""Both whole models, run on the same inputs: outputs and layers held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..checkpoint import Array, DType
from ..errors import UsageError
from ..layer_pairs import LayerPair
from .first_layer import kernel_reach, specs_of_first_layer
from .inputs import LENGTHS, Case, cases, given_cases, merged
from .measure import Difference, compare
from .orders import Order, combinations, fitting
from .result import OutputParity
from .runners import Run, Runner, UnreachableError
from .side_by_side import PairRun, near, pair_runs
from .tolerance import Rounding, coarsest_dtype, measure_rounding


@dataclass(frozen=True)
class Question:
    """What is asked of two models: the given inputs if any, the given tolerances if any, a seed, layers or not, and the
    lengths that are tried where a length is free."""

    inputs: Any = None
    rtol: float | None = None
    atol: float | None = None
    seed: int = 0
    layers: bool = True
    lengths: tuple[int, ...] = LENGTHS

    @property
    def measures_rounding(self) -> bool:
        """Whether the tolerance is to be found by measuring, as none was given."""
        return self.rtol is None and self.atol is None

    def tolerance(self, measured: float) -> tuple[float, float]:
        """The absolute and the relative tolerance: what was given, else what was measured."""
        return (measured, 0.0) if self.measures_rounding else (self.atol or 0.0, self.rtol or 0.0)


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


def run_both(one: Runner, other: Runner, pairs: Sequence[LayerPair], question: Question) -> ModelRuns:
    """Make the inputs, run both models on them, and measure what rounding does to the first.

    Raises UnreachableError where one of the models does not run, UsageError where no inputs can be made."""
    made = _cases(one, other, question)
    ours = tuple(one.run(case.arrays, layers=question.layers) for case in made)
    same_framework = one.checkpoint.framework == other.checkpoint.framework
    orders, first = _orders(other, made[0], ours[0], pairs, same_framework)
    rest = tuple(other.run(_turned(case.arrays, orders), layers=question.layers) for case in made[1:])
    dtype = coarsest_dtype([one.checkpoint, other.checkpoint])
    bounded = {mine for mine, its in _partners(ours[0], first) if mine in one.bounded or its in other.bounded}
    measured = measure_rounding(one, made, ours, dtype, question.seed, bounded) if question.measures_rounding else None
    warnings = (*one.warnings, *other.warnings, *_unsteady(one, made[0], ours[0], measured, "A"))
    warnings += _unsteady(other, Case("", _turned(made[0].arrays, orders)), first, measured, "B")
    return ModelRuns(tuple(made), ours, (first, *rest), orders, measured, dtype, same_framework, warnings)


def _cases(one: Runner, other: Runner, question: Question) -> list[Case]:
    ours, theirs = one.specs, other.specs
    if question.inputs is not None:
        return given_cases(question.inputs, ours or theirs)
    try:
        specs = merged(ours, theirs) if ours and theirs else ours or theirs or specs_of_first_layer(one.checkpoint)
        return cases(specs, question.seed, kernel_reach([one.checkpoint, other.checkpoint]), question.lengths)
    except (UsageError, TypeError) as error:
        raise UnreachableError(f"no inputs can be made: {error}; give some with inputs= or --inputs") from error


def _orders(
    other: Runner, case: Case, ours: Run, pairs: Sequence[LayerPair], same_framework: bool
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
        found.append((sum(pair.takes_alike for pair in pair_runs(pairs, ours, run).values()), orders, run))
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
    return tuple(_worst_output(runs, *pair, question) for pair in _partners(runs.ours[0], runs.theirs[0])), ""


def _partners(ours: Run, theirs: Run) -> list[tuple[str, str]]:
    """The outputs that belong together: by name where all names agree, else by place."""
    same = set(ours.outputs) == set(theirs.outputs)
    return list(zip(ours.outputs, ours.outputs if same else theirs.outputs, strict=False))


def _worst_output(runs: ModelRuns, name: str, other: str, question: Question) -> OutputParity:
    found = []
    for case, ours, theirs in zip(runs.cases, runs.ours, runs.theirs, strict=True):
        order, array = fitting(ours.outputs[name], theirs.outputs[other], same_framework=runs.same_framework)
        measured = runs.rounding.outputs[name] if runs.rounding else 0.0
        difference = compare(ours.outputs[name], array, runs.dtype, *question.tolerance(measured))
        found.append(OutputParity(name, other, case.what, order.name, difference))
    return max(found, key=lambda output: output.difference.excess)


@dataclass(frozen=True)
class WatchedPair:
    """One pair of layers in the case in which its outputs are furthest apart, and what rounding can do to what it takes
    in and gives out. ``only_masked`` says that it differs where steps are masked, and nowhere else."""

    run: PairRun
    case: Case
    difference: Difference
    limits: tuple[float, float]
    only_masked: bool = False


def watch_layers(runs: ModelRuns, pairs: Sequence[LayerPair], question: Question) -> dict[str, WatchedPair]:
    """Every pair of layers that both models ran, by the name of its second side."""
    seen: dict[str, list[WatchedPair]] = {}
    for case, ours, theirs in zip(runs.cases, runs.ours, runs.theirs, strict=True):
        for name, found in pair_runs(pairs, ours, theirs).items():
            seen.setdefault(name, []).append(_watched(runs, found, case, question))
    return {name: _worst(each) for name, each in seen.items()}


def _worst(each: Sequence[WatchedPair]) -> WatchedPair:
    """The case in which a pair is furthest apart."""
    worst = max(each, key=lambda watched: watched.difference.excess)
    whole = all(watched.difference.agrees for watched in each if not watched.case.masked)
    return replace(worst, only_masked=whole and not worst.difference.agrees)


def _watched(runs: ModelRuns, found: PairRun, case: Case, question: Question) -> WatchedPair:
    first, last = found.pair.a.layers[0].name, found.pair.a.layers[-1].name
    limits = (runs.rounding.inputs[first], runs.rounding.layers[last]) if runs.rounding else (0.0, 0.0)
    difference = compare(*found.outputs, runs.dtype, *question.tolerance(limits[1]))
    if not runs.rounding:
        limits = (difference.tolerance, difference.tolerance)
    return WatchedPair(found, case, difference, limits)


def _unsteady(runner: Runner, case: Case, run: Run, rounding: Rounding | None, name: str) -> tuple[str, ...]:
    """A sentence where a model gives out something else for the same inputs when it runs again."""
    again = runner.run(case.arrays)
    limits = rounding.outputs.values() if rounding else ()
    limit = max(limits, default=0.0)
    for output, array in run.outputs.items():
        if not near(np.nan_to_num(array), np.nan_to_num(again.outputs[output]), limit):
            return (
                f"{name} gives out something else each time it runs on the same inputs: dropout or another source of "
                "randomness is active (is train mode left on?), or a state is kept from call to call",
            )
    return ()

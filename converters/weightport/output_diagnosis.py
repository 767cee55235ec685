"""Which setting explains an output: the reference is run with every usual value of every setting, one at a time.

For what weights cannot show: a GRU's reset variant, an activation, a batch norm's epsilon, padding, the direction of
time, whether all steps are given out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from ._reference_activations import activation_names
from .checkpoint import Array, Setting
from .errors import WeightportError
from .kinds import all_kinds
from .layer_outputs import largest_difference
from .layouts import Layout, all_layouts
from .reference import Weights, run

_VALUES: Mapping[str, tuple[Setting, ...]] = {
    "epsilon": (1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-12, 0.0),
    "reset": ("after", "before"),
    "direction": ("forward", "reverse", "backwards"),
    "padding": ("valid", "same", "causal"),
    "merge_mode": ("concat", "sum", "mul", "ave"),
}
"""Usual values that no layout lists."""


@dataclass(frozen=True)
class SettingGuess:
    """Settings with other values than were assumed, under which the reference gives an observed output.

    It is one setting, or several that some framework has one value for (a Keras LSTM's activation is that of its cell,
    too)."""

    assumed: Mapping[str, Setting]
    found: Mapping[str, Setting]
    largest: float

    def __str__(self) -> str:
        words = [f"{name} {value} (not {self.assumed[name]})" for name, value in self.found.items()]
        return f"it computes with {' and '.join(words)}"


def explain_output(
    kind: str,
    weights: Sequence[Weights],
    settings: Mapping[str, Setting],
    inputs: Array,
    observed: Array,
    *,
    limit: float,
) -> tuple[SettingGuess, ...]:
    """The settings under which the reference gives ``observed`` for ``inputs``, the nearest first.

    ``weights`` and ``inputs`` are as :func:`weightport.reference.run` takes them; ``limit`` is the largest difference
    that still counts as the same. Nothing is returned where the settings as they are give the output, or where no
    change of one setting does."""
    known = {**all_kinds()[kind].settings, **settings}
    if largest_difference(run(kind, weights, known, inputs), observed) <= limit:
        return ()
    guesses = []
    for change in _changes(kind):
        if any(known[name] != value for name, value in change.items()):
            difference = _difference(kind, weights, {**known, **change}, inputs, observed)
            if difference <= limit:
                guesses.append(SettingGuess({name: known[name] for name in change}, change, difference))
    return tuple(sorted(guesses, key=lambda guess: guess.largest))


def _difference(
    kind: str, weights: Sequence[Weights], settings: Mapping[str, Setting], inputs: Array, observed: Array
) -> float:
    """How far the reference is under these settings; infinitely far where they make no sense for these weights."""
    try:
        with np.errstate(all="ignore"):
            return largest_difference(run(kind, weights, settings, inputs), observed)
    except WeightportError:
        return float("inf")


@cache
def _changes(kind: str) -> tuple[Mapping[str, Setting], ...]:
    """Every setting of a kind with each of its usual values, and the settings that are tied in some framework."""
    layouts = [layout for layout in all_layouts().values() if layout.kind.name == kind]
    single = [{name: value} for name in all_kinds()[kind].settings for value in _values(kind, name, layouts)]
    ties = {(name, other) for layout in layouts for name, other in layout.ties.items()}
    tied = [{one: value, other: value} for one, other in sorted(ties) for value in _values(kind, other, layouts)]
    return (*single, *tied)


def _values(kind: str, name: str, layouts: Sequence[Layout]) -> Iterator[Setting]:
    """The values that a setting usually has: its own, those that layouts name, and those of ``_VALUES``."""
    usual = all_kinds()[kind].settings[name]
    named = [value for layout in layouts for table in (layout.settings, layout.lacks) for value in table.get(name, ())]
    functions = activation_names() if usual in activation_names() else ()
    truths = (True, False) if isinstance(usual, bool) else ()
    yield from dict.fromkeys((usual, *_VALUES.get(name, ()), *named, *functions, *truths))

"""Random choices, and the registry of what can be drawn for a value of so many axes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np

Draw: TypeAlias = Callable[["Dice", Any], Any]
"""Draws a layer with its settings and calls it: from a value to the next one."""

DRAWS: dict[int, list[Draw]] = {}
ASSUMED = 12
"""A free size, where one has to be counted with."""


class NotHere(Exception):  # noqa: N818 - not an error: something else is drawn
    """What was drawn does not go with this value."""


class Dice:
    """Random choices of one seed."""

    def __init__(self, *seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def one_of(self, *values: Any) -> Any:
        """One of them, all alike."""
        return values[self.random.integers(len(values))]

    def whole(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return int(self.random.integers(low, high + 1))

    def real(self, low: float, high: float) -> float:
        """A number of few digits."""
        return round(float(self.random.uniform(low, high)), 3)

    def chance(self, share: float) -> bool:
        """True in that share of the cases."""
        return bool(self.random.random() < share)

    def some_of(self, values: Sequence[int]) -> tuple[int, ...]:
        """One or more of them, in their order."""
        count = self.whole(1, len(values))
        return tuple(sorted(int(one) for one in self.random.permutation(values)[:count]))

    def units(self) -> int:
        """A number of features."""
        return self.whole(2, 7)


def draws(*ranks: int, often: int = 1) -> Callable[[Draw], Draw]:
    """Make a function one of those that are drawn for values of so many axes, some more often than others."""

    def register(draw: Draw) -> Draw:
        for rank in ranks:
            DRAWS.setdefault(rank, []).extend([draw] * often)
        return draw

    return register


def sizes(x: Any) -> list[int]:
    """The sizes of a value without its batch; free ones as they are counted with."""
    return [ASSUMED if size is None else size for size in x.shape[1:]]


def elements(x: Any) -> int:
    """How many there are in a sample."""
    return prod(sizes(x))


def known(x: Any, *axes: int) -> None:
    """Raises NotHere where one of the axes, or any but the batch, is free."""
    if any(x.shape[axis] is None for axis in axes or range(1, len(x.shape))):
        raise NotHere


def divisors(number: int | None) -> list[int]:
    """The numbers that divide it."""
    return [one for one in range(1, (number or 1) + 1) if (number or 1) % one == 0]


def is_torch() -> bool:
    """Whether Keras runs on PyTorch, which has convolutions with the channels first on a processor."""
    return bool(keras.backend.backend() == "torch")

"""Orders of axes: (batch, height, width, channel) in one framework is (batch, channel, height, width) in another.

Which order the other model wants is not read off shapes: it is run with each order that it accepts, and the order in
which its layers take in what the first model's layers take in is the right one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

import numpy as np

from ..checkpoint import Array

_MOST_COMBINATIONS = 16


@dataclass(frozen=True)
class Order:
    """A way to turn an array, for arrays of at least ``least`` axes."""

    name: str
    turn: Callable[[Array], Array]
    least: int = 0


AS_IS = Order("as is", lambda array: array)
TIME_FIRST = Order("time first", lambda array: np.swapaxes(array, 0, 1), 3)
ORDERS = (
    AS_IS,
    Order("channels first", lambda array: np.moveaxis(array, -1, 1), 3),
    Order("channels last", lambda array: np.moveaxis(array, 1, -1), 3),
    TIME_FIRST,
)


def orders_of(array: Array, *, same_framework: bool) -> tuple[Order, ...]:
    """The orders that an array can be turned into; as it is, first. Models of one framework agree on the order, but
    for PyTorch's batch_first."""
    usable = (AS_IS, TIME_FIRST) if same_framework else ORDERS
    return tuple(order for order in usable if array.ndim >= order.least)


def combinations(arrays: Sequence[Array], *, same_framework: bool) -> Iterator[tuple[Order, ...]]:
    """Every way to turn the inputs, those that turn fewer of them first."""
    options = [orders_of(array, same_framework=same_framework) for array in arrays]
    every = sorted(product(*options), key=lambda orders: sum(order is not AS_IS for order in orders))
    yield from islice(every, _MOST_COMBINATIONS)


def fitting(ours: Array, theirs: Array, *, same_framework: bool) -> tuple[Order, Array]:
    """The other side's output in our order of axes: the order in which its shape is ours; of several, the nearest.

    Where no order fits, the array is given back as it is."""
    turned = [(order, order.turn(theirs)) for order in orders_of(theirs, same_framework=same_framework)]
    fits = [(order, array) for order, array in turned if array.shape == ours.shape]
    return min(fits, key=lambda pair: _distance(ours, pair[1])) if fits else (AS_IS, theirs)


def _distance(one: Array, other: Array) -> float:
    """The sum of |difference|, infinite where there is a NaN; of equal distances the first order is taken."""
    if not one.size or one.dtype.kind == "b":
        return 0.0
    with np.errstate(invalid="ignore"):
        total = float(np.abs(one.astype(np.float64) - other.astype(np.float64)).sum())
    return total if np.isfinite(total) else float("inf")

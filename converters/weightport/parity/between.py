"""What stands between two layers, told from what reaches the second: the same numbers turned, moved or changed.

A suspicion is a function here: what the first model's layer takes in and what the second's does, to a sentence where
the one explains the other. ``SUSPICIONS`` has them in the order in which they are tried.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TypeAlias

import numpy as np

from .._reference_activations import activation, activation_names
from ..checkpoint import Array
from .side_by_side import near

Suspicion: TypeAlias = Callable[[Array, Array, float], str]


def explain_inputs(one: Array, other: Array, limit: float) -> str:
    """What turns one layer's input into the other's, as a sentence; empty where no suspicion holds."""
    with np.errstate(all="ignore"):
        return next((sentence for suspicion in SUSPICIONS if (sentence := suspicion(one, other, limit))), "")


def _time_direction(one: Array, other: Array, limit: float) -> str:
    if one.ndim > 2 and near(one, other[:, ::-1], limit):
        return (
            "it reads the sequence from its other end in B: take the flip out, or set the direction of time "
            "(Keras go_backwards, ONNX direction) to be the same"
        )
    return ""


def _flatten_order(one: Array, other: Array, limit: float) -> str:
    if one.ndim == 2 and one.shape == other.shape and near(np.sort(one, axis=1), np.sort(other, axis=1), limit):
        return (
            "it takes in the same numbers in another order: the feature map is flattened channels last in one model "
            "and channels first in the other; permute before you flatten, or permute the rows of its weight"
        )
    return ""


def _dropout(one: Array, other: Array, limit: float) -> str:
    for kept, dropped, name in ((one, other, "B"), (other, one, "A")):
        if kept.shape != dropped.shape:
            return ""
        zero = (dropped == 0) & (np.abs(kept) > limit)
        alive = ~zero & (np.abs(kept) > 16 * limit)
        if zero.any() and alive.any():
            scale = float(np.median(dropped[alive] / kept[alive]))
            if near(np.where(zero, 0, kept * scale), np.where(zero, 0, dropped), abs(scale) * limit):
                if scale > 1:
                    share = f"{1 - 1 / scale:.0%} of its input are dropped in {name}"
                    return f"{share}: train mode is left on; call module.eval(), or training=False in Keras"
                return ""
    return ""


def _activation(one: Array, other: Array, limit: float) -> str:
    for name in activation_names():
        function = activation(name)
        for before, after, side, bare in ((one, other, "B", "A"), (other, one, "A", "B")):
            if name != "linear" and near(function(before.astype(np.float64)), after, limit):
                return f"{side} applies {name} to what reaches it and {bare} does not: add it to {bare}"
    return ""


def _padding(one: Array, other: Array, limit: float) -> str:
    if one.ndim == other.ndim and one.shape != other.shape:
        return (
            f"it takes in {list(one.shape)} in A and {list(other.shape)} in B: a padding, a stride or a pooling "
            "between is not the same"
        )
    space = tuple(range(1, one.ndim - 1))
    if not space or one.shape != other.shape or min(one.shape[1:-1]) < 3:
        return ""
    middle = (slice(None), *[slice(1, -1)] * len(space))
    for steps in product((0, -1, 1), repeat=len(space)):
        if any(steps) and near(np.roll(one, steps, space)[middle], other[middle], limit):
            return "it takes in the same numbers one place further: one side pads at the other end; pad both alike"
    return ""


SUSPICIONS: tuple[Suspicion, ...] = (_time_direction, _flatten_order, _dropout, _activation, _padding)

"""Mistakes of conversions, made to the arrays of one layer as PyTorch's state dict or an ONNX node names them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Arrays = dict[str, np.ndarray]
Mistake = Callable[[Arrays], None]
"""Spoils the arrays in place."""
Change = Callable[[np.ndarray], np.ndarray]


def gates(order: Sequence[int], only: str = "", axis: int = 0) -> Mistake:
    """The blocks along an axis in another order, in the arrays whose names hold ``only``."""
    return every(lambda array: _blockwise(array, order, axis), only)


def swapped(one: str, other: str) -> Mistake:
    """Two arrays in each other's place: all whose names differ in these words only."""

    def make(arrays: Arrays) -> None:
        pairs = [(name, name.replace(one, other)) for name in arrays if one in name]
        pairs = [(here, there) for here, there in pairs if there in arrays and here != there]
        assert pairs
        for here, there in pairs:
            arrays[here], arrays[there] = arrays[there], arrays[here]

    return make


def every(change: Change, only: str = "") -> Mistake:
    """What a function makes of each floating-point array whose name holds ``only``."""

    def make(arrays: Arrays) -> None:
        names = [name for name, array in arrays.items() if only in name and array.dtype.kind == "f"]
        assert names
        for name in names:
            arrays[name] = np.ascontiguousarray(change(arrays[name])).astype(arrays[name].dtype)

    return make


def each_block(count: int, change: Callable[[int, np.ndarray], np.ndarray], axis: int = 0) -> Change:
    """What a function of their number makes of the blocks along an axis."""

    def apply(array: np.ndarray) -> np.ndarray:
        blocks = np.split(array, count, axis=axis)
        return np.concatenate([change(index, block) for index, block in enumerate(blocks)], axis=axis)

    return apply


def reshaped(array: np.ndarray) -> np.ndarray:
    """The elements of the matrix as the other framework has it, reshaped where they had to be transposed."""
    return np.ascontiguousarray(array.T).reshape(array.shape)


def copied(name: str, source: str) -> Mistake:
    """One array's values in the place of another's."""

    def make(arrays: Arrays) -> None:
        arrays[name] = arrays[source].copy()

    return make


def both(one: Mistake, other: Mistake) -> Mistake:
    """Two mistakes."""

    def make(arrays: Arrays) -> None:
        one(arrays)
        other(arrays)

    return make


def _blockwise(array: np.ndarray, order: Sequence[int], axis: int) -> np.ndarray:
    blocks = np.split(array, len(order), axis=axis)
    return np.concatenate([blocks[index] for index in order], axis=axis)

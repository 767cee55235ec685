"""Memory that files are read into and written from: it begins on a page, and is used again."""

from __future__ import annotations

from math import prod
from threading import local

import numpy as np

from .checkpoint import Array, DType

PAGE = 4096
"""The system copies between its own pages and memory that begins a few bytes behind a page's start at a quarter of its
speed, and large arrays of NumPy begin there (``tests/benchmarks/copies.py`` has figures)."""


def aligned(size: int) -> Array:
    """``size`` bytes, uninitialised, that begin on a page."""
    memory = np.empty(size + PAGE, np.uint8)
    start = -memory.__array_interface__["data"][0] % PAGE
    return memory[start : start + size]


class Scratch(local):
    """Memory that is lent again and again, to each thread its own."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def array(self, shape: tuple[int, ...], dtype: DType) -> Array:
        """An uninitialised array; it is valid until the thread asks for the next."""
        size = prod(shape) * dtype.itemsize
        if self._memory.size < size:
            self._memory = aligned(size)
        return np.ndarray(shape, dtype, buffer=self._memory)

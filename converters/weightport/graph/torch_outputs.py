"""Tensors of the state dict that are not one of the checkpoint's as it is: rearranged, made up, or called otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..checkpoint import Array, DType, Output


@dataclass(frozen=True)
class Made:
    """A tensor of the state dict that is made from others when it is written."""

    name: str
    shape: tuple[int, ...]
    dtype: DType
    make: Callable[[], Array]

    def fill(self, memory: Array) -> None:
        """Write every element into ``memory``."""
        np.copyto(memory, self.make())


def rearranged(output: Output, arrange: Callable[[Array], Array]) -> Made:
    """An output whose elements are put into other places when it is written."""
    shape = arrange(np.broadcast_to(np.empty((), np.bool_), output.shape)).shape

    def make() -> Array:
        memory = np.empty(output.shape, output.dtype)
        output.fill(memory)
        return arrange(memory)

    return Made(output.name, shape, output.dtype, make)


def renamed(output: Output, name: str) -> Output:
    """An output under another name."""
    return _Named(output, name)


@dataclass(frozen=True)
class _Named:
    """An output under another name."""

    output: Output
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.output.shape

    @property
    def dtype(self) -> DType:
        return self.output.dtype

    def fill(self, memory: Array) -> None:
        self.output.fill(memory)


def constant(shape: Sequence[int], value: float, dtype: DType) -> Made:
    """A tensor of one number."""
    return Made("constant", tuple(shape), dtype, lambda: np.full(tuple(shape), value, dtype))

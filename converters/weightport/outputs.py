"""Outputs: what the writers are given. A target tensor is made in the writer's memory, when the writer gets to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from .checkpoint import Array, Checkpoint, DType, Output
from .engine import execute
from .plan import TensorPlan
from .planner import is_floating
from .report import Report

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with a tensor's name, the elements done and the elements in all."""


def outputs(
    source: Checkpoint, report: Report, tensors: Sequence[TensorPlan], progress: Progress | None
) -> list[Output]:
    """The tensors as a writer takes them: each is made when its memory is there."""
    tally = _Tally(report, progress)
    return [PlannedOutput(tensor, source, tally) for tensor in tensors]


class _Tally:
    """Counts what has been written, for the progress bar and the report."""

    def __init__(self, report: Report, progress: Progress | None) -> None:
        self._report, self._progress, self._done = report, progress, 0

    def add(self, name: str, memory: Array) -> None:
        self._done += memory.size
        if is_floating(memory.dtype):
            count = sum(_nan_count(rows) for rows in _rows(memory))
            if count:
                self._report.nan[name] = count
        if self._progress:
            self._progress(name, self._done, self._report.elements)


def _rows(memory: Array, elements: int = 1 << 20) -> Iterator[Array]:
    flat = memory.reshape(-1)
    for start in range(0, flat.size, elements):
        yield flat[start : start + elements]


def _nan_count(values: Array) -> int:
    """How many values are NaN, by what is quick for their type: nearly always there is none."""
    if values.dtype.itemsize == 2:  # NumPy widens these one by one; a NaN's bits lie above those of infinity
        infinity = np.array(np.inf, values.dtype).view(np.uint16)
        return int(np.count_nonzero(values.view(np.uint16) & 0x7FFF > infinity))
    if values.dtype.itemsize > 2 and not np.isnan(values.min()):
        return 0
    return int(np.count_nonzero(np.isnan(values)))


@dataclass(frozen=True)
class PlannedOutput:
    """A tensor that is made by its plan when a writer has memory for it."""

    plan: TensorPlan
    source: Checkpoint
    tally: _Tally | None = None

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.plan.shape

    @property
    def dtype(self) -> DType:
        return self.plan.dtype

    def fill(self, memory: Array) -> None:
        execute(self.plan, lambda name: self.source.tensors[name].locate(), memory)
        if self.tally:
            self.tally.add(self.name, memory)

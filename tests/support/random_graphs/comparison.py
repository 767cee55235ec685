"""One model converted to one target, and what both give: at two sizes of the free axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import keras
import numpy as np

from graph_checks import name_of, run_onnx, to_onnx
from source_checks import run_source_file, to_source
from weightport import RefusedError
from weightport.graph.onnx_emitter import OPSETS

from .model import run, values_of

Pairs: TypeAlias = list[tuple[np.ndarray, np.ndarray]]
"""What the target gives, and what Keras gives."""
SIZES = ((11, 12), (13, 17))
"""Of the batch and of free axes. The batch is as large as no other axis: on TensorFlow, Keras takes (2, 1, 1) that is
added to (2, 2, 1) for a bias (keras/src/backend/tensorflow/numpy.py, add)."""


class Refused(Exception):  # noqa: N818 - a result like others
    """The target cannot express the model."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(*reasons)
        self.reasons = tuple(reasons)


def compared(model: keras.Model, to: str, seed: int, folder: Path) -> Pairs:
    """The outputs of both. Raises Refused where the target does not have what the model needs."""
    try:
        runs = TARGETS[to](model, seed, folder)
    except RefusedError as error:
        raise Refused(error.problems or [str(error)]) from error
    pairs: Pairs = []
    for batch, free in SIZES:
        values = values_of(model, seed, batch, free)
        found, expected = runs(values), run(model, values)
        if len(found) != len(expected):
            raise ValueError(f"{len(found)} outputs, Keras has {len(expected)}")
        pairs += zip(found, expected, strict=True)
    return pairs


def _onnx(model: keras.Model, seed: int, folder: Path) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """In ONNX Runtime, with another opset for every seed."""
    path = to_onnx(model, folder, OPSETS[seed % len(OPSETS)])
    names = [name_of(tensor) for tensor in model.inputs]
    return lambda values: run_onnx(path, dict(zip(names, values, strict=True)))


def _source(model: keras.Model, seed: int, folder: Path) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """In PyTorch, with the channels last throughout for every other seed."""
    path = to_source(model, folder, channels_last=seed % 2 == 1)
    return lambda values: run_source_file(path, values)


TARGETS: dict[str, Callable[[keras.Model, int, Path], Callable[[list[np.ndarray]], list[np.ndarray]]]] = {
    "onnx": _onnx,
    "py": _source,
}

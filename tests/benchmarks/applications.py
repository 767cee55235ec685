"""Every architecture of keras.applications, as ONNX and as PyTorch source, against Keras.

``applications.py [--to onnx|py] [--export] [NAME ...]``, by default all of them to both targets. Random weights, small
inputs, no softmax at the end. Prints for each the relative error of its logits, the seconds that the conversion took
and what was written; ``--export`` has ``torch.export`` trace the source and compares that, too. Exits with 1 where
anything differs by more than 1e-4. Takes about an hour for all.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import keras
import numpy as np
import onnx
import torch

import weightport as wp
from graph_checks import name_of, randomise, run_keras, run_onnx
from source_checks import exported_output, run_source_file

TOLERANCE = 1e-4
SIZES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}
USUAL_SIZE = 64
CHANNELS = 3
CLASSES = 10


@dataclass(frozen=True)
class Case:
    """One architecture: its file, its input by name, and what Keras gives."""

    name: str
    parameters: int
    path: Path
    values: dict[str, np.ndarray]
    expected: np.ndarray

    def error(self, found: np.ndarray) -> float:
        """The largest difference, relative to the largest logit. Raises ValueError where it is too large."""
        if found.shape != self.expected.shape or np.ptp(self.expected) == 0:
            raise ValueError(f"shapes {found.shape} and {self.expected.shape}, or logits that show nothing")
        error = float(np.abs(found - self.expected).max() / np.abs(self.expected).max())
        if not error <= TOLERANCE:
            raise ValueError(f"relative error {error:.1e}")
        return error


def architectures() -> list[str]:
    """The names of all models in keras.applications."""
    found = vars(keras.applications).items()
    return sorted(name for name, value in found if callable(value) and name[0].isupper())


def architecture(name: str, size: int) -> keras.Model:
    """The architecture, and no softmax at its end that would hide all but the largest number."""
    build = getattr(keras.applications, name)
    shape = (size, size, CHANNELS)
    model: keras.Model = build(weights=None, input_shape=shape, classes=CLASSES, classifier_activation=None)
    return model


def case(name: str, folder: Path) -> Case:
    """Build, randomise, save and run one architecture in Keras."""
    size = SIZES.get(name, USUAL_SIZE)
    model = architecture(name, size)
    steady(model)
    source = folder / f"{name}.keras"
    model.save(source)
    images = np.random.default_rng(0).uniform(0, 255, (2, size, size, CHANNELS)).astype("float32")
    values = {name_of(model.inputs[0]): images}
    made = Case(name, model.count_params(), source, values, run_keras(model, values)[0])
    del model
    keras.backend.clear_session()
    gc.collect()
    return made


def steady(model: keras.Model) -> None:
    """Random weights under which a deep network neither dies nor explodes."""
    randomise(model)
    for variable in model.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(np.random.default_rng(1).uniform(0.8, 1.2, variable.shape))


def in_onnx(one: Case, export: bool) -> str:
    """Run the ONNX graph; say how far it is from Keras, and how large it is."""
    target = one.path.with_suffix(".onnx")
    seconds = converted(one.path, target)
    error = one.error(run_onnx(target, one.values)[0])
    nodes = len(onnx.load(target, load_external_data=False).graph.node)
    return f"{error:9.1e} {seconds:7.1f} s {nodes:5d} nodes"


def in_source(one: Case, export: bool) -> str:
    """Run the PyTorch source; say how far it is from Keras, how long it is, and whether torch.export traces it."""
    target = one.path.with_suffix(".py")
    seconds = converted(one.path, target)
    values = list(one.values.values())
    error = one.error(run_source_file(target, values)[0])
    lines = len(target.read_text().splitlines())
    traced = f", torch.export {one.error(exported_output(target, values)[0]):.1e}" if export else ""
    return f"{error:9.1e} {seconds:7.1f} s {lines:5d} lines{traced}"


TARGETS: dict[str, Callable[[Case, bool], str]] = {"onnx": in_onnx, "py": in_source}


def converted(source: Path, target: Path) -> float:
    """The seconds that it takes."""
    start = time.perf_counter()
    wp.convert(source, target)
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=architectures())
    parser.add_argument("--to", choices=TARGETS, action="append")
    parser.add_argument("--export", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    failed = []
    for name in given.names:
        with tempfile.TemporaryDirectory() as folder:
            one = case(name, Path(folder))
            for to in given.to or TARGETS:
                try:
                    found = TARGETS[to](one, given.export)
                except (ValueError, RuntimeError, wp.WeightportError) as error:
                    failed.append(f"{name} as {to}")
                    found = f"FAILED {' '.join(str(error).split())[:300]}"
                print(f"{name:18} {one.parameters:12,d} {to:4} {found}", flush=True)
    print(f"{len(failed)} failed: {', '.join(failed)}" if failed else "all agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

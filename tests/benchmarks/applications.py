"""Every architecture of keras.applications as ONNX, against Keras: ``applications.py [NAME ...]``.

Random weights, small inputs. Prints for each the relative error, the seconds that the conversion took, the number of
nodes and the size of the file; exits with 1 where any differs by more than 1e-4. Takes about half an hour for all.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import keras
import numpy as np
import onnx

import weightport as wp
from graph_checks import name_of, randomise, run_keras, run_onnx

TOLERANCE = 1e-4
SIZES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}
USUAL_SIZE = 64
CHANNELS = 3


def architectures() -> list[str]:
    """The names of all models in keras.applications."""
    found = vars(keras.applications).items()
    return sorted(name for name, value in found if callable(value) and name[0].isupper())


def architecture(name: str, size: int) -> keras.Model:
    """The architecture with ten classes, and no softmax at its end that would hide all but the largest number."""
    build = getattr(keras.applications, name)
    model: keras.Model = build(weights=None, input_shape=(size, size, CHANNELS), classes=10, classifier_activation=None)
    return model


def relative_error(name: str, folder: Path) -> str:
    """Convert one architecture, run both, and say how far apart they are."""
    size = SIZES.get(name, USUAL_SIZE)
    model = architecture(name, size)
    steady(model)
    source, target = folder / f"{name}.keras", folder / f"{name}.onnx"
    model.save(source)
    values = {name_of(model.inputs[0]): np.random.default_rng(0).uniform(0, 255, (2, size, size, CHANNELS)).astype("f")}
    expected = run_keras(model, values)[0]
    parameters = model.count_params()
    del model
    gc.collect()
    start = time.perf_counter()
    wp.convert(source, target)
    seconds = time.perf_counter() - start
    found = run_onnx(target, values)[0]
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    nodes = len(onnx.load(target, load_external_data=False).graph.node)
    megabytes = target.stat().st_size / 1e6
    if not error <= TOLERANCE or np.ptp(expected) == 0:
        raise ValueError(f"{name}: relative error {error:.1e}")
    return f"{name:22} {parameters:12,d} {error:9.1e} {seconds:7.1f} s {nodes:5d} nodes {megabytes:8.1f} MB"


def steady(model: keras.Model) -> None:
    """Random weights under which a deep network neither dies nor explodes."""
    randomise(model)
    for variable in model.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(np.random.default_rng(1).uniform(0.8, 1.2, variable.shape))


def main() -> int:
    failed = []
    for name in sys.argv[1:] or architectures():
        keras.backend.clear_session()
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(relative_error(name, Path(folder)), flush=True)
            except (ValueError, wp.WeightportError) as error:
                failed.append(name)
                print(f"{name:22} FAILED {error}", flush=True)
    print(f"{len(failed)} failed: {', '.join(failed)}" if failed else "all agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

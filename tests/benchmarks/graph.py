"""Keras to ONNX beside ``keras.export``, in one run: seconds and memory to convert, nodes, size, seconds to run.

    pip install tf2onnx onnxscript      # what keras.export needs
    python tests/benchmarks/graph.py [--units 128] [--steps 200] [--batch 8]

The model is two bidirectional GRU layers and a dense one. Each conversion is a process of its own, start-up included;
memory is the peak of its resident pages. Times are those of the processor, which others that run at the same time do
not change much; running takes one thread, the best of fifteen.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from peers import TENSORFLOW, TORCH
from processes import Usage, run
from rich.console import Console
from rich.table import Table

FEATURES, CLASSES = 64, 32

MAKE = """
import keras, sys
from keras import layers
path, (features, units, classes) = sys.argv[1], map(int, sys.argv[2:])
inputs = keras.Input((None, features), name="x")
x = inputs
for _ in range(2):
    x = layers.Bidirectional(layers.GRU(units, return_sequences=True))(x)
keras.Model(inputs, layers.Dense(classes)(x)).save(path)
"""
EXPORT = """
import keras, sys
source, target, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]) or None
model = keras.saving.load_model(source)
model(keras.ops.zeros((1, steps or 2, model.input_shape[-1])))
signature = [keras.InputSpec(shape=(None, steps, model.input_shape[-1]), dtype="float32", name="x")]
model.export(target, format="onnx", verbose=False, input_signature=signature)
"""


@dataclass(frozen=True)
class Exported:
    """One way to convert: what it took, and the file that came of it."""

    name: str
    path: Path
    usage: Usage


@dataclass(frozen=True)
class Inference:
    """One thread's best time for a batch, and what it computed."""

    seconds: float
    output: np.ndarray


def main() -> None:
    """Convert each way, run each result, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("units", 128), ("steps", 200), ("batch", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    values = np.random.default_rng(0).normal(size=(options.batch, options.steps, FEATURES)).astype("float32")
    title = f"two bidirectional GRU layers of {options.units} units, {options.steps} steps, batch {options.batch}"
    table = Table("way", "convert", "peak memory", "nodes", "size", "run", "times ours", "|difference|", title=title)
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.keras"
        sizes = [str(size) for size in (FEATURES, options.units, CLASSES)]
        subprocess.run([sys.executable, "-c", MAKE, model, *sizes], check=True)
        ours, *theirs = conversions(model, options.steps)
        expected = inference(ours.path, values)
        table.add_row(*row(ours, expected, expected))
        for exported in theirs:
            try:
                table.add_row(*row(exported, inference(exported.path, values), expected))
            except Exception as error:  # a graph that does not load, or takes other inputs
                problems.append(f"{exported.name}: {exported.usage.problem or error}")
    table.caption = "\n".join(problems) or None
    Console(width=128).print(table)


def conversions(model: Path, steps: int) -> Iterator[Exported]:
    """Ours first, then ``keras.export`` of both backends, for any number of steps and for one."""
    target = model.with_name("ours.onnx")
    yield Exported("weightport", target, run([sys.executable, "-m", "weightport", "convert", model, target]))
    for backend, environment in (("TensorFlow", TENSORFLOW), ("PyTorch", TORCH)):
        for length, words in ((0, "any length"), (steps, f"{steps} steps")):
            target = model.with_name(f"{backend}-{length}.onnx")
            usage = run([sys.executable, "-c", EXPORT, model, target, length], environment=environment)
            yield Exported(f"keras.export, {backend}, {words}", target, usage)


def inference(path: Path, values: np.ndarray) -> Inference:
    """The best of fifteen runs after a first one."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: values}
    (output,) = session.run(None, given)
    seconds = []
    for _ in range(15):
        start = time.process_time()
        session.run(None, given)
        seconds.append(time.process_time() - start)
    return Inference(min(seconds), output)


def row(exported: Exported, found: Inference, expected: Inference) -> list[str]:
    """The figures of one way, beside ours."""
    files = exported.path.parent.glob(f"{exported.path.name}*")
    return [
        exported.name,
        f"{exported.usage.processor:.1f} s",
        f"{exported.usage.peak:.0f} MB",
        str(nodes(onnx.load(exported.path, load_external_data=False).graph)),
        f"{sum(file.stat().st_size for file in files) / 1e6:.1f} MB",
        f"{found.seconds * 1e3:.1f} ms",
        f"{found.seconds / expected.seconds:.2f}",
        f"{np.abs(found.output - expected.output).max():.1e}",
    ]


def nodes(graph: onnx.GraphProto) -> int:
    """All nodes, those of inner graphs too."""
    inner = (attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g"))
    return len(graph.node) + sum(map(nodes, inner))


if __name__ == "__main__":
    main()

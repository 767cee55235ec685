"""Keras to ONNX beside ``keras.export``, in one run: seconds and memory to convert, nodes, size, seconds to run.

    pip install tf2onnx onnxscript      # what keras.export needs
    python tests/benchmarks/graph.py [--units 128] [--steps 200] [--batch 8]

The model is two bidirectional GRU layers and a dense one. Each conversion is a process of its own, start-up included;
memory is the peak of its resident pages. Times are those of the processor, which others that run at the same time do
not change much; running takes one thread, the best of fifteen.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from rich.console import Console
from rich.table import Table

FEATURES, CLASSES = 64, 32

MAKE = """
import keras, sys
from keras import layers
inputs = keras.Input((None, {features}), name="x")
x = inputs
for _ in range(2):
    x = layers.Bidirectional(layers.GRU({units}, return_sequences=True))(x)
keras.Model(inputs, layers.Dense({classes})(x)).save(sys.argv[1])
"""
EXPORT = """
import keras, sys
model = keras.saving.load_model(sys.argv[1])
signature = [keras.InputSpec(shape=({batch}, {steps}, {features}), dtype="float32", name="x")]
model(keras.ops.zeros(({batch}, {steps}, {features})))
model.export(sys.argv[2], format="onnx", verbose=False, input_signature=signature)
"""


@dataclass(frozen=True)
class Measured:
    """One way to convert: what it took, and what came out of it."""

    name: str
    seconds: float
    megabytes: float
    path: Path
    problem: str = ""


def main() -> None:
    """Convert each way, run each result, print the table."""
    parser = argparse.ArgumentParser()
    for name, default in (("units", 128), ("steps", 200), ("batch", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    sizes = vars(parser.parse_args()) | {"features": FEATURES, "classes": CLASSES}
    with tempfile.TemporaryDirectory() as folder:
        measured = [*_conversions(Path(folder), sizes)]
        _show(measured, sizes)


def _conversions(folder: Path, sizes: dict[str, int]) -> list[Measured]:
    source = folder / "model.keras"
    tensorflow = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", MAKE.format(**sizes), str(source)], env=tensorflow, check=True)
    ways = {"weightport": ([sys.executable, "-m", "weightport", "convert"], dict(os.environ))}
    for steps, word in ((None, "free"), (sizes["steps"], f"{sizes['steps']} steps")):
        code = EXPORT.format(**{**sizes, "steps": steps, "batch": None}).replace(
            "keras.ops.zeros((None, None", "keras.ops.zeros((1, 2"
        )
        code = code.replace("keras.ops.zeros((None,", "keras.ops.zeros((1,")
        for backend in ("tensorflow", "torch"):
            ways[f"keras.export, {backend}, {word}"] = (
                [sys.executable, "-c", code],
                {**tensorflow, "KERAS_BACKEND": backend},
            )
    return [_converted(name, command, environment, source, folder) for name, (command, environment) in ways.items()]


def _converted(name: str, command: list[str], environment: dict[str, str], source: Path, folder: Path) -> Measured:
    target = folder / f"{name.replace(' ', '_')}.onnx"
    process = subprocess.Popen(
        [*command, str(source), str(target)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = usage.ru_utime + usage.ru_stime
    problem = "" if status == 0 and target.exists() else (output.strip().splitlines() or ["failed"])[-1][:90]
    return Measured(name, seconds, usage.ru_maxrss / 1e3, target, problem)


def _run(path: Path, values: np.ndarray) -> tuple[float, np.ndarray]:
    """The best of fifteen runs with one thread, and the output."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: values}
    seconds = []
    for _ in range(16):
        start = time.process_time()
        (output,) = session.run(None, given)
        seconds.append(time.process_time() - start)
    return min(seconds[1:]), output


def _nodes(path: Path) -> int:
    """All nodes, those of inner graphs too."""

    def count(graph: onnx.GraphProto) -> int:
        inner = sum(
            count(attribute.g) for node in graph.node for attribute in node.attribute if attribute.HasField("g")
        )
        return len(graph.node) + inner

    return count(onnx.load(path, load_external_data=False).graph)


def _size(path: Path) -> float:
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*")) / 1e6


def _show(measured: list[Measured], sizes: dict[str, int]) -> None:
    values = np.random.default_rng(0).normal(size=(sizes["batch"], sizes["steps"], FEATURES)).astype("float32")
    table = Table("way", "convert", "peak memory", "nodes", "size", "run", "against ours", "|difference|")
    ours, expected = _run(measured[0].path, values)
    for one in measured:
        if one.problem:
            table.add_row(one.name, f"{one.seconds:.1f} s", f"{one.megabytes:.0f} MB", one.problem)
            continue
        try:
            seconds, output = _run(one.path, values)
        except Exception as error:
            table.add_row(one.name, f"{one.seconds:.1f} s", f"{one.megabytes:.0f} MB", str(error)[:90])
            continue
        table.add_row(
            one.name,
            f"{one.seconds:.1f} s",
            f"{one.megabytes:.0f} MB",
            str(_nodes(one.path)),
            f"{_size(one.path):.1f} MB",
            f"{seconds * 1e3:.1f} ms",
            f"{seconds / ours:.2f}x",
            f"{np.abs(output - expected).max():.1e}",
        )
    console = Console(width=160)
    console.print(
        f"two bidirectional GRU layers of {sizes['units']} units, {sizes['steps']} steps, batch {sizes['batch']}"
    )
    console.print(table)


if __name__ == "__main__":
    main()

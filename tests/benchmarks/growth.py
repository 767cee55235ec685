"""How the time grows with the number of layers: seconds of the processor, and milliseconds a layer, which should stay
flat.

    python tests/benchmarks/growth.py [--layers 100 1000 20000]

Each layer is dense with two tensors. The Keras file is a Functional model; the PyTorch template has the same layers
under the same names, or under other names (pairs then follow from order and shape).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
from rich.console import Console
from rich.table import Table
from safetensors.numpy import save_file

import weightport as wp

IN = 4


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, nargs="*", default=[100, 1000, 20000])
    options = parser.parse_args()
    table = Table(title="dense layers of different widths, the first of 4 x 4")
    table.add_column("conversion")
    for count in options.layers:
        table.add_column(f"{count:,} layers", justify="right")
    rows: dict[str, list[str]] = {}
    for count in options.layers:
        with tempfile.TemporaryDirectory() as name:
            for title, seconds in conversions(Path(name), count):
                rows.setdefault(title, []).append(f"{seconds:.2f} s, {1000 * seconds / count:.2f} ms")
    for title, figures in rows.items():
        table.add_row(title, *figures)
    Console(width=120).print(table)


def conversions(folder: Path, count: int):
    """Each conversion and how long it took."""
    keras, same, other = folder / "model.keras", folder / "same.safetensors", folder / "other.safetensors"
    keras_file(keras, count)
    state_dict(same, [f"dense_{index}" for index in range(count)])
    state_dict(other, [f"blocks.{index}.linear" for index in range(count)])
    yield "Keras to safetensors", seconds(keras, folder / "a.safetensors")
    yield "Keras to PyTorch", seconds(keras, folder / "a.pt")
    yield "safetensors to Keras, by name", seconds(same, folder / "b.keras", keras)
    yield "Keras to safetensors, by name", seconds(keras, folder / "c.safetensors", same)
    yield "safetensors to safetensors, other names", seconds(same, folder / "d.safetensors", other)


def seconds(source: Path, target: Path, into: Path | None = None) -> float:
    """How long the processor is busy with one conversion."""
    start = time.process_time()
    wp.convert(source, target, into=into)
    return time.process_time() - start


def shape_of(index: int) -> tuple[int, int]:
    """Every layer has its own width, so that layers pair by their shapes."""
    return IN, IN + index


def state_dict(path: Path, names: list[str]) -> None:
    """Linear layers in the order of their names."""
    generator = np.random.default_rng(1)
    tensors = {}
    for index, name in enumerate(names):
        inputs, outputs = shape_of(index % 1000)
        tensors[f"{name}.weight"] = generator.random((outputs, inputs), np.float32)
        tensors[f"{name}.bias"] = generator.random(outputs, np.float32)
    save_file(tensors, path)


def keras_file(path: Path, count: int) -> None:
    """A model whose dense layers all read its input, as Keras 3 writes it."""
    layers = [input_layer(), *(dense_layer(index) for index in range(count))]
    outputs = [[f"dense_{index}", 0, 0] for index in range(count)]
    config = {"name": "model", "layers": layers, "input_layers": [["input", 0, 0]], "output_layers": outputs}
    model = {"module": "keras", "class_name": "Functional", "config": config}
    weights = path.with_suffix(".weights.h5")
    generator = np.random.default_rng(1)
    with h5py.File(weights, "w", libver="earliest") as file:
        for index in range(count):
            group = file.create_group("layers/dense" + (f"_{index}" if index else "") + "/vars")
            group.attrs["name"] = f"dense_{index}"
            inputs, outputs = shape_of(index % 1000)
            group.create_dataset("0", data=generator.random((inputs, outputs), np.float32))
            group.create_dataset("1", data=generator.random(outputs, np.float32))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}))
        archive.writestr("config.json", json.dumps(model))
        archive.write(weights, "model.weights.h5")


def input_layer() -> dict[str, object]:
    """The model's input as a config has it."""
    config = {"name": "input", "batch_shape": [None, IN], "dtype": "float32"}
    return {
        "module": "keras.layers",
        "class_name": "InputLayer",
        "name": "input",
        "config": config,
        "inbound_nodes": [],
    }


def dense_layer(index: int) -> dict[str, object]:
    """A dense layer as a config has it."""
    name = f"dense_{index}"
    config = {"name": name, "units": shape_of(index % 1000)[1], "activation": "linear", "use_bias": True}
    history = {"shape": [None, IN], "dtype": "float32", "keras_history": ["input", 0, 0]}
    node = {"args": [{"class_name": "__keras_tensor__", "config": history}], "kwargs": {}}
    return {"module": "keras.layers", "class_name": "Dense", "name": name, "config": config, "inbound_nodes": [node]}


if __name__ == "__main__":
    main()

"""How long conversions take beside ``cp`` of the same bytes in the same run, and how much memory they need.

    python tests/benchmarks/conversions.py [--gigabytes 0.01 1 4] [--kinds recurrent dense convolution] [--keep FOLDER]

By hand means what users do today: load the model with Keras, transpose, save with PyTorch.

Peak memory is the kernel's high-water mark of the process (resident pages, those of mapped files included), and the
part of it that is the process's own (anonymous). Start-up is the best of five.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
from rich.console import Console
from rich.table import Table

UNIT = 2048
CLASSES = {"recurrent": "LSTM", "dense": "Dense", "convolution": "Conv2D"}

SAMPLER = r"""
import re, runpy, sys, threading
peak = {"own": 0}
def sample():
    while True:
        text = open("/proc/self/status").read()
        peak["own"] = max(peak["own"], int(re.search(r"RssAnon:\s+(\d+)", text)[1]))
        stop.wait(0.01)
        if stop.is_set():
            return
stop = threading.Event()
thread = threading.Thread(target=sample, daemon=True)
thread.start()
sys.argv = ["weightport", *sys.argv[1:]]
try:
    runpy.run_module("weightport", run_name="__main__")
except SystemExit as end:
    code = end.code
stop.set(); thread.join()
status = open("/proc/self/status").read()
print("PEAK", re.search(r"VmHWM:\s+(\d+)", status)[1], peak["own"], file=sys.stderr)
sys.exit(code)
"""


BY_HAND = r"""
import os, sys
os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")
import keras, numpy as np, torch
model = keras.saving.load_model(sys.argv[1], compile=False)
state = {}
for layer in model.layers:
    for index, array in enumerate(layer.get_weights()):
        axes = (3, 2, 0, 1) if array.ndim == 4 else tuple(range(array.ndim))[::-1]
        state[f"{layer.name}.{index}"] = torch.from_numpy(np.ascontiguousarray(array.transpose(axes)))
torch.save(state, sys.argv[2])
"""


def main() -> None:
    """Make the files, convert each way, print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, nargs="*", default=[0.01, 1.0])
    parser.add_argument("--kinds", nargs="*", choices=CLASSES, default=list(CLASSES))
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="weightport-benchmark-"))
    folder.mkdir(exist_ok=True)
    try:
        start_up()
        for gigabytes in options.gigabytes:
            for kind in options.kinds:
                conversions(folder, gigabytes, kind)
    finally:
        if not options.keep:
            shutil.rmtree(folder)


def start_up() -> None:
    """How long the command takes to say what it can do, beside what it costs to import NumPy."""
    table = Table(title="start-up, seconds")
    table.add_column("command")
    table.add_column("best of five", justify="right")
    model = next((Path(__file__).parents[2] / "fixtures" / "keras").glob("netra*/*.keras"))
    commands = {
        "python -c 'import numpy'": [sys.executable, "-c", "import numpy"],
        "weightport --help": [sys.executable, "-m", "weightport", "--help"],
        "weightport inspect model.keras": [sys.executable, "-m", "weightport", "inspect", str(model)],
    }
    for name, command in commands.items():
        times = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times.append(time.perf_counter() - start)
        table.add_row(name, f"{min(times):.2f}")
    Console().print(table)


def conversions(folder: Path, gigabytes: float, kind: str) -> None:
    """Every way between the formats of a model of this kind and size."""
    model = folder / "model.keras"
    make_model(model, gigabytes, kind)
    ways = [
        ("model.keras", "model.safetensors", None),
        ("model.keras", "model.pt", None),
        ("model.safetensors", "back.keras", "model.keras"),
        ("model.pt", "again.safetensors", "model.safetensors"),
    ]
    table = Table(title=f"{CLASSES[kind]} layers, {model.stat().st_size / 1e9:.2f} GB")
    for column in ("from", "to", "seconds", "cp", "ratio", "GB/s", "peak MB", "own MB", "tensor MB"):
        table.add_column(column, justify="left" if column in {"from", "to"} else "right")
    largest = 4 * max(np.prod(shape) for shape in shapes_of(kind)) / 1e6
    for source, target, template in ways:
        copied = seconds_of(lambda source=source: copy_file(folder / source, folder / "copy"))
        (folder / "copy").unlink()
        (folder / target).unlink(missing_ok=True)
        into = ("--into", str(folder / template)) if template else ()
        seconds, peak, own = convert(folder / source, folder / target, *into)
        size = (folder / source).stat().st_size / 1e9
        figures = [f"{seconds:.2f}", f"{copied:.2f}", f"{seconds / copied:.2f}", f"{size / seconds:.2f}"]
        table.add_row(source, target, *figures, f"{peak:.0f}", f"{own:.0f}", f"{largest:.0f}")
    seconds = seconds_of(lambda: subprocess.run([sys.executable, "-c", BY_HAND, model, folder / "hand.pt"], check=True))
    table.add_row("by hand", "model.pt", f"{seconds:.2f}", "", "", f"{model.stat().st_size / seconds / 1e9:.2f}")
    Console(width=120).print(table)


def seconds_of(action) -> float:
    """How long an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def copy_file(source: Path, target: Path) -> None:
    """``cp`` and what it takes to have the bytes on the disk, as a conversion does."""
    subprocess.run(["cp", str(source), str(target)], check=True)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def convert(source: Path, target: Path, *options: str) -> tuple[float, float, float]:
    """Seconds, peak resident and peak own memory in MB of one conversion by the command line."""
    command = [sys.executable, "-c", SAMPLER, "convert", str(source), str(target), "--overwrite", *options]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stderr)
    _, peak, own = done.stderr.strip().splitlines()[-1].split()
    return seconds, int(peak) / 1e3, int(own) / 1e3


def make_model(path: Path, gigabytes: float, kind: str) -> None:
    """A Keras file of stacked layers as Keras writes it, without Keras."""
    shapes = shapes_of(kind)
    layers = max(1, round(gigabytes * 1e9 / (4 * sum(np.prod(shape) for shape in shapes))))
    if gigabytes < 4 * max(np.prod(shape) for shape in shapes) / 1e9:
        shapes = [tuple(max(size // 4, 1) if size > 64 else size for size in shape) for shape in shapes]
    word = {"recurrent": "lstm", "dense": "dense", "convolution": "conv2d"}[kind]
    names = [word if index == 0 else f"{word}_{index}" for index in range(layers)]
    first = input_config(kind, shapes)
    config = {"name": "model", "layers": [first, *(layer_config(name, kind, shapes) for name in names)]}
    weights = path.with_suffix(".weights.h5")
    generator = np.random.default_rng(1)
    with h5py.File(weights, "w", libver="earliest") as file:
        for name in names:
            group = file.create_group(f"layers/{name}/cell/vars" if kind == "recurrent" else f"layers/{name}/vars")
            group.attrs["name"] = "lstm_cell" if kind == "recurrent" else name
            if kind == "recurrent":
                file.create_group(f"layers/{name}/vars").attrs["name"] = name
            for index, shape in enumerate(shapes):
                group.create_dataset(str(index), data=generator.random(shape, np.float32))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}))
        archive.writestr("config.json", json.dumps(MODEL | {"config": config}))
        archive.write(weights, "model.weights.h5")
    weights.unlink()


MODEL = {"module": "keras", "class_name": "Sequential", "registered_name": None}


def shapes_of(kind: str) -> list[tuple[int, ...]]:
    """The shapes of one layer's tensors."""
    if kind == "recurrent":
        return [(UNIT, 4 * UNIT), (UNIT, 4 * UNIT), (4 * UNIT,)]
    return [(2 * UNIT, 2 * UNIT), (2 * UNIT,)] if kind == "dense" else [(3, 3, UNIT // 2, UNIT // 2), (UNIT // 2,)]


def input_config(kind: str, shapes: list[tuple[int, ...]]) -> dict[str, object]:
    """The model's input as a Keras config has it."""
    size = shapes[0][-2]
    shape = {"recurrent": [None, None, size], "dense": [None, size], "convolution": [None, 9, 9, size]}[kind]
    return {"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": shape, "name": "input"}}


def layer_config(name: str, kind: str, shapes: list[tuple[int, ...]]) -> dict[str, object]:
    """A layer as a Keras config has it."""
    own: dict[str, object] = {"units": shapes[0][-1]}
    if kind == "recurrent":
        own = {"units": shapes[0][-1] // 4, "recurrent_activation": "sigmoid", "return_sequences": True}
    if kind == "convolution":
        own = {"filters": shapes[0][-1], "kernel_size": [3, 3], "padding": "same"}
    config = {"name": name, "activation": "tanh", "use_bias": True, **own}
    build = {"input_shape": [None, None, shapes[0][-2]]} if kind == "recurrent" else None
    return {"module": "keras.layers", "class_name": CLASSES[kind], "config": config, "build_config": build}


if __name__ == "__main__":
    main()

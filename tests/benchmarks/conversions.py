"""How long conversions take beside ``cp`` of the same bytes in the same run, and how much memory they need.

    python tests/benchmarks/conversions.py [--gigabytes 1] [--keep FOLDER]

Peak memory is the kernel's high-water mark of the process (resident pages, those of mapped files included), and the
part of it that is the process's own (anonymous). Start-up is the best of five.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from rich.console import Console
from rich.table import Table

LAYERS, IN, UNIT = 3, 1024, 2048

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


def main() -> None:
    """Make the files, convert each way, print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="weightport-benchmark-"))
    folder.mkdir(exist_ok=True)
    try:
        start_up()
        conversions(folder, options.gigabytes)
    finally:
        if not options.keep:
            shutil.rmtree(folder)


def start_up() -> None:
    """How long the command takes to say what it can do, beside what it costs to import NumPy."""
    table = Table(title="start-up, seconds")
    table.add_column("command")
    table.add_column("best of five", justify="right")
    model = next((Path(__file__).parents[2] / "fixtures" / "keras").glob("*/*.keras"))
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


def conversions(folder: Path, gigabytes: float) -> None:
    """Every way between the formats of a recurrent model of this size."""
    model = folder / "model.keras"
    make_model(model, gigabytes)
    ways = [
        ("model.keras", "model.safetensors", None),
        ("model.keras", "model.pt", None),
        ("model.safetensors", "back.keras", "model.keras"),
        ("model.pt", "again.safetensors", "model.safetensors"),
    ]
    table = Table(title=f"LSTM layers, {model.stat().st_size / 1e9:.2f} GB")
    for column in ("from", "to", "seconds", "cp", "ratio", "GB/s", "peak MB", "own MB", "tensor MB"):
        table.add_column(column, justify="left" if column in {"from", "to"} else "right")
    largest = 4 * UNIT * UNIT * 4 / 1e6
    for source, target, template in ways:
        copied = seconds_of(lambda source=source: copy_file(folder / source, folder / "copy"))
        (folder / "copy").unlink()
        (folder / target).unlink(missing_ok=True)
        into = ("--into", str(folder / template)) if template else ()
        seconds, peak, own = convert(folder / source, folder / target, *into)
        size = (folder / source).stat().st_size / 1e9
        figures = [f"{seconds:.2f}", f"{copied:.2f}", f"{seconds / copied:.2f}", f"{size / seconds:.2f}"]
        table.add_row(source, target, *figures, f"{peak:.0f}", f"{own:.0f}", f"{largest:.0f}")
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


def make_model(path: Path, gigabytes: float) -> None:
    """A Keras file of stacked LSTM layers as Keras writes it, without Keras."""
    import json
    import zipfile

    per_layer = 4 * (4 * UNIT * (UNIT + UNIT) + 4 * UNIT)
    layers = max(1, round(gigabytes * 1e9 / per_layer))
    names = ["lstm" if index == 0 else f"lstm_{index}" for index in range(layers)]
    config = {
        "class_name": "Sequential",
        "config": {"name": "model", "layers": [layer_config(name) for name in names]},
    }
    weights = path.with_suffix(".weights.h5")
    generator = np.random.default_rng(1)
    with h5py.File(weights, "w", libver="earliest") as file:
        for name in names:
            group = file.create_group(f"layers/{name}/cell/vars")
            group.attrs["name"] = "lstm_cell"
            file.create_group(f"layers/{name}/vars").attrs["name"] = name
            for index, shape in enumerate(((UNIT, 4 * UNIT), (UNIT, 4 * UNIT), (4 * UNIT,))):
                group.create_dataset(str(index), data=generator.random(shape, np.float32))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}))
        archive.writestr("config.json", json.dumps(config))
        archive.write(weights, "model.weights.h5")
    weights.unlink()


def layer_config(name: str) -> dict[str, object]:
    """An LSTM layer as a Keras config has it."""
    settings = {"name": name, "units": UNIT, "activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}
    return {"module": "keras.layers", "class_name": "LSTM", "config": {**settings, "return_sequences": True}}


if __name__ == "__main__":
    main()

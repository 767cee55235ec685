"""How long conversions take beside ``cp`` of the same bytes in the same run, and how much memory they need.

    python tests/benchmarks/conversions.py [--gigabytes 0.01 1 4] [--kinds recurrent dense convolution]
                                           [--repeat 3] [--limit 300] [--folder FOLDER]

``cp`` and conversions take turns, and both end when their bytes are on the disk; the best of each is shown. The peers
(`peers.py`) run once each, for ``--limit`` seconds at most. Start-up is the best of ten.
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

from peers import PEERS
from processes import Usage, run
from rich.console import Console
from rich.table import Table
from synthetic import CLASSES, SyntheticModel

WEIGHTPORT = [sys.executable, "-m", "weightport"]
FIXTURES = Path(__file__).parents[2] / "fixtures" / "keras"


@dataclass(frozen=True)
class Way:
    """One conversion: what from, what to, and the file that has the target's structure where one is needed."""

    source: str
    target: str
    into: str | None = None
    options: tuple[str, ...] = ()

    def command(self, folder: Path) -> list[object]:
        """The command line of it."""
        into = ["--into", folder / self.into] if self.into else []
        files = [folder / self.source, folder / self.target]
        return [*WEIGHTPORT, "convert", *files, *into, *self.options, "--overwrite"]


WAYS = (
    Way("model.keras", "model.safetensors"),
    Way("model.keras", "model.pt"),
    Way("model.keras", "model.onnx"),
    Way("model.keras", "model.weights.h5"),
    Way("model.keras", "shards.safetensors.index.json", options=("--shard-size", "500MB")),
    Way("model.h5", "from-h5.safetensors"),
    Way("model.safetensors", "back.keras", into="model.keras"),
    Way("model.safetensors", "back.h5", into="model.h5"),
    Way("model.pt", "back.keras", into="model.keras"),
    Way("model.pt", "back.onnx", into="model.onnx"),
    Way("model.onnx", "back.keras", into="model.keras"),
    Way("model.onnx", "from-onnx.safetensors"),
    Way("shards.safetensors.index.json", "joined.safetensors", into="model.safetensors"),
)
SOURCES = {way.source for way in WAYS}


def main() -> None:
    """Make the files, convert each way, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, nargs="*", default=[0.01, 1.0])
    parser.add_argument("--kinds", nargs="*", choices=CLASSES, default=list(CLASSES))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--limit", type=float, default=300)
    parser.add_argument("--folder", type=Path, help="where the files are made; the system's temporary folder if absent")
    options = parser.parse_args()
    show(start_up())
    for gigabytes in options.gigabytes:
        for kind in options.kinds:
            with tempfile.TemporaryDirectory(prefix="weightport-benchmark-", dir=options.folder) as folder:
                show(conversions(Path(folder), SyntheticModel(kind, gigabytes), options.repeat, options.limit))


def show(table: Table) -> None:
    """Print a table as soon as it is there."""
    Console(width=128).print(table)


def start_up() -> Table:
    """How long the command takes to say what it can do, beside what it costs to import NumPy."""
    model = next(FIXTURES.glob("netra*/*.keras"))
    commands: dict[str, list[object]] = {
        "python -c 'import numpy'": [sys.executable, "-c", "import numpy"],
        "weightport --help": [*WEIGHTPORT, "--help"],
        "weightport inspect model.keras": [*WEIGHTPORT, "inspect", model],
    }
    table = Table("command", "seconds", title="start-up")
    for name, command in commands.items():
        table.add_row(name, f"{min(run(command).seconds for _ in range(10)):.2f}")
    return table


def conversions(folder: Path, model: SyntheticModel, repeat: int, limit: float) -> Table:
    """Every way between the formats of one model, and the peers that can do a part of it."""
    model.write_keras(folder / "model.keras")
    model.write_legacy(folder / "model.h5")
    size = (folder / "model.keras").stat().st_size / 1e9
    title = f"{len(model.names)} {CLASSES[model.kind]} layers, {size:.2f} GB, largest tensor {model.largest:.0f} MB"
    table = Table("from", "to", title=title)
    for column in ("seconds", "times cp", "GB/s", "peak MB", "own MB", "times ours"):
        table.add_column(column, justify="right")
    ours = {}
    for way in WAYS:
        copied, usage = fastest(folder, way, repeat)
        ours[way.source, Path(way.target).suffix] = usage.seconds
        table.add_row(way.source, way.target, *figures(usage, size, usage.seconds / copied))
    problems = []
    for peer in PEERS:
        target = folder / f"peer{peer.suffix}"
        usage = run(peer.command(folder / "model.keras", target), limit=limit, environment=peer.environment)
        if usage.problem:
            problems.append(f"{peer.name}: {usage.problem}")
            continue
        times = usage.seconds / ours["model.keras", peer.suffix]
        table.add_row(peer.name, target.name, *figures(usage, size, None), f"{times:.1f}")
        target.unlink()
    table.caption = "\n".join(problems) or None
    return table


def figures(usage: Usage, size: float, ratio: float | None) -> list[str]:
    """What one way took, as the table shows it."""
    memory = f"{usage.peak:.0f}", f"{usage.own:.0f}"
    return [f"{usage.seconds:.2f}", f"{ratio:.2f}" if ratio else "", f"{size / usage.seconds:.2f}", *memory]


def fastest(folder: Path, way: Way, repeat: int) -> tuple[float, Usage]:
    """The fastest ``cp`` and the fastest conversion of ``repeat``, in turn; a failed conversion ends the benchmark."""
    copies, usages = [], []
    for _ in range(repeat):
        copies.append(seconds_to_copy(folder / "model.keras", folder / "copy"))
        usages.append(run(way.command(folder)))
        if usages[-1].problem:
            raise SystemExit(f"{way.source} to {way.target}: {usages[-1].problem}")
    if way.target not in SOURCES:
        (folder / way.target).unlink()
    return min(copies), min(usages, key=lambda usage: usage.seconds)


def seconds_to_copy(source: Path, target: Path) -> float:
    """``cp`` and what it takes to have the bytes on the disk, as a conversion does."""
    start = time.perf_counter()
    subprocess.run(["cp", source, target], check=True)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    seconds = time.perf_counter() - start
    target.unlink()
    return seconds


if __name__ == "__main__":
    main()

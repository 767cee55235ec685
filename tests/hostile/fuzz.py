"""The fuzzer: mutated checkpoints into every reader, for as long as one likes.

    python tests/hostile/fuzz.py --minutes 10
    python tests/hostile/fuzz.py --reader onnx --runs 100000

Only the project's own error may leave a reader, in one line, within seconds, and without the memory growing. What
breaks that is kept in ``tests/hostile/regressions/``, where ``test_fuzzing.py`` reads it again ever after.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

import mutations  # noqa: E402
from attacks import Place, all_attacks  # noqa: E402
from attacks._honest import HONEST, keras_members, zipped  # noqa: E402

REGRESSIONS = HERE / "regressions"
SECONDS = 5.0
"""Of the processor's time, for one file of some kilobytes."""
GROWTH = 1 << 28
"""Bytes of memory by which one file may push the process's peak."""
FIXTURES = sorted((HERE.parents[1] / "fixtures" / "keras" / "keras-2.12").glob("model.*"))
KERAS_FILE = next(path for path in FIXTURES if path.name == "model.keras")
LARGEST_SEED = 20_000
LONGEST_LINE = 2000
SLICE = 1.0
"""Seconds of the processor's time for one reader before the next has its turn."""


class Hang(BaseException):
    """The reader took too long."""


@dataclass
class Reader:
    """What is fuzzed: how its files are called, what they start from, how they are changed, and what opens them."""

    name: str
    file: str
    mutate: mutations.Mutate
    honest: list[bytes] = field(default_factory=list)
    seeds: list[bytes] = field(default_factory=list)
    runs: int = 0
    refused: int = 0
    slowest: float = 0.0


READERS: Mapping[str, tuple[str, mutations.Mutate]] = {
    "pickle": ("data.pkl", mutations.of_pickle),
    "pt": ("model.pt", mutations.of_zip(mutations.of_bytes)),
    "pth": ("model.pth", mutations.of_pickle),
    "safetensors": ("model.safetensors", mutations.of_safetensors),
    "index": ("model.safetensors.index.json", mutations.of_json),
    "onnx": ("model.onnx", mutations.of_message),
    "keras": ("model.keras", mutations.of_zip(mutations.of_hdf5)),
    "weights.h5": ("model.weights.h5", mutations.of_hdf5),
    "h5": ("model.h5", mutations.of_hdf5),
    "config": ("config.json", mutations.of_json),
    "npz": ("model.npz", mutations.of_zip(mutations.of_bytes)),
    "msgpack": ("model.msgpack", mutations.of_bytes),
}


def readers() -> dict[str, Reader]:
    """Every reader with its seeds: honest files, and the attacks that are small."""
    made = {name: Reader(name, file, mutate) for name, (file, mutate) in READERS.items()}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in HONEST.items():
            _reader_of(made, name).honest.append(make(Path(folder) / name).read_bytes())
        for number, attack in enumerate(all_attacks().values()):
            path = attack.make(Place.made(Path(folder) / str(number)))
            if path.is_file() and path.stat().st_size < LARGEST_SEED:
                _reader_of(made, path.name).seeds.append(path.read_bytes())
    for path in FIXTURES:
        _reader_of(made, path.name).honest.append(path.read_bytes())
    for name, data in _rich():
        _reader_of(made, name).honest.append(data)
    made["config"].seeds = [keras_members()["config.json"]]
    made["pickle"].honest = [pickle for data in made["pt"].honest for pickle in _pickles(data)]
    made["pickle"].seeds = [pickle for data in made["pt"].seeds for pickle in _pickles(data)]
    return made


def _rich() -> Iterator[tuple[str, bytes]]:
    """Files with every kind of thing that real ones have."""
    import torch

    from onnx_models import external, graph_model, recurrent, rich_model

    yield "model.onnx", graph_model([external("kernel", 3, 2, location="w.bin")]).SerializeToString()
    yield "config.json", _members(KERAS_FILE)["config.json"]
    for path in sorted((HERE.parents[1] / "fixtures" / "flax").glob("*.msgpack")):
        yield path.name, path.read_bytes()
    yield "model.npz", (HERE.parents[1] / "fixtures" / "mlx" / "model.npz").read_bytes()
    weight_map = dict.fromkeys(("dense.weight", "dense.bias"), "shard.safetensors")
    yield READERS["index"][0], json.dumps({"metadata": {"total_size": 32}, "weight_map": weight_map}).encode()

    yield "model.onnx", rich_model().SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        yield "model.onnx", recurrent("GRU", Path(folder) / "model.onnx", directions=2).read_bytes()
    flat = torch.arange(12.0)
    state = {
        "lstm.weight_ih_l0": torch.nn.Parameter(torch.ones(8, 3)),
        "lstm.weight_hh_l0": torch.ones(8, 2, dtype=torch.float16),
        "lstm.bias_ih_l0": flat[:8],
        "turned": flat[4:].view(2, 4).t(),
        "small": torch.ones(3).to(torch.float8_e4m3fn),
        "empty": torch.zeros(0, 3),
    }
    module = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    training = {
        "state_dict": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(lr=0.1),
    }
    for value in (state, training, module.state_dict()):
        for name, new in (("model.pt", True), ("model.pth", False)):
            file = io.BytesIO()
            torch.save(value, file, _use_new_zipfile_serialization=new)
            yield name, file.getvalue()


def _reader_of(made: Mapping[str, Reader], name: str) -> Reader:
    fitting = [reader for reader in made.values() if name.endswith(reader.file.removeprefix("model"))]
    return max(fitting, key=lambda reader: len(reader.file), default=made["pt"])


def _pickles(data: bytes) -> list[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [e for e in archive.infolist() if e.filename.endswith("/data.pkl") and e.file_size < LARGEST_SEED]
            return [archive.read(entry) for entry in entries[:1]]
    except Exception:
        return []


def run(reader: Reader, data: bytes, folder: Path) -> str | None:
    """Open a file and read all of it. Returns why that is a finding, or None."""
    from weightport.errors import WeightportError

    peak, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        _open(reader, data, folder)
    except WeightportError as error:
        reader.refused += 1
        if len(str(error).split("\n")[0]) > LONGEST_LINE:
            return "a line that is too long"
    except Hang:
        return "hang"
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = next((f for f in reversed(frames) if "weightport" in f.filename), frames[-1])
        return f"{type(error).__name__} at {Path(place.filename).name}:{place.name}: {str(error)[:100]}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        reader.runs += 1
        reader.slowest = max(reader.slowest, time.process_time() - start)
    if (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024 > GROWTH:
        return "memory"
    return None


def _open(reader: Reader, data: bytes, folder: Path) -> None:
    if reader.name == "pickle":
        _interpret(data)
        return
    import weightport as wp

    if reader.name == "config":
        members = {**_members(KERAS_FILE), "config.json": data}
        wp.convert(zipped(folder / "model.keras", members), folder / "out.onnx", overwrite=True)
        return
    path = folder / reader.file
    path.write_bytes(data)
    framework = "flax" if reader.name in ("npz", "msgpack") else None  # of which such a file says nothing
    for tensor in wp.open(path, framework).tensors.values():
        tensor.read().tobytes()


@cache
def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _interpret(data: bytes) -> None:
    from weightport.formats._pickle import load
    from weightport.formats._torch_objects import NAMES, storage_of
    from weightport.formats._torch_state import find_state

    find_state(load(data, "a pickle", NAMES, storage_of)[0], "a pickle")


def mutants(reader: Reader, chance: Random) -> Iterator[bytes]:
    """Changed seeds without end; some are changed more than once, some are crossed."""
    while True:
        honest = chance.random() < 0.7 or not reader.seeds
        data = chance.choice(reader.honest if honest else reader.seeds)
        for _ in range(chance.choice((1, 1, 1, 1, 2, 4))):
            data = reader.mutate(data, chance)
        yield data


def fuzz(
    chosen: list[Reader], minutes: float, runs: int | None, seed: int, keep: Callable[[Reader, bytes, str], Any]
) -> None:
    """Each reader in turn until the time is over, or each has had its runs."""
    signal.signal(signal.SIGVTALRM, _too_long)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    HONEST["model.safetensors"](folder / "shard.safetensors")
    (folder / "w.bin").write_bytes(bytes(24))
    end, last = time.monotonic() + 60 * minutes, time.monotonic()
    sources = {reader.name: mutants(reader, Random(f"{seed} {reader.name}")) for reader in chosen}
    try:
        while time.monotonic() < end and any(runs is None or reader.runs < runs for reader in chosen):
            for reader in chosen:
                turn = time.process_time() + SLICE
                while time.process_time() < turn and (runs is None or reader.runs < runs):
                    data = next(sources[reader.name])
                    problem = run(reader, data, folder)
                    if problem:
                        keep(reader, data, problem)
                if time.monotonic() - last > 60:
                    last = time.monotonic()
                    print(table(chosen), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _too_long(number: int, frame: FrameType | None) -> None:
    raise Hang


def table(chosen: list[Reader]) -> str:
    """What has been done."""
    lines = [
        f"{reader.name:12} {reader.runs:>10,} runs, {reader.refused:>10,} refused, slowest {reader.slowest:.2f} s"
        for reader in chosen
    ]
    return "\n".join([*lines, f"{'all':12} {sum(reader.runs for reader in chosen):>10,} runs"])


class Keeper:
    """Keeps one file for each kind of finding."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str]] = set()

    def __call__(self, reader: Reader, data: bytes, problem: str) -> None:
        finding = (reader.name, problem.partition(": ")[0])
        if finding in self.seen:
            return
        self.seen.add(finding)
        REGRESSIONS.mkdir(exist_ok=True)
        name = f"{hashlib.sha256(data).hexdigest()[:12]}-{reader.file}"
        (REGRESSIONS / name).write_bytes(data)
        print(f"FOUND {reader.name}: {problem} ({name})", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--runs", type=int, help="of each reader")
    parser.add_argument("--reader", action="append", choices=list(READERS))
    parser.add_argument("--seed", type=int, default=None, help="the same runs again")
    options = parser.parse_args()
    if options.runs is None and options.minutes > 1e8:
        options.minutes = 10
    made, keeper = readers(), Keeper()
    chosen = [made[name] for name in options.reader or READERS]
    seed = time.time_ns() if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    for reader in chosen:
        print(
            f"{reader.name:12} starts from {len(reader.honest)} honest files and {len(reader.seeds)} attacks",
            flush=True,
        )
    try:
        fuzz(chosen, options.minutes, options.runs, seed, keeper)
    except KeyboardInterrupt:
        print()
    print(table(chosen))
    return 1 if keeper.seen else 0


if __name__ == "__main__":
    sys.exit(main())

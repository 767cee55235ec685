"""What becomes of a target when the process that writes it is killed, the disk is full, or another writes it as well.

    python tests/hostile/faults.py kill --points 100
    python tests/hostile/faults.py steps --case shards
    python tests/hostile/faults.py full | source | race

Each case forks a process that converts, harms it, and looks at the folder: the target is the old file or the complete
new one, and after the next conversion nothing else is there. Prints what was done; the first broken promise ends it.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

import numpy as np  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

import weightport as wp  # noqa: E402
from attacks import _honest as honest  # noqa: E402
from weightport import pieces  # noqa: E402

DONE, REFUSED, NEVER_HARMED = 0, 1, 5
Harm: TypeAlias = Callable[[Path], None]
STEPS = 400
"""More file operations than a conversion here has."""


@dataclass(frozen=True)
class Case:
    """A conversion into ``target``, which is there already. The old values are all 1, the new ones all 2."""

    name: str
    target: str
    template: str | None = None
    options: Mapping[str, Any] | None = None
    source: str = "safetensors"

    def lay_out(self, folder: Path) -> None:
        """The sources, the template, and the old target."""
        for number in (1, 2):
            tensors = {"dense.weight": np.full((2, 3), number, "<f4"), "dense.bias": np.full(2, number, "<f4")}
            tensors |= {f"more.{n}.weight": np.full((64, 64), number, "<f4") for n in range(4 if self._bare else 0)}
            save_file(tensors, folder / f"source{number}.safetensors")
            if self.source in SOURCES:
                SOURCES[self.source](tensors, folder / f"source{number}.{self.source}")
        if self.template:
            TEMPLATES[self.template](folder / self.template)
        self.convert(folder, 1)

    @property
    def _bare(self) -> bool:
        return self.template is None

    def convert(self, folder: Path, number: int, **more: Any) -> None:
        """Bring the values of one source into the target."""
        into = folder / self.template if self.template else None
        options = {"overwrite": True, **(self.options or {}), **more}
        wp.convert(folder / f"source{number}.{self.source}", folder / self.target, into=into, **options)

    def state(self, folder: Path) -> set[float]:
        """The values that are in the target."""
        return {
            float(value)
            for tensor in wp.open(folder / self.target).tensors.values()
            for value in np.unique(tensor.read())
        }


def external_onnx(path: Path) -> None:
    """A dense layer with its weights in a file beside it."""
    import onnx

    honest.onnx(path)
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)


TEMPLATES: Mapping[str, Callable[[Path], Any]] = {
    "t.keras": honest.keras,
    "t.weights.h5": honest.hdf5,
    "t.onnx": honest.onnx,
    "t-external.onnx": external_onnx,
}
CASES = (
    Case("safetensors", "out.safetensors"),
    Case("shards", "out.safetensors.index.json", options={"shard_size": "20KB"}),
    Case("pt", "out.pt"),
    Case("keras", "out.keras", "t.keras"),
    Case("weights.h5", "out.weights.h5", "t.weights.h5"),
    Case("onnx", "out.onnx", "t.onnx"),
    Case("onnx with external data", "out.onnx", "t-external.onnx"),
)


def saved_by(template: str, tensors: Mapping[str, np.ndarray], path: Path) -> None:
    """The dense layer's values in a file of another format, made from its template."""
    beside = path.with_name(f"made-{template}")
    TEMPLATES[template](beside)
    dense = path.with_name("dense.safetensors")
    save_file({name: value for name, value in tensors.items() if name.startswith("dense.")}, dense)
    wp.convert(dense, path, into=beside)
    for used in (dense, *path.parent.glob(f"{beside.name}*")):
        used.unlink()


def legacy_pt(tensors: Mapping[str, np.ndarray], path: Path) -> None:
    """A file of PyTorch before 1.6."""
    import torch

    state = {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}
    torch.save(state, path, _use_new_zipfile_serialization=False)


def zip_pt(tensors: Mapping[str, np.ndarray], path: Path) -> None:
    """A file of PyTorch as it is now."""
    import torch

    torch.save({name: torch.from_numpy(value.copy()) for name, value in tensors.items()}, path)


SOURCES: Mapping[str, Callable[[Mapping[str, np.ndarray], Path], Any]] = {
    "keras": partial(saved_by, "t.keras"),
    "weights.h5": partial(saved_by, "t.weights.h5"),
    "onnx": partial(saved_by, "t.onnx"),
    "pt": zip_pt,
    "pth": legacy_pt,
}
BAD_SOURCES = (*CASES, *(Case(f"from {source}", "out.safetensors", source=source) for source in SOURCES))


def forked(work: Callable[[], None]) -> int:
    """The process number of a child that does the work: it exits with 0, or with 1 and one line of our own error."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except wp.WeightportError as error:
        os.write(2, f"{error}\n".encode()) if "\n" in str(error) else None
        os._exit(3 if "\n" in str(error) or ".weightport-" in str(error) else REFUSED)
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(4)
    os._exit(DONE)


def ended(child: int) -> int:
    """The exit status of a child; negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def check(case: Case, folder: Path, status: int, what: str) -> bool:
    """The promises. Returns whether the target is the new one."""
    state = case.state(folder)
    assert state in ({1.0}, {2.0}), f"{what}: the target is a mixture, {state}"
    assert (status != DONE) or state == {2.0}, f"{what}: it said that it was done, and the target is the old one"
    assert (status != REFUSED) or state == {1.0}, f"{what}: it said that nothing was written, and the target is new"
    return state == {2.0}


def check_no_more(case: Case, folder: Path, before: set[str], what: str) -> None:
    """Nothing but what belongs there; companions may have got another number."""
    left = {path.name for path in folder.iterdir()} - before
    allowed = _companions(case, folder)
    assert left <= allowed, f"{what}: {sorted(left - allowed)} remain"
    missing = {name for name in before if not (folder / name).exists()} - {n for n in before if _is_companion(case, n)}
    assert not missing, f"{what}: {sorted(missing)} are gone"


def _companions(case: Case, folder: Path) -> set[str]:
    """The files that the target refers to."""
    text = (folder / case.target).read_bytes()
    return {path.name for path in folder.iterdir() if path.name.encode() in text and _is_companion(case, path.name)}


def _is_companion(case: Case, name: str) -> bool:
    return name.startswith("out") and name != case.target


def each_case(action: Callable[[Case, Path, set[str]], int], cases: Sequence[Case]) -> None:
    """Do the same with every case, each in a folder of its own that begins with the old target."""
    for case in cases:
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
            folder = Path(name)
            case.lay_out(folder)
            count = action(case, folder, {path.name for path in folder.iterdir()})
            print(f"{case.name}: {count}", flush=True)


def killed_at_any_time(points: int, case: Case, folder: Path, before: set[str]) -> int:
    """``points`` kills at random times; each is followed by a conversion that is left alone."""
    chance, new = Random(f"{points} {case.name}"), 0
    start = time.perf_counter()
    for _ in range(5):
        assert ended(forked(lambda: case.convert(folder, 1))) == DONE
    duration = (time.perf_counter() - start) / 5
    for number in range(points):
        child = forked(lambda: case.convert(folder, 2))
        time.sleep(chance.uniform(0, duration))
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        new += check(case, folder, ended(child), f"{case.name}, kill {number}")
        assert ended(forked(lambda: case.convert(folder, 1))) == DONE
        assert case.state(folder) == {1.0}
        check_no_more(case, folder, before, f"{case.name}, kill {number}")
    return points


def killed_at_every_step(case: Case, folder: Path, before: set[str]) -> int:
    """A kill before each operation on files that a conversion does, one after the other."""
    for step in range(1, STEPS):
        status = ended(forked(lambda: (_kill_before(step), case.convert(folder, 2))))  # noqa: B023
        check(case, folder, status, f"{case.name}, step {step}")
        if status == DONE:
            check_no_more(case, folder, before, f"{case.name}, step {step}")
            return step - 1
        assert status == -signal.SIGKILL
        assert ended(forked(lambda: case.convert(folder, 1))) == DONE
        check_no_more(case, folder, before, f"{case.name}, step {step}")
    raise AssertionError(f"{case.name}: more than {STEPS} steps")


def _kill_before(step: int) -> None:
    left = step

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event.startswith("os.") or event in ("open", "mmap.__new__", "shutil.rmtree", "fcntl.flock"):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def full_disk(case: Case, folder: Path, before: set[str]) -> int:
    """Files may not grow beyond so many bytes, or the system has no block left when asked to reserve some."""
    largest = max(path.stat().st_size for path in folder.iterdir() if path.name.startswith("out"))
    limits = sorted({0, 1, 7, 100, *(largest * part // 8 for part in range(1, 8)), largest - 1})
    for harm in [*(partial(_limit, limit) for limit in limits), _no_blocks]:
        status = ended(forked(lambda: (harm(), case.convert(folder, 2))))  # noqa: B023
        what = f"{case.name}, {harm}"
        assert status == REFUSED, f"{what}: exit status {status}"
        check(case, folder, status, what)
        check_no_more(case, folder, before, what)
    return len(limits) + 1


def _limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _no_blocks() -> None:
    def fail(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.posix_fallocate = fail
    if sys.platform == "linux":  # what asks for no blocks first meets a full disk when it writes
        _limit(64)


def bad_source(case: Case, folder: Path, before: set[str]) -> int:
    """Before each time that a conversion opens its source or its template, that file is cut short, or can no longer be
    read. Returns how often that was met and told."""
    harmed = [folder / f"source2.{case.source}", *([folder / case.template] if case.template else [])]
    return sum(
        _harm_at_each_opening(case, folder, path, harm, before)
        for path in harmed
        for harm in (partial(_cut, 0), partial(_cut, 0.99), _make_unreadable)
    )


def _harm_at_each_opening(case: Case, folder: Path, path: Path, harm: Harm, before: set[str]) -> int:
    content, refused = path.read_bytes(), 0
    for number in range(1, STEPS):
        status = ended(forked(lambda: _convert_with_harm(case, folder, path, harm, number)))  # noqa: B023
        path.write_bytes(content)
        what = f"{case.name}, {path.name}, {harm} before it is opened for the {number}. time"
        assert status in (DONE, REFUSED, NEVER_HARMED), f"{what}: exit status {status}"
        check(case, folder, status, what)
        check_no_more(case, folder, before, what)
        if status != REFUSED:
            assert ended(forked(lambda: case.convert(folder, 1))) == DONE
        if status == NEVER_HARMED:
            assert refused, f"{what}: it was never met"
            return refused
        refused += status == REFUSED
    raise AssertionError(f"{case.name}: {path.name} is opened more than {STEPS} times")


def _convert_with_harm(case: Case, folder: Path, path: Path, harm: Harm, number: int) -> None:
    """Convert, and harm a file before it is opened for that time. Large tensors are read in many pieces, and here each
    tensor is large."""
    left, real = number, Path.open

    def opened(self: Path, *arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= self == path
        if self == path and left == 0:
            harm(path)
        return real(self, *arguments, **options)

    pieces.PIECE_BYTES = 4096
    Path.open = opened  # type: ignore[method-assign]
    case.convert(folder, 2)
    if left > 0:
        os._exit(NEVER_HARMED)


def _cut(share: float, path: Path) -> None:
    os.truncate(path, int(path.stat().st_size * share))


def _make_unreadable(path: Path) -> None:
    """Every reading of the file fails from now on, as on a disk with bad blocks."""

    class Broken(io.FileIO):
        def read(self, *arguments: Any) -> Any:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        readall = readinto = read

    opened = Path.open

    def broken(self: Path, mode: str = "r", buffering: int = -1, **options: Any) -> Any:
        if self != path or "r" not in mode:
            return opened(self, mode, buffering, **options)
        return Broken(self) if buffering == 0 else io.BufferedReader(Broken(self))

    Path.open = broken  # type: ignore[assignment, method-assign]


def two_at_once(rounds: int, case: Case, folder: Path, before: set[str]) -> int:
    """Two processes write one target: each says what became of its own, and one of them is there, whole."""
    busy = 0
    for number in range(rounds):
        children = [forked(partial(case.convert, folder, source)) for source in (1, 2, 2)]
        ends = [ended(child) for child in children]
        what = f"{case.name}, round {number}"
        assert set(ends) <= {DONE, REFUSED}, f"{what}: exit statuses {ends}"
        assert DONE in ends, f"{what}: none was done"
        assert case.state(folder) in ({1.0}, {2.0}), f"{what}: the target is a mixture"
        check_no_more(case, folder, before, what)
        busy += ends.count(REFUSED)
    only_one_creates(case, folder)
    return busy


def only_one_creates(case: Case, folder: Path) -> None:
    """Without leave to overwrite, one process makes the file and the others say that it exists."""
    for name in [case.target, *_companions(case, folder)]:
        (folder / name).unlink()
    children = [forked(partial(case.convert, folder, source, overwrite=False)) for source in (1, 2, 2)]
    ends = sorted(ended(child) for child in children)
    assert ends == [DONE, REFUSED, REFUSED], f"{case.name}: exit statuses {ends}"
    assert case.state(folder) in ({1.0}, {2.0})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fault", choices=["kill", "steps", "full", "source", "race"])
    parser.add_argument("--points", type=int, default=100, help="kills, or rounds of a race, of each case")
    parser.add_argument("--case", action="append", choices=[case.name for case in BAD_SOURCES])
    options = parser.parse_args()
    cases = BAD_SOURCES if options.fault == "source" else CASES
    each_case(
        {
            "kill": partial(killed_at_any_time, options.points),
            "steps": killed_at_every_step,
            "full": full_disk,
            "source": bad_source,
            "race": partial(two_at_once, options.points),
        }[options.fault],
        [case for case in cases if not options.case or case.name in options.case],
    )


if __name__ == "__main__":
    main()

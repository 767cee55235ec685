"""A process that opens hostile files and watches itself: what it opens, runs and imports, and how much memory it takes.

It reads one JSON object a line (``{"path": ..., "folder": ...}``) and answers each with an :class:`Outcome` as JSON.
The test's process measures the time, and ends this one if it does not answer.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOM = 1 << 29
"""Bytes of address space that a hostile file may have over what an honest one needs."""

HONEST_SOURCE = "model.safetensors"
TARGETS = ("model.safetensors", "model.pt", "model.onnx", "model.keras")

KNOWN_SUFFIXES = (".keras", ".h5", ".pt", ".pth", ".safetensors", ".onnx", ".npz", ".msgpack")

# Audit events: https://docs.python.org/3/library/audit_events.html
_RUNS = (
    *("exec", "compile", "import", "marshal.loads", "pickle.find_class", "code.__new__", "function.__new__"),
    *("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "pty.spawn"),
    *("ctypes.dlopen", "ctypes.call_function", "ctypes.cdata", "os.putenv", "os.unsetenv", "sys.settrace"),
    *("urllib.Request", "webbrowser.open", "http.client.connect", "ftplib.connect", "smtplib.connect"),
)
_PATHS = {
    **dict.fromkeys(("open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"), 1),
    **dict.fromkeys(("os.chmod", "os.chown", "os.utime", "os.chdir", "os.chroot", "glob.glob", "shutil.rmtree"), 1),
    **dict.fromkeys(("os.rename", "os.link", "os.symlink", "shutil.move", "shutil.copyfile"), 2),
}


@dataclass
class Outcome:
    """What became of one file. Errors are ``[class, text]``, commands ``[exit status, standard error]``."""

    opening: list[str] | None = None
    reading: list[str] | None = None
    commands: dict[str, list[Any]] = field(default_factory=dict)
    left_behind: list[str] = field(default_factory=list)
    secret_shown: bool = False
    steers_terminal: bool = False
    events: list[str] = field(default_factory=list)
    peak: int = 0


class Watch:
    """The audit hook. While it watches a folder it notes everything that has no business there."""

    def __init__(self) -> None:
        import weightport

        self.folder: str | None = None
        self.events: list[str] = []
        self._own = (os.path.realpath(tempfile.gettempdir()), os.path.realpath(Path(weightport.__file__).parent))
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event in _RUNS or event.startswith("socket."):
            self.events.append(f"{event} {arguments!r:.200}")
        paths = arguments[: _PATHS.get(event, 0)]
        if event in ("os.remove", "os.rmdir") and arguments[1] != -1:
            return  # relative to an open folder, whose own opening was seen
        for path in paths:
            if isinstance(path, str | bytes | os.PathLike) and not self._is_inside(os.fsdecode(path)):
                self.events.append(f"{event} {path!r:.200}")

    def _is_inside(self, path: str) -> bool:
        whole = os.path.realpath(path)
        allowed = [folder for folder in (self.folder, *self._own) if folder]
        return any(whole == folder or whole.startswith(folder + os.sep) for folder in allowed)

    @contextmanager
    def on(self, folder: Path) -> Iterator[list[str]]:
        """Watch while a file of this folder is handled."""
        self.events = []
        self.folder = os.path.realpath(folder)
        try:
            yield self.events
        finally:
            self.folder = None


def examine(watch: Watch, path: Path, folder: Path, honest: bytes, secret: bytes) -> Outcome:
    """Open the file, read every tensor, and have the command line inspect it, convert it, and write into it."""
    import weightport as wp

    outcome = Outcome()
    before = sorted(folder.rglob("*"))
    with watch.on(folder) as events:
        tracemalloc.start()
        try:
            checkpoint = wp.open(path)
        except BaseException as error:
            outcome.opening = _told(error)
        else:
            outcome.reading, outcome.secret_shown = _read(checkpoint, secret)
        outcome.peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        checkpoint = None
        outcome.commands["inspect"] = _command("inspect", path)
        for name in TARGETS:
            target = folder / f"out-{name}"
            outcome.commands[f"to {name}"] = _command("convert", path, target)
            outcome.secret_shown |= target.is_file() and secret[:20] in target.read_bytes()
            outcome.left_behind += _extra(folder, before, target)
            _remove(target)
        source = folder / "honest.safetensors"
        source.write_bytes(honest)
        target = path.with_name(f"out-{path.name}")
        if path.suffix not in KNOWN_SUFFIXES:
            target = target.with_suffix(".pt")
        outcome.commands["into it"] = _command("convert", source, target, "--into", path)
        source.unlink()
        outcome.left_behind += _extra(folder, before, target)
        _remove(target)
    steering = [command.pop() for command in outcome.commands.values()]
    outcome.steers_terminal = any(steering)
    outcome.events = events
    return outcome


def _read(checkpoint: Any, secret: bytes) -> tuple[list[str] | None, bool]:
    shown = False
    try:
        for tensor in checkpoint.tensors.values():
            shown |= secret[:20] in tensor.read().tobytes()
    except BaseException as error:
        return _told(error), shown
    return None, shown


def _command(*arguments: Any) -> list[Any]:
    from click.testing import CliRunner

    from weightport.cli import cli

    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    return [result.exit_code, result.stderr, not result.output.replace("\n", "").isprintable()]


def _extra(folder: Path, before: list[Path], target: Path) -> list[str]:
    allowed = {*before, target, target.with_name(f"{target.name}.data")}
    return [str(path) for path in folder.rglob("*") if path not in allowed]


def _remove(target: Path) -> None:
    for path in (target, target.with_name(f"{target.name}.data")):
        path.unlink(missing_ok=True)


def _told(error: BaseException) -> list[str]:
    from weightport.errors import WeightportError

    own = type(error).__name__ if isinstance(error, WeightportError) else f"foreign {type(error).__name__}"
    return [own, str(error)]


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    now = pages * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (now + ROOM, now + ROOM))


def main(home: Path) -> None:
    """Warm up on honest files, so that nothing is left to import, then answer. ``home`` is an empty folder."""
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]
    from rich.cells import cell_len

    from attacks import SECRET
    from attacks._honest import HONEST as MAKERS

    tempfile.tempdir = str(home / "scratch")
    for folder in ("scratch", "honest", "warm"):
        (home / folder).mkdir()
    honest = {name: make(home / "honest" / name) for name, make in MAKERS.items()}
    source = honest[HONEST_SOURCE].read_bytes()
    cell_len("\u202e")  # loads a table
    watch = Watch()
    for name, path in honest.items():
        content = path.read_bytes()
        for variant in (content, b"damaged", content[:-40]):
            (home / "warm" / name).write_bytes(variant)
            examine(watch, home / "warm" / name, home / "warm", source, SECRET)
            (home / "warm" / name).unlink()
    _limit_memory()
    print("ready", flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        outcome = examine(watch, Path(task["path"]), Path(task["folder"]), source, SECRET)
        print(json.dumps(asdict(outcome)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Hostile files do nothing: each is one line of the project's own error, and nothing runs, leaks or grows."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attacks import SECRET, Attack, Place, all_attacks

SECONDS = 20.0
"""For opening a file five times, reading and converting it, on a machine that may be busy."""
MEMORY_FACTOR, MEMORY_FLOOR = 40, 1 << 24
"""The most that one byte of a pickle can make is an empty dictionary; nothing else comes near."""
LINE_LENGTH = 1500
ALONE = ("to model.safetensors", "to model.pt")
"""Conversions that need nothing but the weights."""

pytestmark = pytest.mark.xdist_group("hostile")


class Sandbox:
    """The other process. It is started anew when it had to be ended."""

    def __init__(self, homes: pytest.TempPathFactory) -> None:
        self._homes = homes
        self._process: subprocess.Popen[str] | None = None

    def outcome(self, path: Path, folder: Path) -> dict[str, Any]:
        """What became of a file. Fails when the process does not answer in time, or dies."""
        if self._process is None:
            script, home = Path(__file__).with_name("sandbox.py"), self._homes.mktemp("sandbox")
            self._process = subprocess.Popen(
                [sys.executable, str(script), str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert self._answer(60) == "ready\n"
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"path": str(path), "folder": str(folder)}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._answer(SECONDS))  # type: ignore[no-any-return]

    def _answer(self, seconds: float) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self.close()
            pytest.fail("no answer in time" if not ready else "the process that opened the file died")
        return line

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    process = Sandbox(tmp_path_factory)
    yield process
    process.close()


@pytest.mark.parametrize("attack", all_attacks().values(), ids=list(all_attacks()))
def test_a_hostile_file_is_one_line_and_nothing_else(attack: Attack, sandbox: Sandbox, tmp_path: Path) -> None:
    place = Place.made(tmp_path)
    path = attack.make(place)
    outcome = sandbox.outcome(path, place.folder)

    assert not place.canary.exists(), "code from the file has run"
    assert outcome["events"] == [], f"run, imported, or opened elsewhere: {outcome['events']}"
    assert not outcome["secret_shown"], "another file's content was read"
    assert not outcome["steers_terminal"], "control characters were printed"
    assert outcome["left_behind"] == []
    size = sum(file.stat().st_size for file in place.folder.rglob("*") if file.is_file())
    assert outcome["peak"] <= MEMORY_FACTOR * size + MEMORY_FLOOR
    refusal = outcome["opening"] or outcome["reading"]
    if attack.words:
        assert refusal is not None, "it was read"
        assert refusal[0] == "CheckpointError", refusal
        assert re.search(attack.words, refusal[1]), refusal[1]
        assert_one_line(refusal[1], path)
        for command, (status, shown) in outcome["commands"].items():
            if command in ("inspect", "into it") and outcome["opening"] is None:
                continue  # the fault is in values that nobody asked for
            assert status == 1, (command, shown)
            assert_one_line(shown.removeprefix("weightport: ").rstrip("\n"), path)
    else:
        assert refusal is None, refusal
        for command, (status, shown) in outcome["commands"].items():
            if command not in ("inspect", *ALONE) and status == 1:  # what is left alone is not copied or made anew
                assert "internal error" not in shown, (command, shown)
            else:
                assert status == 0, (command, shown)


def assert_one_line(text: str, path: Path) -> None:
    assert "\n" not in text, text
    assert len(text) < LINE_LENGTH + len(str(path))
    assert path.name in text or "the template" in text
    assert text.isprintable(), text
    assert "internal error" not in text


# The attacks are real, and the sandbox would see them


def test_a_loader_that_trusts_its_file_runs_its_code(tmp_path: Path) -> None:
    place = Place.made(tmp_path)
    path = all_attacks()["pickles/GLOBAL"].make(place)
    load = "import pickle, sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); pickle.loads(z.read('archive/data.pkl'))"
    subprocess.run([sys.executable, "-c", load, str(path)], check=False, stderr=subprocess.DEVNULL)
    assert place.canary.exists()


def test_a_loader_that_trusts_its_file_reads_other_files(tmp_path: Path) -> None:
    import h5py

    place = Place.made(tmp_path)
    with h5py.File(all_attacks()["hdf5/external storage (.weights.h5)"].make(place)) as file:
        assert file["layers/dense/vars/0"][()].tobytes() == SECRET[:24]


@pytest.mark.parametrize(
    "deed", ["os.system('true')", "eval('1')", "import antigravity_", "open('/etc/hostname')", "os.listdir('/')"]
)
def test_the_sandbox_notices(deed: str, tmp_path: Path) -> None:
    script = f"""
import os, pathlib, sandbox
watch = sandbox.Watch()
with watch.on(pathlib.Path({str(tmp_path)!r})) as events:
    open({str(tmp_path / "own")!r}, "w").close()
    own = list(events)
    try:
        {deed}
    except (OSError, ImportError):
        pass
print(len(own), len(events) > 0)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "0 True\n"

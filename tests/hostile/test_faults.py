"""A target is the old file or the complete new one, whatever happens while it is written (see ``faults.py``)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import faults

pytestmark = pytest.mark.xdist_group("hostile")


def output_of(*arguments: str) -> dict[str, int]:
    """What ``faults.py`` did with each case."""
    command = [sys.executable, str(Path(faults.__file__)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = dict(line.rsplit(": ", 1) for line in done.stdout.splitlines())
    assert counts
    return {name: int(count) for name, count in counts.items()}


def test_killed_at_random_times() -> None:
    assert output_of("kill", "--points", "4") == {case.name: 4 for case in faults.CASES}


def test_killed_before_each_step() -> None:
    assert min(output_of("steps", "--case", "onnx with external data", "--case", "weights.h5").values()) > 25


def test_a_full_disk_is_one_line_and_leaves_nothing() -> None:
    assert min(output_of("full").values()) > 10


def test_a_source_that_cannot_be_read() -> None:
    """Cut short, or with bad blocks, before each time that it is opened."""
    assert min(output_of("source").values()) > 10


def test_processes_that_write_one_target_at_a_time() -> None:
    output_of("race", "--points", "3")

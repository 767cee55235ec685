"""Runs a command in a process of its own and measures what it took."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_EVERY = 0.01


@dataclass(frozen=True)
class Usage:
    """What one process took.

    ``peak`` is the kernel's high-water mark of its resident pages, those of mapped files included; ``own`` is the
    largest sample of its own (anonymous) pages. Both in MB.
    """

    seconds: float
    processor: float
    peak: float
    own: float
    problem: str = ""


def run(command: Sequence[object], *, limit: float = 600, environment: Mapping[str, str] | None = None) -> Usage:
    """Run a command to its end, or for ``limit`` seconds; its last line is the problem where it fails."""
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command], stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
        own, late = 0.0, False
        while True:
            process_id, status, usage = os.wait4(process.pid, os.WNOHANG)
            if process_id:
                break
            own = max(own, _own_megabytes(process.pid))
            if not late and time.perf_counter() - start > limit:
                late = True
                process.kill()
            time.sleep(SAMPLE_EVERY)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        lines = output.read().strip().splitlines() or ["failed without a word"]
    problem = f"stopped after {limit:.0f} s" if late else lines[-1] if process.returncode else ""
    return Usage(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3, own, problem)


def _own_megabytes(process_id: int) -> float:
    found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{process_id}/status").read_text())
    return int(found[1]) / 1e3 if found else 0.0

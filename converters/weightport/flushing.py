"""Bringing files to the disk while they are still being written, so that little is left to wait for at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

INTERVAL = 0.1
"""Seconds between two rounds. What takes less time is flushed once, when it is complete."""


@contextmanager
def flushed_early(folder: Path) -> Iterator[None]:
    """Flush the files of a folder again and again in the background. Raises the OSError that a flush has met: a disk
    tells of a failed write only once."""
    stop, errors = Event(), list[OSError]()
    thread = Thread(target=_flush_rounds, args=(folder, stop, errors), name="weightport-flush", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if errors:
        raise errors[0]


def flush(path: Path) -> None:
    """Make sure that a file's (or folder's) content is on the disk. Folders cannot be flushed everywhere."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_rounds(folder: Path, stop: Event, errors: list[OSError]) -> None:
    while not stop.wait(INTERVAL):
        try:
            for path in list(folder.iterdir()):
                flush(path)
        except FileNotFoundError:
            continue  # a file that was only in passing
        except OSError as error:
            errors.append(error)
            return

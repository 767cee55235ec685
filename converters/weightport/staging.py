"""All or nothing: files are written in a hidden folder beside the target, flushed, then moved into place.

The folder's name follows from the target's, and the process that writes holds a lock on it. So two processes never
write one target at a time, and what a killed process has left behind is cleared by the next that writes the target.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from .errors import RefusedError, UsageError, WeightportError
from .flushing import flushed_early
from .publishing import note_replaced, publish, recover

_PREFIX = ".weightport-"
_ATTEMPTS = 100


@contextmanager
def staged(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A path to write to, named like the target; what was written moves into the target's folder at the end.

    A format may write files that belong to it (shards, external data) beside the path, under names that
    :func:`companion_names` gives; the file named like the target is moved last. On any error, and when the process is
    killed, the target is the old file or the complete new one. A link in the target's place is replaced itself; what
    it leads to stays. Raises RefusedError where a file is in the way and ``overwrite`` is not set, and where another
    process is writing the target."""
    refuse_existing(target, overwrite=overwrite)
    if not target.parent.is_dir():
        raise UsageError(f"{target}: the folder {target.parent} does not exist")
    try:
        folder, lock = _claimed(target)
    except OSError as error:
        raise WeightportError(f"{target}: cannot be written: {error.strerror}") from error
    try:
        with flushed_early(folder):
            yield folder / target.name
        refuse_existing(target, overwrite=overwrite)
        publish(folder, target, overwrite=overwrite)
    except OSError as error:
        raise WeightportError(f"{target}: cannot be written: {error.strerror or error}") from error
    except WeightportError as error:
        _name_the_target(error, folder, target.parent)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def refuse_existing(target: Path, *, overwrite: bool) -> None:
    """Raise RefusedError where something is in the target's place and may not be replaced, UsageError where nothing
    could replace it."""
    if target.is_dir():
        raise UsageError(f"{target}: is a directory; name the file to write")
    if target.exists() and not target.is_file():
        raise UsageError(f"{target}: is a device or a pipe; name a file to write")
    if os.path.lexists(target) and not overwrite:
        raise RefusedError(f"{target}: exists already; give --overwrite to replace it")


def companion_names(path: Path, named: Callable[[str], Sequence[str]], pattern: str) -> Sequence[str]:
    """Names for the files that belong to the staged ``path``: ``named("")``, or ``named(".2")`` and so on where one of
    those is taken, since a file that the old target refers to has to stay until the new target is there.

    Files beside the target whose whole names match ``pattern`` are the old target's. They go when it has been
    replaced."""
    staging = path.parent.name.startswith(_PREFIX)
    folder = path.parent.parent if staging else path.parent
    marks = ("" if number == 1 else f".{number}" for number in count(1))
    names = next(n for n in map(named, marks) if not any(os.path.lexists(folder / name) for name in n))
    if staging and os.path.lexists(folder / path.name):
        note_replaced(path.parent, [other.name for other in folder.iterdir() if re.fullmatch(pattern, other.name)])
    return names


def _claimed(target: Path) -> tuple[Path, int | None]:
    """The target's staging folder, empty and locked, and the lock."""
    name = hashlib.sha256(target.name.encode(errors="surrogateescape")).hexdigest()[:16]
    folder = target.parent / f"{_PREFIX}{name}"
    busy = RefusedError(f"{target}: another process is writing it; wait for that, or write to another name")
    try:
        import fcntl
    except ImportError:  # no locks here: what a killed process has left is told from what is in use by nobody
        if folder.exists():
            raise busy from None
        folder.mkdir(mode=0o700)
        return folder, None
    for _ in range(_ATTEMPTS):
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue  # whoever had it has finished in between
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if folder.exists() and os.path.samestat(os.fstat(lock), folder.lstat()):
                recover(folder, target)
                return folder, lock
        except BlockingIOError:
            os.close(lock)
            raise busy from None
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
    raise busy


def _name_the_target(error: WeightportError, folder: Path, place: Path) -> None:
    """Messages name the file that was asked for, not the one in the staging folder."""
    error.args = (str(error.args[0]).replace(f"{folder}{os.sep}", f"{place}{os.sep}" if place.name else ""),)

"""All or nothing: files are written in a temporary folder beside the target, flushed, then renamed into place."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import RefusedError, UsageError, WeightportError
from .flushing import flush, flushed_early


@contextmanager
def staged(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A path to write to, named like the target; what was written moves into the target's folder at the end.

    A format may write companions (shards, external data) beside the path; the file named like the target is moved
    last, so that it never refers to a file that is not there. On any error nothing is left and the target is as it
    was. Raises RefusedError where a file is in the way and ``overwrite`` is not set."""
    refuse_existing(target, overwrite=overwrite)
    if not target.parent.is_dir():
        raise UsageError(f"{target}: the folder {target.parent} does not exist")
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise WeightportError(f"{target}: cannot be written: {error.strerror}") from error
    try:
        with flushed_early(folder):
            yield folder / target.name
        _publish(folder, target, overwrite=overwrite)
    except OSError as error:
        raise WeightportError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def refuse_existing(target: Path, *, overwrite: bool) -> None:
    """Raise RefusedError where something is in the target's place and may not be replaced."""
    if target.is_dir():
        raise UsageError(f"{target}: is a directory; name the file to write")
    if target.exists() and not overwrite:
        raise RefusedError(f"{target}: exists already; give --overwrite to replace it")


def _publish(folder: Path, target: Path, *, overwrite: bool) -> None:
    written = sorted(folder.iterdir(), key=lambda path: path.name == target.name)
    for path in written:
        refuse_existing(target.parent / path.name, overwrite=overwrite)
        flush(path)
    for path in written:
        path.replace(target.parent / path.name)
    flush(target.parent)

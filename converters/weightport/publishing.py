"""The last step of a write: complete files move to where they are wanted, and a journal says how far that has come.

A file with companions (shards, external data) cannot be replaced in one step by any file system. So the companions
come first, under names that nothing uses yet; the file that names them comes last, in one step; the old companions go
after that. A process that is killed in between leaves its folder with the journal in it, and :func:`recover` goes
back, or ends what was begun.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from .errors import RefusedError
from .flushing import flush

_JOURNAL, _REPLACED = ".journal.json", ".replaced.json"
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


def publish(folder: Path, target: Path, *, overwrite: bool) -> None:
    """Move everything in ``folder`` beside the target, the file named like the target last.

    Raises RefusedError where something has come into the way in the meantime; then nothing is left there."""
    companions = [path for path in sorted(folder.iterdir()) if path.name not in (target.name, _JOURNAL, _REPLACED)]
    main = folder / target.name
    for path in (*companions, main):
        flush(path)
    if companions:
        _write(folder / _JOURNAL, [path.name for path in companions])
    try:
        for path in companions:
            _move_to_free_place(path, target.parent / path.name)
        if overwrite:
            main.replace(target)
        else:
            _move_to_free_place(main, target)
    except BaseException:
        recover(folder, target)
        raise
    flush(target.parent)
    _remove_replaced(folder, target)


def note_replaced(folder: Path, names: Sequence[str]) -> None:
    """Remember the files that only the old target needs."""
    _write(folder / _REPLACED, list(names))


def recover(folder: Path, target: Path) -> None:
    """Bring a target to its old or its new state, from what is left in the folder of a write that did not end, and
    empty the folder."""
    if _is_published(folder / target.name, target):
        _remove_replaced(folder, target)
    else:
        for name in _own(folder / _JOURNAL, target):
            if not (folder / name).exists() or _same(folder / name, target.parent / name):
                (target.parent / name).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _is_published(main: Path, target: Path) -> bool:
    """Whether the file that names the others has been moved. It is not there either before it is written; no journal
    is there then."""
    return _same(main, target) if main.exists() else (main.parent / _JOURNAL).exists()


def _remove_replaced(folder: Path, target: Path) -> None:
    new = set(_own(folder / _JOURNAL, target))
    for name in _own(folder / _REPLACED, target):
        if name not in new:
            (target.parent / name).unlink(missing_ok=True)


def _move_to_free_place(path: Path, place: Path) -> None:
    """Move a file to a name that nothing has. Two processes cannot both succeed."""
    try:
        os.link(path, place)
    except FileExistsError:
        raise RefusedError(f"{place}: has come into being in the meantime; give --overwrite to replace it") from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(place):  # a file system without hard links
            raise RefusedError(f"{place}: has come into being in the meantime") from None
        path.rename(place)
    else:
        path.unlink()


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def _write(path: Path, names: list[str]) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(names))
    flush(temporary)
    temporary.replace(path)
    flush(path.parent)


def _own(journal: Path, target: Path) -> list[str]:
    """The names in a journal that can be of this target's companions: a stranger may have made the folder."""
    try:
        names = json.loads(journal.read_text())
    except (OSError, ValueError):
        return []
    stem = target.name.split(".", maxsplit=1)[0]
    plain = [name for name in names if isinstance(name, str) and Path(name).name == name] if type(names) is list else []
    return [name for name in plain if name.startswith(stem) and name != target.name]

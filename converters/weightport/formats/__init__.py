"""File formats: bytes in, bytes out, nothing of layers. A format is one module here, found because it is here."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from ..checkpoint import Contents, Output
from ..errors import CheckpointError, UsageError
from ._foreign import what_folder_it_is, what_it_is

HEAD_BYTES = 64


class Format(Protocol):
    """What a module in this folder provides. A module whose name begins with ``_`` is a helper, not a format."""

    NAME: str
    FRAMEWORK: str
    SUFFIXES: tuple[str, ...]

    def recognises(self, path: Path, head: bytes) -> bool:
        """Whether the file's content (not its name) is of this format. ``head`` is its first 64 bytes."""
        ...

    def read(self, path: Path) -> Contents:
        """The file's directory as lazy tensors. Raises CheckpointError, and nothing else, on a bad file."""
        ...

    def write(
        self, path: Path, tensors: Sequence[Output], *, template: Contents | None, metadata: Mapping[str, str]
    ) -> None:
        """Write a new file at ``path``, which does not exist yet. Tensors of the template that ``tensors`` does
        not name are carried over. ``metadata`` is stored where the format has a place for text."""
        ...


@runtime_checkable
class ShardedFormat(Format, Protocol):
    """A format that can spread a checkpoint over several files, beside an index whose name ends in INDEX_SUFFIX."""

    INDEX_SUFFIX: str

    def write_shards(
        self,
        path: Path,
        tensors: Sequence[Output],
        *,
        template: Contents | None,
        metadata: Mapping[str, str],
        shard_bytes: int,
    ) -> None:
        """Write the index ``path`` and shards of at most ``shard_bytes`` bytes of tensors beside it."""
        ...


@cache
def all_formats() -> Mapping[str, Format]:
    """Every format by its name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    modules = [cast(Format, importlib.import_module(f".{name}", __package__)) for name in names]
    return {module.NAME: module for module in modules}


def format_of_file(path: Path) -> Format:
    """The format of an existing file, told by its content.

    Raises UsageError where there is no file, CheckpointError where no format recognises it."""
    if not path.exists():
        raise UsageError(f"{path}: no such file")
    if path.is_dir():
        raise CheckpointError(f"{path}: is {what_folder_it_is(path) or 'a directory; name a checkpoint file in it'}")
    if not path.is_file():
        raise CheckpointError(f"{path}: is a device or a pipe and no file; copy what comes out of it into one")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if not head:
        raise CheckpointError(f"{path}: the file is empty")
    for module in all_formats().values():
        if module.recognises(path, head):
            return module
    known = what_it_is(path, head)
    if known:
        raise CheckpointError(f"{path}: {known}")
    raise CheckpointError(
        f"{path}: not a checkpoint that weightport knows (read: {', '.join(sorted(all_formats()))}), or damaged"
    )


def format_of_suffix(path: Path) -> Format:
    """The format that a file name asks for; the longest suffix wins. Raises UsageError where none does."""
    known = [(suffix, module) for module in all_formats().values() for suffix in module.SUFFIXES]
    matching = [pair for pair in known if path.name.endswith(pair[0])]
    if not matching:
        suffixes = ", ".join(sorted(suffix for suffix, _ in known))
        raise UsageError(f"{path}: its suffix names no format; end the file name in one of {suffixes}")
    return max(matching, key=lambda pair: len(pair[0]))[1]

"""External data: weights in a file beside the model. Nothing outside the model's own folder is ever opened.

Source: onnx/docs/ExternalData.md and onnx/docs/ExternalDataSecurity.md.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError
from ..staging import companion_names

INLINE_LIMIT = 1_500_000_000
"""A message of 2 GB cannot be parsed; tensors of a graph that comes near go into a file beside it."""
SMALL_TENSOR = 1024
"""Smaller ones stay in the graph all the same."""

MAX_SHOWN = 200

_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)


@dataclass(frozen=True)
class External:
    """A byte range of a file beside the model. ``length`` is None where the model does not say it."""

    location: str
    offset: int = 0
    length: int | None = None


def parse_external(entries: Mapping[str, str], where: str) -> External:
    """What a tensor's ``external_data`` entries say. Raises CheckpointError where they say nonsense."""
    length = entries.get("length")
    return External(
        location=_safe_location(entries.get("location", ""), where),
        offset=_number(entries.get("offset", "0"), f"{where}: external offset"),
        length=None if length is None else _number(length, f"{where}: external length"),
    )


def data_file(folder: Path, external: External, size: int, where: str) -> Path:
    """The file that holds a tensor of ``size`` bytes.

    Raises CheckpointError unless it is a file of the model's own folder, reached through no link, that has these
    bytes."""
    if external.length not in (None, size):
        raise CheckpointError(f"{where}: its external data has {external.length} bytes where its shape asks for {size}")
    path, shown = folder, _shown(external.location)
    try:
        for part in external.location.split("/"):
            path = path / part
            _refuse_links(path, where)
        status = path.lstat()
    except OSError as error:
        raise CheckpointError(
            f"{where}: its external data {shown} cannot be read: {error.strerror}; put that file beside the model"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{where}: its external data {shown} is no plain file: refused as unsafe")
    if status.st_nlink > 1:
        raise CheckpointError(
            f"{where}: its external data {shown} is a hard link to a file that has another name too: "
            "refused as unsafe; put a copy beside the model"
        )
    if external.offset + size > status.st_size:
        raise CheckpointError(
            f"{where}: its external data ends at byte {external.offset + size}, but {shown} has "
            f"{status.st_size}: it is cut short"
        )
    return path


def _refuse_links(path: Path, where: str) -> None:
    is_junction = getattr(path, "is_junction", None)  # Python 3.12 and later
    if path.is_symlink() or (is_junction is not None and is_junction()):
        raise CheckpointError(
            f"{where}: its external data goes through the link {path.name!r}: refused as unsafe; "
            "put a copy beside the model"
        )


def _safe_location(location: str, where: str) -> str:
    parts = location.removeprefix("./").split("/")
    drive = re.match("[A-Za-z]:", location)
    if drive or "\\" in location or "\0" in location or any(part in ("", ".", "..") for part in parts):
        raise CheckpointError(
            f"{where}: its external data {_shown(location)} is no plain path inside the model's folder: "
            "refused as unsafe"
        )
    return "/".join(parts)


def _shown(location: str) -> str:
    return repr(location if len(location) <= MAX_SHOWN else f"{location[:MAX_SHOWN]}...")


def _number(text: str, where: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise CheckpointError(f"{where} is {text[:40]!r}, which is no byte count: the file is damaged")
    return int(text)


def external_data_name(path: Path) -> str:
    """The name of the file beside the staged ``path`` that takes its tensors, ``<name>.data`` where that is free."""
    pattern = rf"{re.escape(path.name)}(\.\d+)?\.data"
    (name,) = companion_names(path, lambda mark: [f"{path.name}{mark}.data"], pattern)
    return name

"""Room in files that are written: made at once, so that a full disk shows before anything is in it."""

from __future__ import annotations

import errno
import mmap
import os
import sys
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import Array, DType
from ..errors import CheckpointError

_OPTIONS: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) and os.name == "posix" else {}
_CANNOT_RESERVE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


def allocate(path: Path, size: int) -> None:
    """Create the file ``path`` (it must not exist) with ``size`` zero bytes on the disk.

    The blocks are reserved where the system can do it, so that a full disk is an error here and not a signal at the
    first write into a mapping. Raises CheckpointError when the file cannot be made.
    """
    try:
        with path.open("xb") as file:
            file.truncate(size)
            reserve(file.fileno(), size)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot write {size} bytes: {error.strerror}") from error


def reserve(descriptor: int, size: int) -> None:
    """Have the first ``size`` bytes of an open file on the disk, where the system can. Raises OSError."""
    if not size or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in _CANNOT_RESERVE:  # some file systems cannot
            raise


def map_output(path: Path, offset: int, shape: tuple[int, ...], dtype: DType) -> Array:
    """A range of an :func:`allocate`-d file as a writable array: what is stored into it is in the file.

    Raises CheckpointError where it cannot be."""
    size = prod(shape) * dtype.itemsize
    if not size:
        return np.empty(shape, dtype)
    start = offset - offset % mmap.ALLOCATIONGRANULARITY  # a mapping begins on a page, the array where its place is
    try:
        with path.open("r+b") as file:
            length = offset - start + size
            memory = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_WRITE, offset=start, **_OPTIONS)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be mapped into memory: {error.strerror}") from error
    return np.ndarray(shape, dtype, buffer=memory, offset=offset - start)

"""A byte range of a file as an array, mapped into memory: read on touch, released when the array is collected."""

from __future__ import annotations

import errno
import math
import mmap
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..checkpoint import Array, DType
from ..errors import CheckpointError

SMALL_ARRAY = 1 << 16
"""A mapping costs system calls, and a file descriptor before Python 3.13; arrays up to this size are read instead."""

_OPTIONS: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) and os.name == "posix" else {}
_NO_MORE_MAPPINGS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
_CANNOT_RESERVE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


def map_array(path: Path, offset: int, shape: tuple[int, ...], dtype: DType) -> Array:
    """The ``shape`` elements of ``dtype`` that begin at byte ``offset`` of the file, C order, read-only.

    Every call makes its own mapping, and the array owns it: dropping the array gives the memory back. A small array
    is read at once, and so is any other when the process holds as many mappings as it may. The array may be
    unaligned when ``offset`` is no multiple of the item size. Raises CheckpointError when the range is not wholly
    inside the file. The file must not be cut short while the array lives: the operating system answers that with a
    signal, not with an error.
    """
    return _map(path, offset, shape, dtype, mmap.ACCESS_READ)


def map_output(path: Path, offset: int, shape: tuple[int, ...], dtype: DType) -> Array:
    """The same range of an :func:`allocate`-d file as a writable array: what is stored into it is in the file."""
    return _map(path, offset, shape, dtype, mmap.ACCESS_WRITE)


def allocate(path: Path, size: int) -> None:
    """Create the file ``path`` (it must not exist) with ``size`` zero bytes on the disk.

    The blocks are reserved where the system can do it, so that a full disk is an error here and not a signal at the
    first write into a mapping. Raises CheckpointError when the file cannot be made.
    """
    try:
        with path.open("xb") as file:
            file.truncate(size)
            if size:
                _reserve(file.fileno(), size)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot write {size} bytes: {error.strerror}") from error


def _reserve(descriptor: int, size: int) -> None:
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in _CANNOT_RESERVE:  # some file systems cannot
            raise


def _map(path: Path, offset: int, shape: tuple[int, ...], dtype: DType, access: int) -> Array:
    size = math.prod(shape) * dtype.itemsize
    if offset < 0 or any(length < 0 for length in shape) or dtype.hasobject:
        raise CheckpointError(f"{path}: no {dtype}{list(shape)} can be stored at byte {offset}: the file is damaged")
    try:
        with path.open("rb" if access == mmap.ACCESS_READ else "r+b") as file:
            end = os.fstat(file.fileno()).st_size
            if offset + size > end:
                raise CheckpointError(
                    f"{path}: {dtype}{list(shape)} at byte {offset} ends at {offset + size}, "
                    f"but the file has {end} bytes: it is cut short"
                )
            if not size:
                return _empty(shape, dtype, writable=access == mmap.ACCESS_WRITE)
            if access == mmap.ACCESS_READ and size <= SMALL_ARRAY:
                return np.ndarray(shape, dtype, buffer=_read(file, offset, size))
            # A mapping begins on a page; the array begins where the data does.
            start = offset - offset % mmap.ALLOCATIONGRANULARITY
            try:
                memory = mmap.mmap(file.fileno(), offset - start + size, access=access, offset=start, **_OPTIONS)
            except OSError as error:
                if access != mmap.ACCESS_READ or error.errno not in _NO_MORE_MAPPINGS:
                    raise
                return np.ndarray(shape, dtype, buffer=_read(file, offset, size))
        return np.ndarray(shape, dtype, buffer=memory, offset=offset - start)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be mapped into memory: {error.strerror}") from error
    except (ValueError, OverflowError) as error:  # more dimensions, or a longer one, than NumPy can hold
        raise CheckpointError(f"{path}: no array can be {dtype}{list(shape)}: {error}") from error


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _empty(shape: tuple[int, ...], dtype: DType, *, writable: bool) -> Array:
    array = np.empty(shape, dtype)
    array.flags.writeable = writable
    return array

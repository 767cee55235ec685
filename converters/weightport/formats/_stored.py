"""A byte range of a file as an array, and a whole file as bytes: read when asked for, never mapped.

A file that is mapped and then cut short, or whose disk fails, ends the process by a signal. What is read is an error
that can be told, and reading into memory that is used again costs no more (``tests/benchmarks/copies.py``).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import overload

import numpy as np

from ..checkpoint import Array, DType
from ..errors import CheckpointError
from ..memory import PAGE, aligned

WINDOW_BYTES = 1 << 16


@dataclass(frozen=True)
class FileArray:
    """The ``shape`` elements of ``dtype`` that begin at byte ``offset`` of the file ``path``, in C order.

    Raises CheckpointError when the range is not wholly inside the file. The file is open only while it is read."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: DType

    def __post_init__(self) -> None:
        if self.offset < 0 or any(length < 0 for length in self.shape) or self.dtype.hasobject:
            raise CheckpointError(f"{self.path}: no {self._kind} can be stored at byte {self.offset}: damaged")

    def read(self) -> Array:
        """The whole array, read-only."""
        size = prod(self.shape) * self.dtype.itemsize
        self._check_end(size)
        try:
            memory = aligned(size) if size > PAGE else np.empty(size, np.uint8)
            array = np.ndarray(self.shape, self.dtype, buffer=memory)
        except (ValueError, OverflowError) as error:  # more dimensions, or a longer one, than NumPy can hold
            raise CheckpointError(f"{self.path}: no array can be {self._kind}: {error}") from error
        self._read(0, memory)
        array.flags.writeable = False
        return array

    def read_run(self, first: int, memory: Array) -> None:
        """Fill ``memory`` (one dimension, contiguous, of this dtype) with the elements from ``first`` on."""
        self._read(first * self.dtype.itemsize, memory.view(np.uint8))

    @property
    def _kind(self) -> str:
        return f"{self.dtype}{list(self.shape)}"

    def _check_end(self, size: int) -> None:
        end = _size(self.path)
        if self.offset + size > end:
            raise CheckpointError(
                f"{self.path}: {self._kind} at byte {self.offset} ends at {self.offset + size}, but the file has {end} "
                "bytes: it is cut short, or changed while it was read"
            )

    def _read(self, start: int, memory: Array) -> None:
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(self.offset + start)
                done = 0
                while done < memory.size:
                    count = file.readinto(memory[done:].data)
                    if not count:
                        self._check_end(start + memory.size)
                        raise CheckpointError(f"{self.path}: changed while it was read")
                    done += count
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be read: {error.strerror}") from error


class FileBytes:
    """The bytes of a file, read a window at a time: indexed and cut as ``bytes`` are. Context manager.

    Raises CheckpointError where the file cannot be read, or has become shorter."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
        self._size = os.fstat(self._file.fileno()).st_size
        self._begin, self._window = 0, b""

    def __enter__(self) -> FileBytes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> bytes: ...
    def __getitem__(self, at: int | slice) -> int | bytes:
        if isinstance(at, int):
            return self._bytes(at, at + 1)[0]
        begin, end, _ = at.indices(self._size)
        return self._bytes(begin, end) if end > begin else b""

    def _bytes(self, begin: int, end: int) -> bytes:
        start = begin - self._begin
        if start < 0 or end > self._begin + len(self._window):
            if end - begin > WINDOW_BYTES:
                return self._read(begin, end - begin)
            self._window = self._read(begin, min(WINDOW_BYTES, self._size - begin))
            self._begin, start = begin, 0
        return self._window[start : start + end - begin]

    def _read(self, begin: int, size: int) -> bytes:
        try:
            self._file.seek(begin)
            data = self._file.read(size)
            while len(data) < size and (more := self._file.read(size - len(data))):
                data += more
        except OSError as error:
            raise CheckpointError(f"{self._path}: cannot be read: {error.strerror}") from error
        if len(data) < size:
            raise CheckpointError(f"{self._path}: changed while it was read: it ends at byte {begin + len(data)}")
        return data


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error

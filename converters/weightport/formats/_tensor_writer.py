"""Writing tensors into their places in an allocated file: made in one buffer that is used again, then written at once.

A page that is written once is soon on the disk. Filling a mapping of the file touches its pages again and again, and
each time that they have been flushed in between they are written again (``tests/benchmarks/copies.py`` has figures).
"""

from __future__ import annotations

import os
from math import prod
from pathlib import Path
from types import TracebackType

import numpy as np

from ..checkpoint import Array, Output
from ..errors import CheckpointError
from ..memory import Scratch
from ._room import map_output

BUFFER_BYTES = 1 << 27
"""A larger tensor is made in a mapping of its place, so that it need not fit into memory."""


class TensorWriter:
    """Fills places of the file ``path``, which :func:`allocate` has made. Context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._buffer = Scratch()

    def __enter__(self) -> TensorWriter:
        self._file = self._path.open("r+b", buffering=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, offset: int, output: Output) -> Array:
        """Make the tensor and write it, little-endian, at a byte offset. Returns what was written; it is valid until
        the next call. Raises CheckpointError where it cannot be written."""
        dtype = output.dtype.newbyteorder("<")
        if prod(output.shape) * dtype.itemsize > BUFFER_BYTES:
            return _filled(output, map_output(self._path, offset, output.shape, dtype))
        memory = _filled(output, self._buffer.array(output.shape, dtype))
        self.put(offset, memory.reshape(-1).view(np.uint8).data)
        return memory

    def put(self, offset: int, data: bytes | memoryview) -> None:
        """Write bytes at an offset. Raises CheckpointError where they cannot be written."""
        view = memoryview(data)
        try:
            self._file.seek(offset)
            done = 0
            while done < len(view):
                done += self._file.write(view[done:]) or 0
        except OSError as error:
            raise CheckpointError(f"{self._path}: cannot be written: {os.strerror(error.errno or 0)}") from error


def _filled(output: Output, memory: Array) -> Array:
    if memory.dtype == output.dtype:
        output.fill(memory)
    else:
        values = np.empty(output.shape, output.dtype)
        output.fill(values)
        memory[...] = values
    return memory

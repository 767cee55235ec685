"""The bytes that hold one HDF5 file, and the guard around everything that is read from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..checkpoint import DType
from ..errors import CheckpointError
from ._stored import FileArray

READ_FACTOR = 4
READ_COST = 32


class Window:
    """The ``size`` bytes of a file from ``start`` on as a file of their own, as pyfive wants one to read.

    An honest file's directory is read about once. A forged one can send its reader round in circles, so all reads
    together may not exceed a multiple of the size: then CheckpointError. Context manager.
    """

    def __init__(self, path: Path, start: int, size: int) -> None:
        self.size = size
        self.closed = False
        self._file = path.open("rb")
        self._start = start
        self._position = 0
        self._allowance = READ_FACTOR * size + (1 << 20)

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.closed = True
        self._file.close()

    def tell(self) -> int:
        """The position from the window's beginning."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move as a file's ``seek`` does. The place may lie outside: nothing is read there."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = base + offset
        return self._position

    def read(self, count: int = -1) -> bytes:
        """At most ``count`` bytes, fewer at the window's end. Raises CheckpointError when all is read too often."""
        left = max(self.size - self._position, 0) if self._position >= 0 else 0
        count = left if count < 0 else min(count, left)
        self._allowance -= count + READ_COST
        if self._allowance < 0:
            raise CheckpointError("its directory refers to the same bytes again and again")
        self._file.seek(self._start + self._position if count else self._start)
        data = self._file.read(count)
        self._position += len(data)
        return data


@dataclass(frozen=True)
class Region:
    """The bytes of one HDF5 file: a whole file, or an uncompressed member of an archive.

    ``label`` is what messages call it; ``owner`` is kept alive with it (a temporary file that has the bytes).
    ``verify`` is called before the first values are taken from it, and raises CheckpointError when the bytes as a
    whole are known to be wrong."""

    path: Path
    start: int
    size: int
    label: str
    owner: object = field(default=None, repr=False)
    verify: Callable[[], None] = field(default=lambda: None, repr=False)

    def window(self) -> Window:
        """The bytes as an open file, whose reads are bounded."""
        return Window(self.path, self.start, self.size)

    def array(self, offset: int, shape: tuple[int, ...], dtype: DType) -> FileArray:
        """The array at byte ``offset``."""
        return FileArray(self.path, self.start + offset, shape, dtype)


def file_region(path: Path) -> Region:
    """The whole file as a region. Raises CheckpointError when there is no such file."""
    try:
        return Region(path, 0, path.stat().st_size, str(path))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error


@contextmanager
def guarded(where: str) -> Iterator[None]:
    """Turn whatever a damaged file makes pyfive raise into a CheckpointError of one line that begins with ``where``."""
    try:
        yield
    except CheckpointError as error:
        text = str(error)
        raise CheckpointError(text if text.startswith(where) else f"{where}: {text}") from error
    except OSError as error:
        raise CheckpointError(f"{where}: cannot be read: {error.strerror or type(error).__name__}") from error
    except MemoryError as error:
        raise CheckpointError(f"{where}: damaged HDF5: it asks for more memory than there is") from error
    except Exception as error:  # what pyfive raises names a line of its own, and nothing that a user could act on
        raise CheckpointError(
            f"{where}: damaged HDF5: a structure in it is cut off or contradicts itself; copy or download it again"
        ) from error

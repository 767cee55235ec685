"""How fast blocks are copied and turned, and turned into a file, in GB/s: the variants that were tried, and ours.

python tests/benchmarks/copies.py
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from weightport import flushing
from weightport.engine import copy
from weightport.flushing import INTERVAL
from weightport.formats import _tensor_writer
from weightport.formats._room import allocate
from weightport.formats._stored import FileArray
from weightport.formats._tensor_writer import TensorWriter
from weightport.memory import aligned
from weightport.staging import staged

SHAPES = [
    ((2048, 8192), (1, 0)),
    ((4096, 4096), (1, 0)),
    ((1500, 6000), (1, 0)),
    ((3, 3, 512, 512), (3, 2, 0, 1)),
    ((512, 512, 3, 3), (2, 3, 1, 0)),
    ((2, 1024, 2048), (0, 2, 1)),
]


def gigabytes_a_second(action: Callable[[], object], size: int) -> str:
    """The best of five runs."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return f"{size / min(times) / 1e9:.2f}"


def by_rows(source: np.ndarray, target: np.ndarray, count: int = 16) -> None:
    """Sixteen rows at a time through a padded buffer; two dimensions only."""
    turned = source.T
    buffer = np.empty((count, turned.shape[1] + 16), turned.dtype)
    for row in range(0, len(turned), count):
        held = buffer[: len(turned[row : row + count]), : turned.shape[1]]
        held[...] = turned[row : row + count]
        target[:, row : row + count] = held.T


def by_tiles(source: np.ndarray, target: np.ndarray, side: int, pad: int) -> None:
    """Square tiles through a buffer whose rows are longer by ``pad``; two dimensions only."""
    turned = source.T
    buffer = np.empty((side, side + pad), turned.dtype)
    for row in range(0, turned.shape[0], side):
        for column in range(0, turned.shape[1], side):
            part = turned[row : row + side, column : column + side]
            held = buffer[: part.shape[0], : part.shape[1]]
            held[...] = part
            target[column : column + side, row : row + side] = held.T


def main() -> None:
    """Print the tables."""
    turning()
    reading()
    writing()


def reading() -> None:
    """Pieces of 4 MB of a file that the system has in its memory: mapped and touched, or read into memory that is used
    again and begins on a page, or a few bytes behind one."""
    size, piece = 1 << 28, 1 << 22
    table = Table(title="read from the system's memory, GB/s")
    for column in ("mapped", "read 16 bytes behind a page", "read at a page"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stored"
        path.write_bytes(np.random.default_rng(1).bytes(size))
        stored, memory = FileArray(path, 0, (size,), np.dtype("u1")), aligned(piece + 16)
        starts = range(0, size, piece)

        def mapped() -> None:
            for start in starts:
                memory[:piece] = np.memmap(path, "u1", "r", start, (piece,))

        def read(at: int) -> None:
            for start in starts:
                stored.read_run(start, memory[at : at + piece])

        actions = (mapped, lambda: read(16), lambda: read(0))
        table.add_row(*(gigabytes_a_second(action, size) for action in actions))
    Console(width=120).print(table)


def writing() -> None:
    """Eight turned matrices of 67 MB each into a file, until they are on the disk."""
    stored = np.random.default_rng(1).random((2048, 8192), np.float32)
    turned = _Turned(stored)
    table = Table(title="turned and on the disk, GB/s")
    table.add_column("variant")
    table.add_column("flushed at the end", justify="right")
    table.add_column("flushed early", justify="right")
    for name, buffer_bytes in (
        ("in a mapping of the file", 0),
        ("in a buffer, then written", _tensor_writer.BUFFER_BYTES),
    ):
        _tensor_writer.BUFFER_BYTES = buffer_bytes
        table.add_row(name, _written(turned, 1000.0), _written(turned, INTERVAL))
    Console(width=120).print(table)


@dataclass(frozen=True)
class _Turned:
    """A matrix that is turned when it is written."""

    stored: np.ndarray
    name: str = "weight"

    @property
    def dtype(self) -> np.dtype:
        return self.stored.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.T.shape

    def fill(self, memory: np.ndarray) -> None:
        copy(self.stored.T, memory)


def _written(output: _Turned, interval: float) -> str:
    flushing.INTERVAL = interval
    count, size = 8, output.stored.nbytes

    def write() -> None:
        with tempfile.TemporaryDirectory() as folder, staged(Path(folder) / "out", overwrite=False) as path:
            allocate(path, count * size)
            with TensorWriter(path) as writer:
                for index in range(count):
                    writer.write(index * size, output)

    return gigabytes_a_second(write, count * size)


def turning() -> None:
    """Blocks in memory."""
    table = Table(title="float32, GB/s")
    variants = ("memcpy", "plain", "16 rows", "tile 64", "tile 256", "tile 256, pad 8", "engine")
    for column in ("shape", "axes", *variants):
        table.add_column(column, justify="right")
    for shape, axes in SHAPES:
        stored = np.random.default_rng(1).random(shape, np.float32)
        source, flat = stored.transpose(axes), np.empty_like(stored)
        target = np.empty(source.shape, np.float32)
        actions = {
            "memcpy": lambda flat=flat, stored=stored: np.copyto(flat, stored),
            "plain": lambda source=source, target=target: np.copyto(target, source),
            "engine": lambda source=source, target=target: copy(source, target),
        }
        if len(shape) == 2:
            actions["16 rows"] = lambda source=source, target=target: by_rows(source, target)
            for name, side, pad in (("tile 64", 64, 0), ("tile 256", 256, 0), ("tile 256, pad 8", 256, 8)):
                actions[name] = lambda s=source, t=target, side=side, pad=pad: by_tiles(s, t, side, pad)
        figures = [gigabytes_a_second(actions[name], stored.nbytes) if name in actions else "" for name in variants]
        table.add_row("x".join(map(str, shape)), "".join(map(str, axes)), *figures)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()

"""Flax's ``.msgpack``: the tree of arrays that ``flax.serialization.to_bytes`` writes.

A tensor is named by the keys that lead to it, joined by slashes. Source: flax/serialization.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..checkpoint import Array, Contents, DType, LazyTensor, Output, Stored
from ..errors import CheckpointError
from ._msgpack_tree import Key, StoredArray, leaves, read_tree
from ._msgpack_write import write_tree
from ._stored import FileArray
from ._template import with_template

NAME = "msgpack"
FRAMEWORK = ""
SUFFIXES: tuple[str, ...] = (".msgpack",)

SEPARATOR = "/"
_SHORT_KEYS, _LONG_KEY = range(0xA1, 0xC0), 0xD9


def recognises(path: Path, head: bytes) -> bool:
    """A map whose first key is a name."""
    del path
    start = _first_key(head)
    if start is None or start + 2 > len(head):
        return False
    first = head[start]
    begin, size = (start + 2, head[start + 1]) if first == _LONG_KEY else (start + 1, first - 0xA0)
    if first != _LONG_KEY and first not in _SHORT_KEYS:
        return False
    key = head[begin : begin + size].decode(errors="replace")
    return bool(key) and key.isprintable()


def _first_key(head: bytes) -> int | None:
    """Where the first key of a map stands, None where no map begins."""
    if 0x81 <= head[0] <= 0x8F:
        return 1
    return {0xDE: 3, 0xDF: 5}.get(head[0])


def read(path: Path) -> Contents:
    """The arrays of the tree by their names. Reads everything but their bytes.

    ``description["paths"]`` has the keys of names that slashes alone do not take apart, ``description["others"]`` the
    leaves that are no arrays, as their bytes in hexadecimal: a file with this one as its template has them again.
    Raises CheckpointError on a bad file."""
    tensors: dict[str, LazyTensor] = {}
    paths: dict[str, list[Key]] = {}
    others: list[dict[str, object]] = []
    for keys, leaf in leaves(read_tree(path)):
        name = SEPARATOR.join(map(str, keys))
        if not isinstance(leaf, StoredArray):
            others.append({"keys": list(keys), "data": leaf.data.hex()})
            continue
        if name in tensors:
            raise CheckpointError(f"{path}: has two arrays that are called {name!r}: refused as unsafe")
        tensors[name] = LazyTensor(name, leaf.shape, leaf.dtype, partial(_values, path, leaf))
        if list(keys) != name.split(SEPARATOR):
            paths[name] = list(keys)
    description = {"paths": paths, "others": others}
    # JAX sorts the keys of dictionaries whenever it maps a function over them.
    return Contents(str(path), NAME, FRAMEWORK, tensors, ordered=False, description=description)


def write(path: Path, tensors: Sequence[Output], *, template: Contents | None, metadata: Mapping[str, str]) -> None:
    """Write the tree that these names make, as ``flax.serialization.from_bytes`` reads it."""
    del metadata  # the format has no place for text
    description = template.description if template is not None and template.format == NAME else {}
    paths: Mapping[str, list[Key]] = description.get("paths", {})
    outputs = [(paths.get(out.name, out.name.split(SEPARATOR)), out) for out in with_template(tensors, template)]
    others = [(other["keys"], bytes.fromhex(other["data"])) for other in description.get("others", [])]
    write_tree(path, [*outputs, *others])


def _values(path: Path, stored: StoredArray) -> Stored:
    """The array where it lies."""
    if len(stored.chunks) == 1:
        return FileArray(path, stored.chunks[0][0], stored.shape, stored.dtype)
    return _Chunked(stored.shape, stored.dtype, path, stored.chunks)


@dataclass(frozen=True)
class _Chunked:
    """An array whose elements lie in several stretches of the file, each at an offset and of a number of elements."""

    shape: tuple[int, ...]
    dtype: DType
    path: Path
    chunks: tuple[tuple[int, int], ...]

    def read(self) -> Array:
        """The whole array, read-only."""
        memory = np.empty(sum(count for _, count in self.chunks), self.dtype)
        self.read_run(0, memory)
        memory.flags.writeable = False
        return memory.reshape(self.shape)

    def read_run(self, first: int, memory: Array) -> None:
        """Fill ``memory`` with the elements from ``first`` on, of one stretch after the other."""
        start = 0
        for offset, count in self.chunks:
            begin, end = max(first, start), min(first + memory.size, start + count)
            if begin < end:
                chunk = FileArray(self.path, offset, (count,), self.dtype)
                chunk.read_run(begin - start, memory[begin - first : end - first])
            start += count

"""The tree in a file of Flax: nested maps whose leaves are arrays.

Source: flax/serialization.py. An array is an extension that holds its shape, the name of its dtype and its bytes; one
of more than a gigabyte is a map of such arrays, each a stretch of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TypeAlias

import ml_dtypes
import numpy as np

from ..checkpoint import DType
from ..errors import CheckpointError
from ._msgpack_items import Collection, Items, Span

ARRAY, COMPLEX, SCALAR = 1, 2, 3
CHUNKED, SHAPE, CHUNKS = "__msgpack_chunked_array__", "shape", "chunks"
MAX_DEPTH = 64
MAX_ENTRIES = 1 << 20
MAX_KEY = 1024
MAX_OTHER = 1 << 16
"""Bytes of a leaf that is no array: a counter, a text."""
MAX_RANK = 64

_OTHER_TYPES = (
    *("bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz"),
    *("float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
)
_PLAIN = "?bBhHiIlLqQefdFD"
DTYPE_OF_NAME: Mapping[str, DType] = {
    **{np.dtype(code).name: np.dtype(code) for code in _PLAIN},
    **{name: np.dtype(getattr(ml_dtypes, name)) for name in _OTHER_TYPES if hasattr(ml_dtypes, name)},
}


@dataclass(frozen=True)
class StoredArray:
    """An array of the file, as stretches of it at byte offsets: one, or the chunks of a large one."""

    shape: tuple[int, ...]
    dtype: DType
    chunks: tuple[tuple[int, int], ...]
    """The offset and the number of elements of each."""


@dataclass(frozen=True)
class Other:
    """A leaf that is no array, as its own bytes."""

    data: bytes


Key: TypeAlias = str | int
Leaf: TypeAlias = StoredArray | Other
Tree: TypeAlias = "dict[Key, Tree] | Leaf"


def read_tree(path: Path) -> dict[Key, Tree]:
    """The tree, with no array's bytes read. Raises CheckpointError, and nothing else, on a bad file."""
    try:
        with path.open("rb") as file:
            reader = _TreeReader(Items(file, path), path)
            tree = reader.tree(())
            if reader.items.offset != reader.items.end:
                raise CheckpointError(f"{path}: something follows the end of its tree: the file is damaged")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if not isinstance(tree, dict):
        raise CheckpointError(f"{path}: holds one value and no tree of named arrays")
    return tree


def leaves(tree: Mapping[Key, Tree], keys: tuple[Key, ...] = ()) -> Iterator[tuple[tuple[Key, ...], Leaf]]:
    """Every leaf with the keys that lead to it; an empty map is a leaf, too."""
    for key, inner in tree.items():
        if isinstance(inner, dict):
            yield from leaves(inner, (*keys, key))
        else:
            yield (*keys, key), inner


class _TreeReader:
    """Reads one tree. Everything that is read is counted: what a small file can ask for is bounded."""

    def __init__(self, items: Items, path: Path) -> None:
        self.items = items
        self._path = path
        self._entries = 0

    def tree(self, keys: tuple[Key, ...]) -> Tree:
        """The tree or leaf that begins here."""
        start, item = self.items.offset, self.items.next()
        if isinstance(item, Collection) and item.is_map and item.count:
            return self._map(item.count, keys)
        if isinstance(item, Collection) and item.count:
            raise CheckpointError(
                f"{self._where(keys)} is a list, which Flax writes as a map; write it with flax.serialization.to_bytes"
            )
        if isinstance(item, Span) and item.code in (ARRAY, SCALAR):
            return self._array(item, keys)
        return self._other(start, keys)

    def _map(self, count: int, keys: tuple[Key, ...]) -> Tree:
        if len(keys) >= MAX_DEPTH:
            raise CheckpointError(f"{self._where(keys)} is nested more than {MAX_DEPTH} deep: refused")
        self._entries += count
        if self._entries > MAX_ENTRIES or count > self.items.end:
            raise CheckpointError(f"{self._path}: its tree has more than {MAX_ENTRIES} entries: refused")
        found: dict[Key, Tree] = {}
        for _ in range(count):
            key = self._key(keys)
            if key in found:
                raise CheckpointError(f"{self._where(keys)} has two entries {key!r}: refused as unsafe")
            found[key] = self.tree((*keys, key))
        return self._joined(found, keys) if CHUNKED in found else found

    def _key(self, keys: tuple[Key, ...]) -> Key:
        item = self.items.next()
        if isinstance(item, int) and not isinstance(item, bool):
            return item
        if not isinstance(item, Span) or not item.is_text or item.size > MAX_KEY:
            raise CheckpointError(f"{self._where(keys)} has a key that is no name: the file is damaged, or not Flax's")
        return self._text(item, keys)

    def _text(self, span: Span, keys: tuple[Key, ...]) -> str:
        try:
            return self.items.bytes_of(span.offset, span.size).decode()
        except UnicodeDecodeError:
            raise CheckpointError(f"{self._where(keys)} has a name that is no UTF-8: the file is damaged") from None

    def _other(self, start: int, keys: tuple[Key, ...]) -> Other:
        size = self.items.offset - start
        if size > MAX_OTHER:
            raise CheckpointError(f"{self._where(keys)} is no array, and has {size} bytes: refused")
        return Other(self.items.bytes_of(start, size))

    def _array(self, span: Span, keys: tuple[Key, ...]) -> StoredArray:
        after = self.items.offset
        self.items.inside(span)
        parts = self.items.next()
        if parts != Collection(is_map=False, count=3):
            raise self._no_array(keys)
        shape, dtype, data = self._shape(keys), self._dtype(keys), self.items.next()
        is_data = isinstance(data, Span) and data.code is None
        if not is_data or not isinstance(data, Span) or data.offset + data.size != after or self.items.offset != after:
            raise self._no_array(keys)
        if prod(shape) * dtype.itemsize != data.size:
            raise CheckpointError(
                f"{self._where(keys)} says that it is {dtype}{list(shape)}, but has {data.size} bytes: it is damaged"
            )
        return StoredArray(shape, dtype, ((data.offset, prod(shape)),))

    def _shape(self, keys: tuple[Key, ...]) -> tuple[int, ...]:
        item = self.items.next()
        if not isinstance(item, Collection) or item.is_map or item.count > MAX_RANK:
            raise self._no_array(keys)
        return tuple(self._length(self.items.next(), keys) for _ in range(item.count))

    def _length(self, item: object, keys: tuple[Key, ...]) -> int:
        if not isinstance(item, int) or isinstance(item, bool) or item < 0:
            raise self._no_array(keys)
        return item

    def _dtype(self, keys: tuple[Key, ...]) -> DType:
        item = self.items.next()
        if not isinstance(item, Span) or item.code is not None or item.size > MAX_KEY:
            raise self._no_array(keys)
        name = self._text(item, keys)
        if name not in DTYPE_OF_NAME:
            raise CheckpointError(f"{self._where(keys)} has elements of the type {name[:40]!r}, which no tensor has")
        return DTYPE_OF_NAME[name]

    def _joined(self, parts: Mapping[Key, Tree], keys: tuple[Key, ...]) -> StoredArray:
        """The array of a map of chunks."""
        chunks, lengths = parts.get(CHUNKS), parts.get(SHAPE)
        if not isinstance(chunks, dict) or not isinstance(lengths, dict) or len(parts) != 3:
            raise self._no_array(keys)
        stretches = [chunks.get(str(index)) for index in range(len(chunks))]
        shape = tuple(self._number(lengths.get(str(index)), keys) for index in range(len(lengths)))
        arrays = [stretch for stretch in stretches if isinstance(stretch, StoredArray)]
        dtypes = {array.dtype for array in arrays}
        if len(arrays) != len(chunks) or len(dtypes) != 1 or any(len(array.shape) != 1 for array in arrays):
            raise self._no_array(keys)
        if prod(shape) != sum(array.shape[0] for array in arrays):
            raise CheckpointError(
                f"{self._where(keys)} says that it is {list(shape)}, but its chunks have "
                f"{sum(array.shape[0] for array in arrays)} elements: it is damaged"
            )
        return StoredArray(shape, dtypes.pop(), tuple(array.chunks[0] for array in arrays))

    def _number(self, leaf: Tree | None, keys: tuple[Key, ...]) -> int:
        """A length that stands as a leaf of its own."""
        data = leaf.data if isinstance(leaf, Other) else b"\xc0"
        number = data[0] if len(data) == 1 else int.from_bytes(data[1:], "big")
        if data[0] not in (*range(0x80), 0xCC, 0xCD, 0xCE, 0xCF):
            raise self._no_array(keys)
        return number

    def _no_array(self, keys: tuple[Key, ...]) -> CheckpointError:
        return CheckpointError(f"{self._where(keys)} is no array as Flax writes one: the file is damaged")

    def _where(self, keys: tuple[Key, ...]) -> str:
        name = "/".join(map(str, keys))
        return f"{self._path}: {name[:MAX_KEY]!r}" if keys else f"{self._path}: its root"

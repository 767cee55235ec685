"""The items of a MessagePack file, one after the other; the contents of arrays and texts are passed over.

Source: https://github.com/msgpack/msgpack/blob/master/spec.md. The reader is our own because the usual one holds the
whole file in memory, and gives each array's bytes only after that.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from ..errors import CheckpointError


@dataclass(frozen=True)
class Collection:
    """A map or an array of so many entries, which follow."""

    is_map: bool
    count: int


@dataclass(frozen=True)
class Span:
    """Bytes of the file: a text or raw bytes (``code`` None), or an extension of that code."""

    is_text: bool
    code: int | None
    offset: int
    size: int


Item: TypeAlias = bool | int | float | Collection | Span | None

_CONSTANTS: dict[int, bool | None] = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"}
_NUMBERS |= {0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
_LENGTHS = (">B", ">H", ">I")
_BYTES, _EXTENSION, _FIXED_EXTENSION, _TEXT, _ARRAY, _MAP = 0xC4, 0xC7, 0xD4, 0xD9, 0xDC, 0xDE


class Items:
    """Reads the items of a file from where it stands. ``end`` is where it ends."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self.end = os.fstat(file.fileno()).st_size

    @property
    def offset(self) -> int:
        """Where the next item begins."""
        return self._file.tell()

    def bytes_of(self, offset: int, size: int) -> bytes:
        """Bytes of the file; the next item is the same as before."""
        here = self._file.tell()
        self._file.seek(offset)
        data = self._file.read(size)
        self._file.seek(here)
        return data

    def inside(self, span: Span) -> None:
        """Go to the first item inside an extension."""
        self._file.seek(span.offset)

    def next(self) -> Item:
        """The next item; of a text, bytes or an extension, where it is. Raises CheckpointError where there is none."""
        first = self._take(1)[0]
        if first < 0x80 or first >= 0xE0:
            return first if first < 0x80 else first - 0x100
        if first < 0xA0:
            return Collection(is_map=first < 0x90, count=first & 0x0F)
        if first < 0xC0:
            return self._span(first & 0x1F, is_text=True)
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        return self._number(_NUMBERS[first]) if first in _NUMBERS else self._sized(first)

    def _sized(self, first: int) -> Item:
        """An item whose length follows its first byte."""
        if _BYTES <= first < _BYTES + 3:
            return self._span(self._length(first - _BYTES), is_text=False)
        if _EXTENSION <= first < _EXTENSION + 3:
            return self._extension(self._length(first - _EXTENSION))
        if _FIXED_EXTENSION <= first < _FIXED_EXTENSION + 5:
            return self._extension(1 << first - _FIXED_EXTENSION)
        if _TEXT <= first < _TEXT + 3:
            return self._span(self._length(first - _TEXT), is_text=True)
        if _ARRAY <= first < _MAP + 2:
            return Collection(is_map=first >= _MAP, count=self._length(1 + (first - _ARRAY) % 2))
        raise CheckpointError(f"{self._path}: 0x{first:02x} begins nothing in MessagePack: the file is damaged")

    def _length(self, power: int) -> int:
        return int(self._number(_LENGTHS[power]))

    def _number(self, form: str) -> int | float:
        value: int | float = struct.unpack(form, self._take(struct.calcsize(form)))[0]
        return value

    def _extension(self, size: int) -> Span:
        code = struct.unpack("b", self._take(1))[0]
        return self._span(size, is_text=False, code=code)

    def _span(self, size: int, *, is_text: bool, code: int | None = None) -> Span:
        offset = self._file.tell()
        if offset + size > self.end:
            raise CheckpointError(
                f"{self._path}: {size} bytes should follow byte {offset}, but the file has {self.end}: it is cut short"
            )
        self._file.seek(offset + size)
        return Span(is_text, code, offset, size)

    def _take(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise CheckpointError(f"{self._path}: ends in the middle of its tree: the file is cut short")
        return data


def packed(value: str | int | bool | bytes) -> bytes:
    """One value as MessagePack, in its shortest form."""
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return _packed_integer(value)
    if isinstance(value, str):
        data = value.encode()
        return (bytes([0xA0 | len(data)]) if len(data) < 32 else _with_length(_TEXT, len(data))) + data
    return packed_bytes_head(len(value)) + value


def packed_collection(count: int, *, is_map: bool) -> bytes:
    """The head of a map or an array."""
    if count < 16:
        return bytes([(0x80 if is_map else 0x90) | count])
    first = _MAP if is_map else _ARRAY
    return struct.pack(">BH", first, count) if count < 1 << 16 else struct.pack(">BI", first + 1, count)


def packed_bytes_head(size: int) -> bytes:
    """What stands before so many raw bytes."""
    return _with_length(_BYTES, size)


def packed_extension_head(code: int, size: int) -> bytes:
    """What stands before the bytes of an extension."""
    if size in (1, 2, 4, 8, 16):
        return bytes([_FIXED_EXTENSION + size.bit_length() - 1, code])
    return _with_length(_EXTENSION, size) + bytes([code])


def _packed_integer(value: int) -> bytes:
    if value < 0x80:
        return bytes([value])
    if value < 1 << 8:
        return struct.pack(">BB", 0xCC, value)
    if value < 1 << 16:
        return struct.pack(">BH", 0xCD, value)
    return struct.pack(">BI", 0xCE, value) if value < 1 << 32 else struct.pack(">BQ", 0xCF, value)


def _with_length(first: int, size: int) -> bytes:
    """The first byte of an item for its length, and the length."""
    power = 0 if size < 1 << 8 else 1 if size < 1 << 16 else 2
    return bytes([first + power]) + struct.pack(_LENGTHS[power], size)

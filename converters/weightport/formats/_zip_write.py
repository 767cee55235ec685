"""Writing an uncompressed zip archive whose larger members are made one at a time, when their place is written.

The layout is fixed before anything is written: every member begins at a multiple of ALIGNMENT, and the bytes depend on
the members only. Sizes and offsets beyond 4 GB are ZIP64.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TypeAlias

from ..checkpoint import Output
from ._checksum import crc32_of_array
from ._room import allocate
from ._tensor_writer import TensorWriter

ALIGNMENT = 64
LIMIT_32 = 0xFFFFFFFF
LIMIT_16 = 0xFFFF
"""Sizes, offsets and counts from these on are ZIP64; the old fields then have all bits set."""


Part: TypeAlias = bytes | Output
Content: TypeAlias = Part | tuple[Part, ...]
"""What a member holds: bytes, a tensor, or several of them one after the other."""

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_EXTRA = struct.Struct("<2H")
_ZIP64, _PADDING = 0x0001, 0x4246  # the latter is PyTorch's own: "FB"
_VERSION, _VERSION_64 = 20, 45
_DATE = 1 << 5 | 1  # 1980-01-01
_UTF8_NAME = 0x0800


@dataclass(frozen=True)
class _Member:
    """A member, and where its header and its content begin."""

    name: bytes
    parts: tuple[Part, ...]
    size: int
    header: int
    data: int

    @property
    def flags(self) -> int:
        """How the name is spelled; ASCII is the same in every spelling."""
        return 0 if self.name.isascii() else _UTF8_NAME


def write_archive(path: Path, contents: Sequence[tuple[str, Content]]) -> None:
    """Create the archive ``path`` with these members in this order. Raises CheckpointError where it cannot be."""
    members = list(_placed(contents))
    end = members[-1].data + members[-1].size if members else 0
    directory_size = sum(len(_entry(member, 0)) for member in members)
    allocate(path, end + directory_size + len(_end(len(members), directory_size, end)))
    entries = []
    with TensorWriter(path) as writer:
        for member in members:
            crc = _fill(member, writer)
            writer.put(member.header, _local_header(member, crc))
            entries.append(_entry(member, crc))
        writer.put(end, b"".join([*entries, _end(len(members), directory_size, end)]))


def _fill(member: _Member, writer: TensorWriter) -> int:
    """Put the content into its place. Returns its checksum."""
    at, checksum = member.data, 0
    for part in member.parts:
        if isinstance(part, bytes):
            writer.put(at, part)
            checksum = zlib.crc32(part, checksum)
        else:
            checksum = crc32_of_array(writer.write(at, part), checksum)
        at += _size(part)
    return checksum


def _placed(contents: Sequence[tuple[str, Content]]) -> Iterator[_Member]:
    header = 0
    for name, content in contents:
        encoded, parts = name.encode(), content if isinstance(content, tuple) else (content,)
        size = sum(map(_size, parts))
        data = header + _LOCAL_HEADER.size + len(encoded) + len(_local_extra(size)) + _EXTRA.size
        data += -data % ALIGNMENT
        yield _Member(encoded, parts, size, header, data)
        header = data + size


def _size(part: Part) -> int:
    return len(part) if isinstance(part, bytes) else prod(part.shape) * part.dtype.itemsize


def _local_header(member: _Member, crc: int) -> bytes:
    size = _field_32(member.size)
    extra = _local_extra(member.size)
    padding = member.data - member.header - _LOCAL_HEADER.size - len(member.name) - len(extra) - _EXTRA.size
    extra += _EXTRA.pack(_PADDING, padding) + bytes(padding)
    version = _VERSION_64 if member.size >= LIMIT_32 else _VERSION
    fields = (b"PK\x03\x04", version, member.flags, 0, 0, _DATE, crc, size, size, len(member.name), len(extra))
    return _LOCAL_HEADER.pack(*fields) + member.name + extra


def _local_extra(size: int) -> bytes:
    return _extra_64(size, size) if size >= LIMIT_32 else b""


def _extra_64(*values: int) -> bytes:
    return _EXTRA.pack(_ZIP64, 8 * len(values)) + struct.pack(f"<{len(values)}Q", *values) if values else b""


def _field_32(value: int) -> int:
    return value if value < LIMIT_32 else 0xFFFFFFFF


def _entry(member: _Member, crc: int) -> bytes:
    """The member's entry in the archive's directory."""
    sizes = (member.size, member.size) if member.size >= LIMIT_32 else ()
    extra = _extra_64(*sizes, *((member.header,) if member.header >= LIMIT_32 else ()))
    version = _VERSION_64 if extra else _VERSION
    size, header = _field_32(member.size), _field_32(member.header)
    flags, lengths = member.flags, (len(member.name), len(extra))
    fields = (b"PK\x01\x02", version, version, flags, 0, 0, _DATE, crc, size, size, *lengths)
    return _ENTRY.pack(*fields, 0, 0, 0, 0, header) + member.name + extra


def _end(count: int, size: int, offset: int) -> bytes:
    """The records after the directory."""
    end_64 = b""
    if count >= LIMIT_16 or size >= LIMIT_32 or offset >= LIMIT_32:
        versions = (_VERSION_64, _VERSION_64)
        end_64 = _END_64.pack(b"PK\x06\x06", _END_64.size - 12, *versions, 0, 0, count, count, size, offset)
        end_64 += _LOCATOR_64.pack(b"PK\x06\x07", 0, offset + size, 1)
        count, size, offset = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF
    return end_64 + _END.pack(b"PK\x05\x06", 0, 0, count, count, size, offset, 0)

"""The directory of a zip archive, checked so strictly that every honest reader agrees on what is in the archive."""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..checkpoint import Array, DType, LazyTensor
from ..errors import CheckpointError
from ._checksum import crc32_of_stored
from ._stored import FileArray

SIGNATURE = b"PK\x03\x04"
MAX_RATIO = 100
"""A compressed member larger than SMALL_MEMBER may not say that it grows by more than this (deflate could: 1032), nor
may all members together."""
SMALL_MEMBER = 1 << 24

MAX_SHOWN = 100

_BYTES = np.dtype(np.uint8)

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_END = struct.Struct("<4s4H2LH")
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_DESCRIPTOR_FOLLOWS = 0x0008
_UTF8_NAME = 0x0800
_USUAL_FLAGS = 0x0002 | 0x0004 | _DESCRIPTOR_FOLLOWS | _UTF8_NAME
"""How hard deflate tried, what follows the content, how names are spelled."""
_SEE_ZIP64, _SEE_ZIP64_COUNT = 0xFFFFFFFF, 0xFFFF
_SLACK = 1 << 10
"""By how much deflate may make the start of a content longer."""
_CUT_SHORT = "its directory, which stands at the end, is not there, so it is cut short"
_DAMAGED = (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, struct.error)


@dataclass(frozen=True)
class ZipMember:
    """One file of an archive. ``size`` is of its content; ``stored_size`` bytes of the archive hold it, beginning at
    ``data_offset``, and are the content itself unless ``compressed``."""

    name: str
    data_offset: int
    stored_size: int
    size: int
    compressed: bool
    crc: int


@dataclass(frozen=True)
class ZipDirectory:
    """The members of the archive ``path``, by name, in the archive's order. Folders are left out."""

    path: Path
    members: Mapping[str, ZipMember]
    _verified: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    @property
    def has_checksums(self) -> bool:
        """Whether any member has one: PyTorch can be told to leave them all zero."""
        return any(member.crc for member in self.members.values())

    def member(self, name: str) -> ZipMember:
        """The member of that name. Raises CheckpointError where there is none."""
        try:
            return self.members[name]
        except KeyError:
            raise CheckpointError(f"{self.path}: the archive has no member {name!r}") from None

    def read(self, name: str) -> bytes:
        """The whole content of a member. Raises CheckpointError when its size or its checksum is wrong."""
        member = self.member(name)
        content = self._stored(member, member.stored_size).read().tobytes()
        if member.compressed:
            content = _inflated(content, member, f"{self.path}: member {name!r}")
        self._compare_crc(member, zlib.crc32(content))
        return content

    def content(self, name: str) -> bytes | LazyTensor:
        """A member for another archive: its bytes, or what gives them where they are not compressed."""
        member = self.member(name)
        if member.compressed:
            return self.read(name)
        return LazyTensor(name, (member.size,), _BYTES, partial(self.array, name, 0, (member.size,), _BYTES))

    def array(self, name: str, offset: int, shape: tuple[int, ...], dtype: DType) -> Array | FileArray:
        """The array that begins at a byte of a member: in memory where that is compressed, else where it lies.

        Raises CheckpointError when the member's checksum is wrong."""
        member = self.member(name)
        if member.compressed:
            return np.ndarray(shape, dtype, buffer=self.read(name), offset=offset)
        self.check_crc(name)
        return FileArray(self.path, member.data_offset + offset, shape, dtype)

    def head(self, name: str, size: int) -> bytes:
        """The first bytes of a member's content, at most ``size`` of them; their checksum is not looked at."""
        member = self.member(name)
        stored = self._stored(member, min(member.stored_size, size + _SLACK)).read().tobytes()
        if not member.compressed:
            return stored[:size]
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(stored, size)
        except zlib.error as error:
            where = f"{self.path}: member {name!r}"
            raise CheckpointError(f"{where} cannot be decompressed: {error}: the file is damaged") from error

    def check_crc(self, name: str) -> None:
        """Read an uncompressed member through once, in chunks. Raises CheckpointError when its checksum is wrong."""
        member = self.member(name)
        if name not in self._verified:
            self._compare_crc(member, crc32_of_stored(self._stored(member, member.stored_size)))
            self._verified.add(name)

    def _compare_crc(self, member: ZipMember, crc: int) -> None:
        if crc != member.crc and self.has_checksums:
            raise CheckpointError(
                f"{self.path}: member {member.name!r} has checksum {crc:08x}, expected {member.crc:08x}: "
                "the file is damaged; copy or download it again"
            )

    def _stored(self, member: ZipMember, size: int) -> FileArray:
        """The first bytes of a member as the archive holds them."""
        return FileArray(self.path, member.data_offset, (size,), _BYTES)


def open_directory(path: Path) -> ZipDirectory:
    """The archive's directory, with no member's content read yet.

    Raises CheckpointError for a damaged archive, and for every trick by which two readers see two different archives
    or a member leaves its folder: duplicate, absolute or climbing names, links, encryption, overlapping members,
    local headers that differ from the directory, data before the first member.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _check_count(file, len(archive.comment), len(entries), path)
            members = [_checked(entry, file, path) for entry in entries]
            _refuse_overlaps(entries, members, archive.start_dir, path)
            _check_total(members, archive.start_dir, path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except _DAMAGED as error:
        reason = _CUT_SHORT if str(error) == "File is not a zip file" else str(error)
        raise CheckpointError(f"{path}: a damaged zip archive: {reason}; copy or download it again") from error
    return ZipDirectory(path, _by_name(members, path))


def _check_count(file: BinaryIO, comment: int, count: int, path: Path) -> None:
    """The directory has as many entries as the archive's end says: some readers count, others read on."""
    file.seek(-(_END.size + comment), os.SEEK_END)
    signature, *_, here, total, _, _, _ = _END.unpack(file.read(_END.size))
    if signature != b"PK\x05\x06":
        raise CheckpointError(f"{path}: bytes follow the archive's end: refused as unsafe; copy or download it again")
    if here != total or total not in (count, _SEE_ZIP64_COUNT):
        raise CheckpointError(f"{path}: the archive says that it has {total} members, but {count} are listed: refused")


def _by_name(members: list[ZipMember], path: Path) -> Mapping[str, ZipMember]:
    by_name: dict[str, ZipMember] = {}
    for member in members:
        if by_name.setdefault(member.name, member) is not member:
            raise CheckpointError(f"{path}: the archive has two members named {member.name!r}: refused as unsafe")
    return {name: member for name, member in by_name.items() if not name.endswith("/")}


def _checked(entry: zipfile.ZipInfo, file: BinaryIO, path: Path) -> ZipMember:
    # `filename` is cut at a NUL and has its separators changed; only `orig_filename` is what the archive says.
    name = entry.orig_filename
    where = f"{path}: member {name[:MAX_SHOWN]!r}"
    _refuse_unsafe_name(name, where)
    if entry.flag_bits & _ENCRYPTED:
        raise CheckpointError(f"{where} is encrypted: decrypt the archive first")
    if entry.flag_bits & ~_USUAL_FLAGS:
        raise CheckpointError(f"{where} has flags (0x{entry.flag_bits:04x}) that no checkpoint has: refused as unsafe")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise CheckpointError(f"{where} is a symbolic link: refused as unsafe")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise CheckpointError(f"{where} is no plain file (mode {entry.external_attr >> 16:o}): refused as unsafe")
    if entry.volume:
        raise CheckpointError(f"{where} is said to be on disk {entry.volume} of several: refused as unsafe")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CheckpointError(f"{where} is compressed by method {entry.compress_type}: only deflate is read")
    compressed = entry.compress_type == zipfile.ZIP_DEFLATED
    _check_size(entry, compressed, where)
    data_offset = _data_offset(entry, file, where)
    return ZipMember(name, data_offset, entry.compress_size, entry.file_size, compressed, entry.CRC)


def is_safe_name(name: str) -> bool:
    """Whether a member's name is a plain relative path."""
    parts = name.removesuffix("/").split("/")
    absolute = name.startswith("/") or re.match("[A-Za-z]:", name)
    return not (absolute or "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts))


def _refuse_unsafe_name(name: str, where: str) -> None:
    if not is_safe_name(name):
        raise CheckpointError(f"{where} has a name that is no plain relative path: refused as unsafe")


def _check_size(entry: zipfile.ZipInfo, compressed: bool, where: str) -> None:
    if not compressed and entry.compress_size != entry.file_size:
        raise CheckpointError(f"{where} holds {entry.compress_size} bytes, but says {entry.file_size}: damaged")
    if entry.file_size > max(SMALL_MEMBER, MAX_RATIO * entry.compress_size):
        raise CheckpointError(
            f"{where} says that its {entry.compress_size} bytes grow to {entry.file_size}: refused, "
            f"more than {MAX_RATIO} times; unpack it and store it uncompressed if it is genuine"
        )
    if entry.orig_filename.endswith("/") and entry.file_size:
        raise CheckpointError(f"{where} is a folder with content: the archive is damaged")


def _check_total(members: list[ZipMember], stored: int, path: Path) -> None:
    total = sum(member.size for member in members)
    if total > max(SMALL_MEMBER, MAX_RATIO * stored):
        raise CheckpointError(
            f"{path}: the archive says that its {stored} bytes grow to {total}: refused, more than {MAX_RATIO} times"
        )


def _data_offset(entry: zipfile.ZipInfo, file: BinaryIO, where: str) -> int:
    """Where the content begins. Only the member's own header, before the content, can tell; it must agree with the
    directory in everything that it says."""
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size:
        raise CheckpointError(f"{where} begins past the end of the file: it is cut short")
    signature, _, flags, method, _, _, crc, stored_size, size, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    name = file.read(name_length)
    expected = entry.orig_filename.encode("utf-8" if entry.flag_bits & _UTF8_NAME else "cp437")
    same = (signature, flags, method, name) == (SIGNATURE, entry.flag_bits, entry.compress_type, expected)
    # A streaming writer does not know these yet and leaves zeros.
    unknown = {0} if flags & _DESCRIPTOR_FOLLOWS else set()
    same &= crc in unknown | {entry.CRC}
    same &= stored_size in unknown | {entry.compress_size, _SEE_ZIP64}
    same &= size in unknown | {entry.file_size, _SEE_ZIP64}
    if not same:
        raise CheckpointError(f"{where} has a header that differs from the archive's directory: refused as unsafe")
    return int(entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length)


def _refuse_overlaps(
    entries: list[zipfile.ZipInfo], members: list[ZipMember], directory_offset: int, path: Path
) -> None:
    spans = [
        (entry.header_offset, member.data_offset + member.stored_size, member.name)
        for entry, member in zip(entries, members, strict=True)
    ]
    spans = [*sorted(spans), (directory_offset, directory_offset, "the directory")]
    if spans[0][0] != 0:
        raise CheckpointError(f"{path}: data stands before the archive's first member: refused as unsafe")
    for (_, end, name), (start, _, next_name) in pairwise(spans):
        if end > start:
            raise CheckpointError(f"{path}: members {name!r} and {next_name!r} overlap: refused as unsafe")


def _inflated(stored: bytes, member: ZipMember, where: str) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflater.decompress(stored, member.size + 1)
    except zlib.error as error:
        raise CheckpointError(f"{where} cannot be decompressed: {error}: the file is damaged") from error
    if len(content) != member.size or not inflater.eof or inflater.unused_data:
        raise CheckpointError(f"{where} does not decompress to {member.size} bytes as it says: the file is damaged")
    return content

"""Zip archives: an honest one is read as zipfile reads it, an ambiguous or hostile one is refused, ours is exact."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from torch_files import stored
from weightport.errors import CheckpointError
from weightport.formats import _zip_write
from weightport.formats._zip import open_directory
from weightport.formats._zip_write import Content, write_archive

CONTENTS = {"a/one": b"first" * 50, "a/two": bytes(range(256)), "a/empty": b"", "b": b"x"}
END = struct.Struct("<4s4H2LH")


def make(path: Path, contents: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in (contents or CONTENTS).items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_as_zipfile_reads_them(compression: int, tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", compression=compression)
    directory = open_directory(path)
    assert list(directory.members) == list(CONTENTS)
    assert {name: directory.read(name) for name in CONTENTS} == CONTENTS
    for name, member in directory.members.items():
        raw = path.read_bytes()[member.data_offset : member.data_offset + member.stored_size]
        assert (zlib.decompress(raw, -15) if member.compressed else raw) == CONTENTS[name]


def test_an_archive_written_to_a_pipe_is_read(tmp_path: Path) -> None:
    """Its local headers have neither sizes nor checksums; they follow the content."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.written = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.written += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        archive.writestr("a/one", CONTENTS["a/one"])
    path = tmp_path / "a.zip"
    path.write_bytes(pipe.written)
    assert open_directory(path).read("a/one") == CONTENTS["a/one"]


def test_a_wrong_checksum_is_found_unless_the_archive_has_none(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip")
    place = open_directory(path).member("a/two").data_offset
    data = bytearray(path.read_bytes())
    data[place + 3] ^= 0x40
    path.write_bytes(data)
    directory = open_directory(path)
    for check in (directory.read, directory.check_crc):
        check("a/one")
        with pytest.raises(CheckpointError, match=r"'a/two' has checksum \w{8}, expected \w{8}.*damaged"):
            check("a/two")
    for crc in {zlib.crc32(content) for content in CONTENTS.values()} - {0}:
        data = data.replace(struct.pack("<L", crc), bytes(4))
    path.write_bytes(data)
    assert open_directory(path).read("a/two") != CONTENTS["a/two"]


@pytest.mark.parametrize(
    "name", ["../x", "a/../x", "/etc/x", "C:x", "a\\b", "a//b", "./x", "a/.", "", "/"], ids=lambda name: name or "empty"
)
def test_a_name_that_is_no_plain_relative_path_is_refused(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        entry = zipfile.ZipInfo("placeholder")
        entry.filename = name
        archive.writestr(entry, b"x")
    with pytest.raises(CheckpointError, match="no plain relative path: refused as unsafe"):
        open_directory(tmp_path / "a.zip")


def patched(path: Path, old: bytes, new: bytes, count: int = -1) -> Path:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, count))
    return path


def flag(path: Path, bit: int) -> Path:
    """Set a flag in the first member's two headers."""
    data = bytearray(path.read_bytes())
    for place in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
        data[place : place + 2] = struct.pack("<H", struct.unpack_from("<H", data, place)[0] | bit)
    path.write_bytes(data)
    return path


def overlapping(path: Path) -> Path:
    """A member whose content holds another member, header and all."""
    inner = make(path, {"b": b"inside"}).read_bytes()
    inner = inner[: inner.index(b"PK\x01\x02")]
    path.unlink()
    data = bytearray(make(path, {"a": inner, "b": b"inside"}).read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 42 : entry + 46] = struct.pack("<L", data.index(inner))
    path.write_bytes(data)
    return path


def duplicate(path: Path) -> Path:
    with pytest.warns(UserWarning), zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"harmless")
        archive.writestr("a/data.pkl", b"harmful!")
    return path


def link(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("a")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    return path


def bomb(path: Path) -> Path:
    return make(path, {"a": bytes(1 << 25)}, zipfile.ZIP_DEFLATED)


def understated_bomb(path: Path) -> Path:
    """Says 5,000 bytes, unpacks to 50,000."""
    make(path, {"a": bytes(50_000)}, zipfile.ZIP_DEFLATED)
    return patched(path, struct.pack("<L", 50_000), struct.pack("<L", 5_000))


def locally_renamed(path: Path) -> Path:
    return patched(make(path), b"a/one", b"a/eno", 1)


def prepended(path: Path) -> Path:
    make(path)
    path.write_bytes(b"PK\x03\x04 a script" + path.read_bytes())
    return path


@pytest.mark.parametrize(
    ("craft", "words"),
    [
        (duplicate, "two members named 'a/data.pkl'"),
        (link, "symbolic link"),
        (overlapping, "'a' and 'b' overlap"),
        (lambda path: make(path, compression=zipfile.ZIP_LZMA), "method 14: only deflate"),
        (bomb, "more than 100 times"),
        (locally_renamed, "header that differs"),
        (prepended, "before the archive's first member"),
        (lambda path: flag(make(path), 0x0001), "encrypted"),
        (lambda path: flag(make(path), 0x2000), "encrypted"),
    ],
)
def test_an_archive_that_two_readers_could_see_differently_is_refused(craft, words: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CheckpointError, match=words) as caught:
        open_directory(craft(tmp_path / "a.zip"))
    assert "\n" not in str(caught.value)


def test_a_member_that_unpacks_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    directory = open_directory(understated_bomb(tmp_path / "a.zip"))
    with pytest.raises(CheckpointError, match="does not decompress to 5000 bytes"):
        directory.read("a")


def test_a_member_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no member 'c'"):
        open_directory(make(tmp_path / "a.zip")).read("c")


def test_an_archive_that_is_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = make(tmp_path / "a.zip").read_bytes()
    for end in range(len(whole)):
        (tmp_path / "cut.zip").write_bytes(whole[:end])
        with pytest.raises(CheckpointError, match="damaged zip archive"):
            open_directory(tmp_path / "cut.zip")


ARRAY = np.arange(1000, dtype="<f4")
MEMBERS: list[tuple[str, Content]] = [
    ("m/first", b"12345"),
    ("m/array", stored(ARRAY)),
    ("m/empty", stored(np.empty((0, 3)))),
    ("m/scalar", stored(np.array(2.5))),
    ("m/last", b"3\n"),
]


def check_written(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [name for name, _ in MEMBERS]
        assert archive.read("m/array") == ARRAY.tobytes()
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    directory = open_directory(path)
    assert all(member.data_offset % 64 == 0 for member in directory.members.values())
    assert directory.read("m/scalar") == np.array(2.5).tobytes()
    assert directory.read("m/first") == b"12345"


def test_what_is_written_is_aligned_exact_and_read_by_zipfile(tmp_path: Path) -> None:
    for name in ("one.zip", "two.zip"):
        write_archive(tmp_path / name, MEMBERS)
        check_written(tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_sizes_offsets_and_counts_that_need_zip64_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_zip_write, "LIMIT_32", 300)
    monkeypatch.setattr(_zip_write, "LIMIT_16", 3)
    write_archive(tmp_path / "a.zip", MEMBERS)
    check_written(tmp_path / "a.zip")
    data = (tmp_path / "a.zip").read_bytes()
    assert END.unpack(data[-END.size :])[3:7] == (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    assert data.count(b"\x01\x00\x10\x00" + struct.pack("<Q", ARRAY.nbytes)) >= 1, "no ZIP64 size in a local header"


def test_a_big_endian_tensor_is_stored_little_endian(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.zip", [("m", stored(ARRAY.astype(">f4")))])
    assert open_directory(tmp_path / "a.zip").read("m") == ARRAY.tobytes()


def test_a_disk_that_is_full_and_a_file_that_exists_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zip").touch()
    with pytest.raises(CheckpointError, match=r"cannot write \d+ bytes: File exists"):
        write_archive(tmp_path / "a.zip", MEMBERS)

    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(CheckpointError, match="No space left"):
        write_archive(tmp_path / "b.zip", MEMBERS)


def test_an_archive_that_lost_its_end_or_gained_bytes_says_so(tmp_path: Path) -> None:
    data = make(tmp_path / "a.zip").read_bytes()
    for content, words in [
        (data[:-30], "so it is cut short; copy or download it again"),
        (data + b"\n", "bytes follow"),
    ]:
        (tmp_path / "a.zip").write_bytes(content)
        with pytest.raises(CheckpointError, match=words):
            open_directory(tmp_path / "a.zip")

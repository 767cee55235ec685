"""Zip archives by which two readers see two different archives, or a member leaves its folder, or grows."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch_files import PROTOCOL, text

from . import Place, attack, npz
from . import _honest as honest
from .pickles import gadget

LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
UNSAFE_NAME = "no plain relative path: refused as unsafe"


def archives(place: Place) -> dict[str, Path]:
    """An honest archive of each kind."""
    return {
        ".pt": honest.torch_zip(place.folder / "model.pt"),
        ".keras": honest.keras(place.folder / "model.keras"),
    }


def _changed(change: Callable[[bytes, Place], bytes], suffix: str, place: Place) -> Path:
    paths = archives(place)
    path = paths.pop(suffix)
    for other in paths.values():
        other.unlink()
    path.write_bytes(change(path.read_bytes(), place))
    return path


def member(name: str, content: bytes, **fields: int) -> tuple[bytes, bytes]:
    """A local header with its content, and a directory entry whose offset is still to be set."""
    values = {
        "flags": 0,
        "method": 0,
        "crc": zlib.crc32(content),
        "stored": len(content),
        "size": len(content),
        "mode": 0,
    }
    values |= fields
    common = struct.pack(
        "<3H2x2x3L", 20, values["flags"], values["method"], values["crc"], values["stored"], values["size"]
    )
    encoded = name.encode()
    head = LOCAL + common + struct.pack("<2H", len(encoded), 0) + encoded + content
    entry = CENTRAL + struct.pack("<H", 0x0314) + common + struct.pack("<5H", len(encoded), 0, 0, 0, 0)
    return head, entry + struct.pack("<L", values["mode"] << 16) + b"OFFS" + encoded


def with_member(data: bytes, head: bytes, entry: bytes, offset: int | None = None) -> bytes:
    """The archive with one more member, at the end; its entry may point elsewhere."""
    end = data.rindex(END)
    count, _, start = struct.unpack_from("<H2L", data, end + 10)
    entry = entry.replace(b"OFFS", struct.pack("<L", start if offset is None else offset))
    directory = data[start:end] + entry
    tail = END + struct.pack("<4H2LH", 0, 0, count + 1, count + 1, len(directory), start + len(head), 0)
    return data[:start] + head + directory + tail


def added(name: str, **fields: int) -> Callable[[bytes, Place], bytes]:
    return lambda data, place: with_member(data, *member(name, place.command.encode(), **fields))


def first_names(data: bytes) -> tuple[int, int]:
    """Where the first member's local header and directory entry are."""
    return data.index(LOCAL), data.index(CENTRAL)


def patched(local: int | None, central: int | None, form: str, value: int) -> Callable[[bytes, Place], bytes]:
    """A field of the first member changed, in either header or in both."""

    def change(data: bytes, place: Place) -> bytes:
        changed = bytearray(data)
        for start, offset in zip(first_names(data), (local, central), strict=True):
            if offset is not None:
                struct.pack_into(form, changed, start + offset, value)
        return bytes(changed)

    return change


def second_pickle(data: bytes, place: Place) -> bytes:
    """PyTorch takes the first of two members with one name, Python's zipfile the last."""
    name = zipfile_names(data)[0]
    return with_member(data, *member(name, PROTOCOL + gadget("posix.system", text(place.command)) + b"."))


def zipfile_names(data: bytes) -> list[str]:
    """The names in the directory, in its order."""
    names, at = [], data.index(CENTRAL)
    while data[at : at + 4] == CENTRAL:
        length, extra, comment = struct.unpack_from("<3H", data, at + 28)
        names.append(data[at + 46 : at + 46 + length].decode())
        at += 46 + length + extra + comment
    return names


def renamed_locally(data: bytes, place: Place) -> bytes:
    at = data.index(LOCAL) + 30
    return data[:at] + data[at : at + 4].swapcase() + data[at + 4 :]


def overlapping(data: bytes, place: Place) -> bytes:
    """A thousand entries that all point at one member: forty kilobytes that say they are a gigabyte."""
    start = data.index(CENTRAL)
    entry = data[start : data.index(CENTRAL, start + 4)]
    copies = b"".join(
        entry.replace(zipfile_names(data)[0].encode(), f"x{n:0{len(zipfile_names(data)[0]) - 1}}".encode())
        for n in range(1000)
    )
    directory = data[start : data.rindex(END)] + copies
    count = 1000 + len(zipfile_names(data))
    return data[:start] + directory + END + struct.pack("<4H2LH", 0, 0, count, count, len(directory), start, 0)


def quine(data: bytes, place: Place) -> bytes:
    """A member whose content is said to be the whole archive, its own header included."""
    head, entry = member("whole", b"")
    entry = bytearray(entry)
    struct.pack_into("<2L", entry, 20, len(data), len(data))
    return with_member(data, head, bytes(entry), offset=0)


def script_before(data: bytes, place: Place) -> bytes:
    """A shell script that is a zip archive as well: Python's zipfile skips what stands before."""
    script = b"PK\x03\x04\n" + place.command.encode() + b"\nexit\n"
    return script + data


def second_directory(data: bytes, place: Place) -> bytes:
    """Two directories; readers look from the end, from the front, or for the larger comment."""
    other = honest.zipped(place.folder / "other", {"archive/data.pkl": b"other"})
    content = other.read_bytes()
    other.unlink()
    return data + content


def directory_in_the_comment(data: bytes, place: Place) -> bytes:
    fake = data[data.rindex(END) :]
    return data[:-2] + struct.pack("<H", len(fake)) + fake


def count_lies(data: bytes, place: Place) -> bytes:
    changed = bytearray(data)
    struct.pack_into("<2H", changed, data.rindex(END) + 8, 1, 1)
    return bytes(changed)


def size_of_directory_lies(data: bytes, place: Place) -> bytes:
    changed = bytearray(data)
    struct.pack_into("<L", changed, data.rindex(END) + 12, 0xFFFFFF)
    return bytes(changed)


def offset_of_directory_lies(data: bytes, place: Place) -> bytes:
    changed = bytearray(data)
    struct.pack_into("<L", changed, data.rindex(END) + 16, 0)
    return bytes(changed)


def zip64_sizes_lie(data: bytes, place: Place) -> bytes:
    """Sizes beyond the file, in the larger fields that ZIP64 has for them."""
    head, entry = member("huge", b"")
    wide = bytearray(entry)
    struct.pack_into("<2L", wide, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", wide, 30, 20)
    return with_member(data, head, bytes(wide) + struct.pack("<2H2Q", 1, 16, 1 << 50, 1 << 50))


def deflated_bomb(data: bytes, place: Place) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = packer.compress(bytes(1 << 26)) + packer.flush()
    return with_member(data, *member("zeros", content, method=8, size=1 << 26, crc=0))


def many_bombs(data: bytes, place: Place) -> bytes:
    """Each too small to be noticed alone."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = packer.compress(bytes(1 << 24)) + packer.flush()
    for number in range(30):
        data = with_member(data, *member(f"zeros{number}", content, method=8, size=1 << 24, crc=0))
    return data


def cut(data: bytes, place: Place) -> bytes:
    return data[: len(data) * 2 // 3]


_DAMAGED = "damaged|cut short|differs|refused as unsafe|overlap|before the archive's first member"
CHANGES: dict[str, tuple[Callable[[bytes, Place], bytes], str]] = {
    "a member that climbs": (added("../outside/canary"), UNSAFE_NAME),
    "a member that climbs later": (added("archive/../../outside/canary"), UNSAFE_NAME),
    "an absolute member": (added("/etc/x"), UNSAFE_NAME),
    "a member on another drive": (added("C:x"), UNSAFE_NAME),
    "a member with backslashes": (added("..\\outside\\canary"), UNSAFE_NAME),
    "a member whose name has a NUL": (added("archive/x\0.txt"), UNSAFE_NAME),
    "a member without a name": (added(""), UNSAFE_NAME),
    "a member of control characters": (added("archive/\x1b[2Jx"), ""),  # no name of a member is ever shown as it is
    "a symbolic link": (added("archive/link", mode=stat.S_IFLNK | 0o777), "symbolic link"),
    "a device": (added("archive/device", mode=stat.S_IFCHR | 0o666), "no plain file"),
    "an encrypted member": (added("archive/x", flags=1), "encrypted"),
    "a strongly encrypted member": (added("archive/x", flags=0x40), "encrypted"),
    "a masked directory": (added("archive/x", flags=0x2000), "encrypted"),
    "a patched member": (added("archive/x", flags=0x20), "flags .0x0020. that no checkpoint has"),
    "an unknown compression": (added("archive/x", method=99), "only deflate is read"),
    "bzip2": (added("archive/x", method=12), "only deflate is read"),
    "a folder with content": (added("archive/folder/"), "folder with content"),
    "two members of one name": (second_pickle, "two members named"),
    "a name that differs in the local header": (renamed_locally, "header that differs"),
    "a flag in the directory only": (patched(None, 8, "<H", 0x0800), "header that differs"),
    "an encryption flag in the local header only": (patched(6, None, "<H", 1), "header that differs"),
    "a method that differs in the local header": (patched(8, None, "<H", 8), "header that differs"),
    "a size that differs in the local header": (patched(22, None, "<L", 1), "header that differs"),
    "a checksum that differs in the local header": (patched(14, None, "<L", 1), "header that differs"),
    "a stored member of two sizes": (patched(22, 24, "<L", 1 << 20), "holds .* bytes, but says"),
    "a header past the end": (patched(None, 42, "<L", 0x7FFFFFF0), _DAMAGED),
    "a disk that is not there": (patched(None, 34, "<H", 7), "on disk 7 of several"),
    "a thousand members in one place": (overlapping, _DAMAGED),
    "an archive that holds itself": (quine, _DAMAGED),
    "a script before the archive": (script_before, _DAMAGED),
    "a second archive behind the first": (second_directory, _DAMAGED),
    "a directory in the comment": (directory_in_the_comment, _DAMAGED),
    "a directory of one member of many": (count_lies, "says that it has 1 members, but"),
    "a directory that is too large": (size_of_directory_lies, _DAMAGED),
    "a directory that is elsewhere": (offset_of_directory_lies, _DAMAGED),
    "sizes of a petabyte": (zip64_sizes_lie, _DAMAGED),
    "a bomb": (deflated_bomb, "refused, more than 100 times"),
    "many small bombs": (many_bombs, "bytes grow to .*more than 100 times"),
    "a file that is cut short": (cut, "damaged zip archive"),
}

for _name, (_change, _words) in CHANGES.items():
    for _suffix in (".pt", ".keras"):
        attack(_words, f"{_name} ({_suffix})")(partial(_changed, _change, _suffix))


@attack("a NumPy array .*which does not say what it is", "npy of objects")
def npy_of_objects(place: Place) -> Path:
    path = npz.of_objects(place)
    with zipfile.ZipFile(path) as file:
        content = file.read("w.npy")
    path.unlink()
    single = place.folder / "model.npy"
    single.write_bytes(content)
    return single

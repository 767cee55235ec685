"""MessagePack as Flax has it: lengths and shapes that lie, nesting without end, names twice, extensions of other kinds."""

from __future__ import annotations

import struct
from functools import partial
from pathlib import Path

from . import Place, attack
from . import _honest as honest

NO_ARRAY = "is no array as Flax writes one: the file is damaged"
FLOAT32 = b"\xa7float32"


def extension(content: bytes, code: int = 1, size: int | None = None) -> bytes:
    """An extension of up to four gigabytes, or of any size that it says."""
    return b"\xc9" + struct.pack(">Ib", len(content) if size is None else size, code) + content


def array(shape: bytes = b"\x91\x02", dtype: bytes = FLOAT32, data: bytes = bytes(8), size: int | None = None) -> bytes:
    """An array of two, in any part something else."""
    length = struct.pack(">I", len(data) if size is None else size)
    return extension(b"\x93" + shape + dtype + b"\xc6" + length + data)


def tree(leaf: bytes, *more: bytes) -> bytes:
    """A tree with one leaf, and perhaps others."""
    entries = [leaf, *more]
    return b"\x81\xa6params" + bytes([0x80 | len(entries)]) + b"".join(b"\xa1w" + entry for entry in entries)


def chunked(shape: bytes, *chunks: bytes) -> bytes:
    """An array in chunks."""
    inner = bytes([0x80 | len(chunks)]) + b"".join(b"\xa1" + str(i).encode() + c for i, c in enumerate(chunks))
    return b"\x83\xb9__msgpack_chunked_array__\xc3\xa5shape" + shape + b"\xa6chunks" + inner


def with_honest(*entries: bytes) -> bytes:
    """Honest weights, and other entries beside them."""
    return bytes([0x80 | (1 + len(entries))]) + honest.MSGPACK[1:] + b"".join(entries)


def many_entries() -> bytes:
    """A map of two million names of one letter, each with nothing."""
    return b"\xdf" + struct.pack(">I", 1 << 21) + b"\xa1w\xc0" * (1 << 21)


LONG = b"\xdb" + struct.pack(">I", 100_000) + b"x" * 100_000
TERABYTES = b"\xcf" + struct.pack(">Q", 1 << 40)
LARGEST = b"\xcf" + bytes([255] * 8)
W = b"\x82\xa1w" + array()

ATTACKS = {
    "a shape of terabytes": (tree(array(b"\x91" + TERABYTES)), "says that it is .* but has 8 bytes"),
    "a shape that overflows": (tree(array(b"\x94" + LARGEST + LARGEST + b"\x02\x02")), "says that it is .* but has 8"),
    "a shape below zero": (tree(array(b"\x92\xff\xfe")), NO_ARRAY),
    "a shape of many axes": (tree(array(b"\xdd" + struct.pack(">I", 1 << 31))), NO_ARRAY),
    "a shape of fractions": (tree(array(b"\x91\xca\x40\0\0\0")), NO_ARRAY),
    "objects": (tree(array(dtype=b"\xa6object")), "elements of the type 'object', which no tensor has"),
    "a type of a hundred thousand letters": (tree(array(dtype=LONG)), NO_ARRAY),
    "a type with fields": (tree(array(dtype=b"\xad[('a', '<f4')")), "elements of the type .* which no tensor has"),
    "bytes of gigabytes": (tree(array(size=0xFFFFFFFF)), "it is cut short"),
    "an extension of gigabytes": (tree(extension(b"", size=0xFFFFFFFF)), "it is cut short"),
    "bytes that leave their extension": (tree(extension(b"\x93\x91\x02" + FLOAT32 + b"\xc4\x08") + bytes(8)), NO_ARRAY),
    "an extension in an extension": (tree(extension(array())), NO_ARRAY),
    "a name twice": (tree(array(), array(data=bytes(range(8)))), "two entries 'w': refused as unsafe"),
    "a name in two ways": (b"\x82\xa3a/w" + array() + b"\xa1a\x81\xa1w" + array(), "two arrays .* called 'a/w'"),
    "a name of a hundred thousand letters": (W + LONG + b"\xc0", "a key that is no name"),
    "a name that is no text": (W + b"\xa2\xff\xfe" + array(), "a name that is no UTF-8"),
    "a name that steers a terminal": (W + b"\xa5\x1b[31m" + b"\xc1", "begins nothing in MessagePack"),
    "an array for a name": (W + b"\x91\x01" + array(), "a key that is no name"),
    "a hundred thousand maps in one another": (b"\x81\xa1w" * 100_000 + b"\xc0", "nested more than 64 deep"),
    "a hundred thousand lists in one another": (b"\x81\xa1w" + b"\x91" * 100_000 + b"\xc0", "is a list"),
    "a map of four thousand million": (b"\xdf\xff\xff\xff\xff\xa1w" + array(), "entries: refused"),
    "a map of two million": (many_entries(), "entries: refused"),
    "a text of megabytes": (W + b"\xa1t\xdb\x00\x20\x00\x00" + b"x" * (1 << 21), "is no array, and has 2097157 bytes"),
    "chunks of another length": (tree(chunked(b"\x81\xa10" + TERABYTES, array(), array())), "chunks have 4 elements"),
    "chunks of two types": (tree(chunked(b"\x81\xa10\x04", array(), array(dtype=b"\xa5int32"))), NO_ARRAY),
    "chunks that are none": (tree(chunked(b"\x81\xa10\x02", b"\xc0")), NO_ARRAY),
    "something after the end": (tree(array()) + b"\x00", "something follows the end of its tree"),
    "a value that is none": (tree(b"\xc1"), "begins nothing in MessagePack"),
    "an end in a number": (tree(b"\xcf\x00"), "cut short"),
    "extensions of other kinds": (with_honest(b"\xa4code" + extension(b"cposix\nsystem\n.", 42)), ""),
    "a time and a complex number": (
        with_honest(b"\xa1t\xd6\xff" + bytes(4), b"\xa1c" + extension(b"\x92\x01\x02", 2)),
        "",
    ),
}


def written(data: bytes, place: Place) -> Path:
    path = place.folder / "model.msgpack"
    path.write_bytes(data)
    return path


for _name, (_data, _words) in ATTACKS.items():
    attack(_words, _name)(partial(written, _data))

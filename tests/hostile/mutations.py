"""Mutations for the fuzzer: of plain bytes, and of what pickles, zip archives, JSON and messages are built of."""

from __future__ import annotations

import io
import json
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

Mutate: TypeAlias = Callable[[bytes, Random], bytes]

_NUMBERS = (0, 1, 2, 7, 8, 16, 63, 64, 100, 127, 128, 255, 256, 4096, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
_LARGE = (2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
_VALUES = (
    "null",
    "true",
    "-1",
    "0",
    "1",
    "1e999",
    "1.5",
    '""',
    '"a"',
    '"F64"',
    '"../x"',
    "[]",
    "[0]",
    "[[]]",
    "{}",
    '{"a": 1}',
)
_LONGEST = 1 << 16


def of_bytes(data: bytes, chance: Random) -> bytes:
    """A few places changed: a byte, a number of any width, a piece moved, doubled, removed or inserted, the end cut."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        place = chance.randrange(len(changed) + 1)
        way = chance.randrange(8)
        if way == 0 and changed:
            changed[place - 1] ^= 1 << chance.randrange(8)
        elif way == 1 and changed:
            changed[place - 1] = chance.randrange(256)
        elif way in (2, 3):
            form, numbers = chance.choice(
                (("<B", _NUMBERS), ("<H", _NUMBERS), ("<I", _NUMBERS), ("<Q", _NUMBERS + _LARGE))
            )
            width = struct.calcsize(form)
            changed[place : place + width] = struct.pack(form, chance.choice(numbers) & (256**width - 1))
        elif way == 4:
            del changed[place : place + chance.choice((1, 2, 4, 8, 30))]
        elif way == 5:
            other = chance.randrange(len(changed) + 1)
            changed[place:place] = changed[other : other + chance.choice((1, 4, 8, 24, 60))]
        elif way == 6:
            other, width = chance.randrange(len(changed) + 1), chance.choice((1, 2, 4, 8, 8, 16))
            changed[place : place + width] = changed[other : other + width]
        elif chance.random() < 0.2:
            del changed[place:]
    return bytes(changed[:_LONGEST])


def of_pickle(data: bytes, chance: Random) -> bytes:
    """Whole opcodes removed, doubled, moved, or put in from elsewhere; now and then bytes."""
    if chance.random() < 0.3:
        return of_bytes(data, chance)
    try:
        starts = [position for _, _, position in pickletools.genops(data)]
    except Exception:
        return of_bytes(data, chance)
    codes = [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]
    for _ in range(chance.choice((1, 1, 2, 4))):
        place, other = chance.randrange(len(codes)), chance.randrange(len(codes))
        way = chance.randrange(5)
        if way == 0:
            del codes[place]
        elif way == 1:
            codes[place] = codes[other]
        elif way == 2:
            codes[place:place] = codes[other : other + chance.randrange(1, 12)]
        elif way == 3:
            codes[place], codes[other] = codes[other], codes[place]
        else:
            codes.insert(place, chance.choice(_OPCODES))
        codes = codes or [b"N"]
    return b"".join(codes)[:_LONGEST]


_OPCODES = [bytes([code]) for code in b"(.0)t]ae}sucRbQN\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x81"] + [
    b"K\x00", b"K\xff", b"J\xff\xff\xff\xff", b"h\x00", b"h\x01", b"q\x00", b"r\xff\xff\xff\x7f", b"X\x01\x00\x00\x00a",
    b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x00", b"\x8c\x01a", b"ctorch\nFloatStorage\n", b"ctorch\nfloat16\n",
    b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_tensor_v3\n",
    b"ctorch._utils\n_rebuild_parameter\n", b"ctorch._tensor\n_rebuild_from_type_v2\n", b"ctorch\nSize\n",
    b"cnumpy.core.multiarray\nscalar\n", b"G\x7f\xf0\x00\x00\x00\x00\x00\x00", b"U\x02\xff\xfe",
]  # fmt: skip


def of_json(data: bytes, chance: Random) -> bytes:
    """Values exchanged, keys renamed, parts of the document put into others."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return of_bytes(data, chance)
    if chance.random() < 0.2:
        return of_bytes(data, chance)
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = list(_places(document))
        if not places:
            break
        holder, key = chance.choice(places)
        way = chance.randrange(5)
        if way == 0:
            holder[key] = json.loads(chance.choice(_VALUES))
        elif way == 1:
            other, name = chance.choice(places)
            holder[key] = json.loads(json.dumps(other[name]))
        elif way == 2:
            del holder[key]
        elif way == 3 and isinstance(holder, dict):
            holder[chance.choice(("", "a", "name", "config", "class_name", "__metadata__", "layer"))] = holder.pop(key)
        elif isinstance(holder[key], int):
            holder[key] += chance.choice((-1, 1, 2**40))
    return json.dumps(document, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass")[:_LONGEST]


def _places(value: Any) -> Any:
    """Every item of a document, as the container that holds it and its key there."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def of_message(data: bytes, chance: Random, depth: int = 0) -> bytes:
    """Fields of a message removed, doubled, renumbered, or changed inside, with the lengths kept right."""
    fields = _fields(data)
    if not fields or chance.random() < 0.15:
        return of_bytes(data, chance)
    place = chance.randrange(len(fields))
    number, wire, value = fields[place]
    way = chance.randrange(8)
    if wire == 2 and way < 4 and depth < 6:
        fields[place] = (number, wire, of_message(value, chance, depth + 1))
    elif way == 4:
        del fields[place]
    elif way == 5:
        fields.insert(chance.randrange(len(fields) + 1), chance.choice(fields))
    elif way == 6:
        fields[place] = (chance.choice((1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 20, 25)), wire, value)
    elif wire == 0:
        fields[place] = (number, wire, _varint(chance.choice(_NUMBERS + _LARGE)))
    else:
        fields[place] = (number, wire, of_bytes(value, chance))
    parts = []
    for field, kind, content in fields:
        parts += [_varint(field << 3 | kind), _varint(len(content)) if kind == 2 else b"", content]
    return b"".join(parts)[:_LONGEST]


def _fields(data: bytes) -> list[tuple[int, int, bytes]]:
    """The fields of a message, empty where it is none."""
    fields, at = [], 0
    while at < len(data):
        tag, at = _number(data, at)
        start = at
        if tag & 7 == 0:
            _, at = _number(data, at)
        elif tag & 7 == 2:
            length, start = _number(data, at)
            at = start + length
        elif tag & 7 in (1, 5):
            at += 8 if tag & 7 == 1 else 4
        else:
            return []
        if at > len(data) or not tag >> 3:
            return []
        fields.append((tag >> 3, tag & 7, data[start:at]))
    return fields


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            return 0, len(data) + 1
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            break
    return value, at


def _varint(value: int) -> bytes:
    head = bytearray()
    while value > 0x7F:
        head.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*head, value])


def of_zip(inner: Mutate) -> Mutate:
    """One member changed by ``inner`` in an archive that is right again; now and then the archive's own bytes."""

    def mutate(data: bytes, chance: Random) -> bytes:
        if chance.random() < 0.3:
            return of_bytes(data, chance)
        try:
            return _with_a_member_changed(data, inner, chance)
        except Exception:  # what is no archive, or one that Python does not write
            return of_bytes(data, chance)

    return mutate


def _with_a_member_changed(data: bytes, inner: Mutate, chance: Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > _LONGEST:
            return of_bytes(data, chance)
        members = [(entry.filename, archive.read(entry), entry.compress_type) for entry in entries]
    place = chance.randrange(len(members))
    made = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(made, "w") as archive:
        for number, (name, content, way) in enumerate(members):
            changed = _by_name(name, inner)(content, chance) if number == place else content
            archive.writestr(name, changed, way)
    return made.getvalue()


def _by_name(name: str, inner: Mutate) -> Mutate:
    if name.endswith(".json"):
        return of_json
    return of_pickle if name.endswith(".pkl") else inner


def of_safetensors(data: bytes, chance: Random) -> bytes:
    """The header changed under its right length, or all bytes."""
    if chance.random() < 0.3 or len(data) < 8:
        return of_bytes(data, chance)
    size = int.from_bytes(data[:8], "little")
    header = of_json(data[8 : 8 + size], chance)
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def of_hdf5(data: bytes, chance: Random) -> bytes:
    """Addresses, sizes and signatures exchanged for others of the file, where they stand: at every 8 bytes."""
    if chance.random() < 0.4 or len(data) < 8:
        return of_bytes(data, chance)
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        place = 8 * chance.randrange(len(data) // 8)
        other = 8 * chance.randrange(len(data) // 8)
        numbers = (other, place, len(data), len(data) - 8, *_NUMBERS[:6], *_LARGE)
        new = chance.choice((data[other : other + 8], struct.pack("<Q", chance.choice(numbers))))
        changed[place : place + 8] = new
    return bytes(changed)

"""Protocol-buffer messages as they lie in a file: fields found by their position, nothing decoded unasked.

Parsing an ONNX file as one message copies every weight of it into memory. Here a field is a place in the bytes, so
a weight can be read from where it lies, and a changed message can be written as pieces of the old one.

Encoding: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

from ..errors import CheckpointError
from ._stored import FileBytes

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT = 10

MAX_FIELDS = 8_000_000
"""Fields that are looked at in one file; the largest graphs have some hundred thousand."""

Buffer: TypeAlias = bytes | FileBytes


class Field(NamedTuple):
    """A field of a message: its tag is at ``start``, its value is the bytes from ``begin`` to ``end``.

    ``value`` is the number that a VARINT holds."""

    number: int
    wire: int
    start: int
    begin: int
    end: int
    value: int = 0


@dataclass
class Wire:
    """The bytes of an encoded message. ``origin`` says in errors what is being read."""

    origin: str
    buffer: Buffer
    _fields_left: int = field(default=MAX_FIELDS, init=False, repr=False)

    def fields(
        self, begin: int, end: int, known: Mapping[int, frozenset[int]], *, cut_short: bool = False
    ) -> Iterator[Field]:
        """The fields of the message at these bytes, in the file's order.

        ``known`` has the wire types that the fields of interest may have. ``cut_short`` lets the last field end where
        the message does. Raises CheckpointError where the bytes are no message, or where a field of interest is of
        another wire type."""
        at = begin
        while at < end:
            found = self._field(at, end, cut_short)
            if found.wire not in known.get(found.number, (found.wire,)):
                raise self.damaged(at, f"field {found.number} is of the wrong type")
            self._fields_left -= 1
            if self._fields_left < 0:
                raise CheckpointError(
                    f"{self.origin}: has more than {MAX_FIELDS} fields: refused, no model has so many"
                )
            yield found
            at = found.end

    def text(self, field: Field) -> str:
        """A field's value as text. Raises CheckpointError where it is none."""
        try:
            return self.buffer[field.begin : field.end].decode()
        except UnicodeDecodeError as error:
            raise self.damaged(field.begin, "a name is no UTF-8 text") from error

    def varints(self, field: Field) -> Iterator[int]:
        """The numbers of a repeated integer field, which may be packed or stand alone."""
        if field.wire == VARINT:
            yield field.value
            return
        at = field.begin
        while at < field.end:
            value, at = self._varint(at, field.end)
            yield value

    def damaged(self, at: int, message: str) -> CheckpointError:
        """The error for something wrong at a byte."""
        return CheckpointError(f"{self.origin}: byte {at}: {message}: the file is damaged or cut short")

    def _field(self, start: int, end: int, cut_short: bool) -> Field:
        tag, begin = self._varint(start, end)
        number, wire = tag >> 3, tag & 7
        value = 0
        if wire == VARINT:
            value, stop = self._varint(begin, end)
        elif wire == BYTES:
            length, begin = self._varint(begin, end)
            stop = min(begin + length, end) if cut_short else begin + length
        elif wire in _FIXED_SIZES:
            stop = begin + _FIXED_SIZES[wire]
        else:
            raise self.damaged(start, f"no field has the wire type {wire}")
        if not number or stop > end:
            raise self.damaged(start, f"field {number} does not fit into its message")
        return Field(number, wire, start, begin, stop, value)

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        for position, byte in enumerate(self.buffer[at : min(at + _LONGEST_VARINT, end)], at + 1):
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
            shift += 7
        raise self.damaged(at, "a number does not end")


@contextmanager
def open_wire(path: Path) -> Iterator[Wire]:
    """The bytes of a file. Raises CheckpointError where it cannot be read."""
    with FileBytes(path) as buffer:
        if not len(buffer):
            raise CheckpointError(f"{path}: the file is empty")
        yield Wire(str(path), buffer)


def signed(value: int) -> int:
    """A varint read as an int64."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    return value - (1 << 64) if value >> 63 else value


def encode_varint(value: int) -> bytes:
    """A number that is not negative as a varint."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def encode_number(number: int, value: int) -> bytes:
    """An integer field."""
    return encode_varint(number << 3 | VARINT) + encode_varint(value)


def encode_head(number: int, size: int) -> bytes:
    """The beginning of a field whose value is the ``size`` bytes that follow."""
    return encode_varint(number << 3 | BYTES) + encode_varint(size)


def encode_bytes(number: int, value: bytes) -> bytes:
    """A bytes, text or message field."""
    return encode_head(number, len(value)) + value

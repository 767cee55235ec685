"""One TensorProto as it lies in a file: its name, shape and dtype, and where its values are. Checked, not loaded.

Source: onnx/onnx.proto, message TensorProto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import prod
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ..checkpoint import Array, DType, Stored, in_memory
from ..errors import CheckpointError
from ._onnx_external import External, data_file, parse_external
from ._onnx_values import (
    DOUBLE_DATA,
    FLOAT_DATA,
    INT32_DATA,
    INT64_DATA,
    RAW_DATA,
    STRING,
    STRING_DATA,
    UINT64_DATA,
    Element,
    elements,
    from_typed,
    unpack,
)
from ._onnx_wire import BYTES, FIXED32, FIXED64, VARINT, Field, Wire, signed
from ._stored import FileArray

DIMS, DATA_TYPE, SEGMENT, NAME, EXTERNAL_DATA, DATA_LOCATION = 1, 2, 3, 8, 13, 14
MAX_RANK = 64
MAX_PIECES = 1 << 14
"""A typed field may come in pieces, one value each at worst; no known writer does that."""

Place: TypeAlias = Callable[[int, tuple[int, ...], DType], Array | Stored]
"""Gives the array of a shape and dtype that begins at a byte of a file (or of memory)."""

_DATA_FIELDS = {
    FLOAT_DATA: frozenset({BYTES, FIXED32}),
    INT32_DATA: frozenset({BYTES, VARINT}),
    STRING_DATA: frozenset({BYTES}),
    INT64_DATA: frozenset({BYTES, VARINT}),
    RAW_DATA: frozenset({BYTES}),
    DOUBLE_DATA: frozenset({BYTES, FIXED64}),
    UINT64_DATA: frozenset({BYTES, VARINT}),
}
_FIELDS = {
    **_DATA_FIELDS,
    DIMS: frozenset({BYTES, VARINT}),
    DATA_TYPE: frozenset({VARINT}),
    SEGMENT: frozenset({BYTES}),
    NAME: frozenset({BYTES}),
    EXTERNAL_DATA: frozenset({BYTES}),
    DATA_LOCATION: frozenset({VARINT}),
}
_ONCE = (DATA_TYPE, NAME, RAW_DATA, DATA_LOCATION)
_ENTRY = {1: frozenset({BYTES}), 2: frozenset({BYTES})}


@dataclass(frozen=True)
class Source:
    """Where a model's bytes are: a file, or memory, which has no ``folder`` that external data could be in."""

    origin: str
    place: Place
    folder: Path | None


@dataclass(frozen=True)
class StoredTensor:
    """A tensor's place in a model.

    ``head`` has the bytes of everything but its values; ``values`` the pieces that hold them, which is nothing where
    they are in an ``external`` file."""

    shape: tuple[int, ...]
    data_type: int
    head: tuple[tuple[int, int], ...]
    values: tuple[Field, ...]
    external: External | None

    @property
    def element(self) -> Element:
        """How its elements are stored."""
        return elements()[self.data_type]

    @property
    def dtype(self) -> DType:
        """The dtype that it has in memory."""
        return self.element.dtype

    @property
    def count(self) -> int:
        """The number of its elements."""
        return prod(self.shape)

    @property
    def size(self) -> int:
        """The bytes that its elements take as raw data."""
        return self.element.size(self.count)

    def load(self, name: str, source: Source) -> Array | Stored:
        """The values; not read yet where they lie in the file as they are in memory."""
        where = f"{source.origin}: tensor {name!r}"
        if self.external is not None:
            path = external_file(self, self.external, source.folder, where)
            return self._from_bytes(partial(FileArray, path), self.external.offset)
        if not self.count:
            return np.empty(self.shape, self.dtype)
        if self._contiguous:
            return self._from_bytes(source.place, self.values[0].begin)
        sizes = [(piece.begin, (piece.end - piece.begin,)) for piece in self.values]
        pieces = [in_memory(source.place(begin, shape, np.dtype(np.uint8))) for begin, shape in sizes]
        return from_typed(np.concatenate(pieces), self.element, self.count, where).reshape(self.shape)

    @property
    def _contiguous(self) -> bool:
        """Whether the values lie in one piece, as raw data or in a typed field that is the same to the byte."""
        return len(self.values) == 1 and self.values[0].number in (RAW_DATA, FLOAT_DATA, DOUBLE_DATA)

    def _from_bytes(self, place: Place, offset: int) -> Array | Stored:
        if not self.element.packed:
            return place(offset, self.shape, self.dtype)
        packed = in_memory(place(offset, (self.size,), np.dtype(np.uint8)))
        return unpack(packed, self.element, self.count).reshape(self.shape)


def tensor_name(wire: Wire, tensor: Field) -> str:
    """The name that a TensorProto has, or an empty text."""
    fields = islice(wire.fields(tensor.begin, tensor.end, _FIELDS), MAX_PIECES + 1)
    names = [field for field in fields if field.number == NAME]
    return wire.text(names[-1]) if names else ""


def parse_tensor(wire: Wire, tensor: Field, name: str, folder: Path | None) -> StoredTensor | None:
    """The tensor in a field of TensorProto; None for one of strings.

    Raises CheckpointError where its shape, its dtype and its values do not agree, where its values are stored twice,
    and where it refers to external data that is missing or unsafe."""
    where = f"{wire.origin}: tensor {name!r}"
    fields = list(islice(wire.fields(tensor.begin, tensor.end, _FIELDS), MAX_PIECES + 1))
    if len(fields) > MAX_PIECES:
        raise CheckpointError(f"{where} is stored in more than {MAX_PIECES} pieces; save it with raw data")
    _refuse_repeated(fields, where)
    data_type = next((field.value for field in fields if field.number == DATA_TYPE), 0)
    if data_type == STRING:
        return None
    if data_type not in elements():
        raise CheckpointError(f"{where} is of data type {data_type}, which weightport does not know")
    stored = StoredTensor(
        shape=_shape(wire, fields, where),
        data_type=data_type,
        head=tuple(_head(fields)),
        values=tuple(field for field in fields if field.number in _DATA_FIELDS and _holds_something(field)),
        external=_external(wire, fields, where),
    )
    _check_values(stored, folder, where)
    return stored


def external_file(stored: StoredTensor, external: External, folder: Path | None, where: str) -> Path:
    """The file with the values of a tensor that is not in the model itself."""
    if folder is None:
        raise CheckpointError(
            f"{where}: its values are in the file {external.location!r}, and a model in memory has no folder; "
            "load them with onnx.load_external_data_for_model first"
        )
    return data_file(folder, external, stored.size, where)


def _refuse_repeated(fields: list[Field], where: str) -> None:
    numbers = [field.number for field in fields]
    if any(numbers.count(number) > 1 for number in _ONCE):
        raise CheckpointError(f"{where} says something twice: refused, since readers would differ")
    if SEGMENT in numbers:
        raise CheckpointError(f"{where} is a segment of a tensor, which weightport does not read")


def _shape(wire: Wire, fields: list[Field], where: str) -> tuple[int, ...]:
    numbers = (number for field in fields if field.number == DIMS for number in wire.varints(field))
    shape = tuple(signed(number) for number in islice(numbers, MAX_RANK + 1))
    if len(shape) > MAX_RANK:
        raise CheckpointError(f"{where} has more than {MAX_RANK} dimensions")
    if any(length < 0 for length in shape) or prod(length or 1 for length in shape) >> 48:
        raise CheckpointError(f"{where} has the impossible shape {list(shape)}: the file is damaged")
    return shape


def _head(fields: list[Field]) -> Iterator[tuple[int, int]]:
    left_out = {*_DATA_FIELDS, EXTERNAL_DATA, DATA_LOCATION}
    return ((field.start, field.end) for field in fields if field.number not in left_out)


def _holds_something(field: Field) -> bool:
    return field.number == RAW_DATA or field.wire != BYTES or field.end > field.begin


def _external(wire: Wire, fields: list[Field], where: str) -> External | None:
    if not any(field.number == DATA_LOCATION and field.value == 1 for field in fields):
        return None
    entries: dict[str, str] = {}
    for field in fields:
        if field.number == EXTERNAL_DATA:
            entry = {part.number: wire.text(part) for part in wire.fields(field.begin, field.end, _ENTRY)}
            if entries.setdefault(entry.get(1, ""), entry.get(2, "")) != entry.get(2, ""):
                raise CheckpointError(f"{where} says twice where its external data is: refused as unsafe")
    return parse_external(entries, where)


def _check_values(stored: StoredTensor, folder: Path | None, where: str) -> None:
    """The values are in one place, and as many as the shape asks for as far as that shows without decoding them."""
    numbers = {field.number for field in stored.values}
    if len(numbers) + (stored.external is not None) > 1:
        raise CheckpointError(f"{where} has its values in two places: refused, since readers would differ")
    if stored.external is not None:
        external_file(stored, stored.external, folder, where)
        return
    if not numbers <= {RAW_DATA, stored.element.field}:
        raise CheckpointError(f"{where} is {stored.dtype} and has its values in field {min(numbers)}: damaged")
    size = sum(field.end - field.begin for field in stored.values)
    sized = numbers <= {RAW_DATA, FLOAT_DATA, DOUBLE_DATA}
    if (sized and size != stored.size) or size < stored.element.fewest_bytes(stored.count):
        raise CheckpointError(
            f"{where}, {stored.dtype}{list(stored.shape)}, has {size} bytes of values where its shape asks for "
            f"{stored.size}: the file is damaged"
        )

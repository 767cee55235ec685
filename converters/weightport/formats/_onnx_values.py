"""The elements of an ONNX tensor: which dtype each data type is, and how its values are packed into bytes.

Source: onnx/onnx.proto, message TensorProto.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..checkpoint import Array, DType, Output
from ..errors import CheckpointError

FLOAT_DATA, INT32_DATA, STRING_DATA, INT64_DATA, RAW_DATA, DOUBLE_DATA, UINT64_DATA = 4, 5, 6, 7, 9, 10, 11
STRING = 8

# TensorProto.DataType -> dtype, bits of an element in raw data, and the typed field that may hold it instead.
_TABLE = (
    (1, "float32", 32, FLOAT_DATA),
    (2, "uint8", 8, INT32_DATA),
    (3, "int8", 8, INT32_DATA),
    (4, "uint16", 16, INT32_DATA),
    (5, "int16", 16, INT32_DATA),
    (6, "int32", 32, INT32_DATA),
    (7, "int64", 64, INT64_DATA),
    (9, "bool", 8, INT32_DATA),
    (10, "float16", 16, INT32_DATA),
    (11, "float64", 64, DOUBLE_DATA),
    (12, "uint32", 32, UINT64_DATA),
    (13, "uint64", 64, UINT64_DATA),
    (14, "complex64", 64, FLOAT_DATA),
    (15, "complex128", 128, DOUBLE_DATA),
    (16, "bfloat16", 16, INT32_DATA),
    (17, "float8_e4m3fn", 8, INT32_DATA),
    (18, "float8_e4m3fnuz", 8, INT32_DATA),
    (19, "float8_e5m2", 8, INT32_DATA),
    (20, "float8_e5m2fnuz", 8, INT32_DATA),
    (21, "uint4", 4, INT32_DATA),
    (22, "int4", 4, INT32_DATA),
    (23, "float4_e2m1fn", 4, INT32_DATA),
    (24, "float8_e8m0fnu", 8, INT32_DATA),
    (25, "uint2", 2, INT32_DATA),
    (26, "int2", 2, INT32_DATA),
    (27, "float6_e2m3fn", 6, INT32_DATA),
    (28, "float6_e3m2fn", 6, INT32_DATA),
)
_CHUNK = 1 << 20  # elements that are unpacked at a time; a multiple of 4, so that it ends on a byte


@dataclass(frozen=True)
class Element:
    """One element of a data type. Elements of less than a byte are packed in raw data, lowest bits first."""

    dtype: DType
    bits: int
    field: int

    @property
    def packed(self) -> bool:
        """Whether an element takes less than a byte."""
        return self.bits < 8

    def size(self, count: int) -> int:
        """The bytes that so many elements take in raw data."""
        return -(-count * self.bits // 8)

    def fewest_bytes(self, count: int) -> int:
        """The fewest bytes that can hold so many elements, in raw data or as numbers of at least a byte each."""
        return min(self.size(count), count)


@cache
def elements() -> Mapping[int, Element]:
    """Every numeric data type by its number."""
    import ml_dtypes

    return {
        number: Element(np.dtype(getattr(ml_dtypes, name, name)), bits, field) for number, name, bits, field in _TABLE
    }


@cache
def data_types() -> Mapping[DType, int]:
    """The number of the data type of every dtype."""
    return {element.dtype: number for number, element in elements().items()}


def unpack(packed: Array, element: Element, count: int) -> Array:
    """So many elements of less than a byte, each in a byte of its own."""
    values = np.empty(count, np.uint8)
    for start in range(0, count, _CHUNK):
        stop = min(count, start + _CHUNK)
        piece = packed[start * element.bits // 8 : element.size(stop)]
        bits = np.unpackbits(piece, bitorder="little")[: (stop - start) * element.bits]
        values[start:stop] = np.packbits(bits.reshape(-1, element.bits), axis=1, bitorder="little")[:, 0]
    return values.view(element.dtype)


def pack(values: Array, element: Element, packed: Array) -> None:
    """Fill ``packed`` (bytes) with elements of less than a byte."""
    flat = values.reshape(-1).view(np.uint8)
    for start in range(0, flat.size, _CHUNK):
        piece = flat[start : start + _CHUNK, np.newaxis]
        bits = np.unpackbits(piece, axis=1, count=element.bits, bitorder="little").reshape(-1)
        first = start * element.bits // 8
        packed[first : first + element.size(len(piece))] = np.packbits(bits, bitorder="little")


@dataclass(frozen=True)
class PackedOutput:
    """An output whose elements take less than a byte each, as the ``size`` bytes that they are packed into."""

    tensor: Output
    element: Element
    size: int

    @property
    def dtype(self) -> DType:
        return np.dtype(np.uint8)

    @property
    def name(self) -> str:
        return self.tensor.name

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)

    def fill(self, memory: Array) -> None:
        values = np.empty(self.tensor.shape, self.tensor.dtype)
        self.tensor.fill(values)
        pack(values, self.element, memory)


def from_typed(data: Array, element: Element, count: int, where: str) -> Array:
    """The elements that a typed field's bytes hold. Raises CheckpointError where they are not ``count``."""
    if element.field in (FLOAT_DATA, DOUBLE_DATA):
        return data.view(element.dtype)
    # Elements of two and four bits are packed here too; those of six have a number each.
    packed = element.bits in (2, 4)
    numbers = _varints(data, element.size(count) if packed else count, where)
    if element.dtype.itemsize == 8:
        return numbers.view(element.dtype)
    carriers = _narrow(numbers, element, where)
    if packed:
        return unpack(carriers, element, count)
    return (carriers & 0x3F if element.packed else carriers).view(element.dtype)


def _narrow(numbers: Array, element: Element, where: str) -> Array:
    """The numbers as unsigned integers of the element's width; both a sign and the bits of one may be meant."""
    width = 8 * element.dtype.itemsize
    values = numbers.view(np.int64)
    lowest, highest = -(1 << (width - 1)), (1 << width) - 1
    if values.size and (values.min() < lowest or values.max() > highest):
        raise CheckpointError(f"{where} has a value that is no {element.dtype}: the file is damaged")
    return values.astype(f"u{element.dtype.itemsize}")


def _varints(data: Array, count: int, where: str) -> Array:
    """Decode ``count`` varints, place by place over all of them at once."""
    ends = np.flatnonzero(data < 0x80)
    starts = np.concatenate([[0], ends[:-1] + 1]) if ends.size else ends
    lengths = ends - starts + 1
    if ends.size != count or (count and (ends[-1] != data.size - 1 or lengths.max() > 10)):
        raise CheckpointError(f"{where} has {ends.size} values where its shape asks for {count}: the file is damaged")
    numbers = np.zeros(count, np.uint64)
    for place in range(int(lengths.max()) if count else 0):
        longer = lengths > place
        numbers[longer] |= (data[starts[longer] + place] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * place)
    return numbers

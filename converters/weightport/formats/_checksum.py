"""The CRC-32 of large contents, whose parts are summed side by side.

The checksum of a whole follows from those of its parts. Source: ``crc32_combine`` of https://github.com/madler/zlib,
crc32.c: the first part's checksum is multiplied by x to the power of 8 for each byte that follows, modulo the
polynomial.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from math import prod

from ..checkpoint import Array
from ..memory import Scratch
from ..threads import WORKERS, side_by_side
from ._stored import FileArray

_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31
_SMALL = 1 << 22
_READ = 1 << 20

_scratch = Scratch()


def crc32_of_array(array: Array, before: int = 0) -> int:
    """The CRC-32 of a C-contiguous array's bytes, which follow others whose checksum is ``before``."""
    data = array.reshape(-1).view("u1").data
    if data.nbytes < _SMALL:
        return zlib.crc32(data, before)
    return combine(before, _in_parts(data.nbytes, lambda at, size: zlib.crc32(data[at : at + size])), data.nbytes)


def crc32_of_stored(stored: FileArray) -> int:
    """The CRC-32 of an array of bytes in a file, of which little is in memory at a time."""
    return _in_parts(prod(stored.shape), partial(_sum_stored, stored))


def _in_parts(size: int, sum_of: Callable[[int, int], int]) -> int:
    """The checksum of ``size`` bytes; ``sum_of(start, size)`` gives that of a part of them."""
    count = WORKERS if size >= _SMALL else 1
    step = -(-size // count)
    sizes = [min(step, size - start) for start in range(0, size, step)] if size else [0]
    sums = side_by_side([partial(sum_of, index * step, length) for index, length in enumerate(sizes)])
    total = 0
    for checksum, length in zip(sums, sizes, strict=True):
        total = combine(total, checksum, length)
    return total


def _sum_stored(stored: FileArray, start: int, size: int) -> int:
    memory, checksum = _scratch.array((min(size, _READ),), stored.dtype), 0
    for done in range(0, size, _READ):
        part = memory[: size - done]
        stored.read_run(start + done, part)
        checksum = zlib.crc32(part.data, checksum)
    return checksum


def combine(first: int, second: int, length: int) -> int:
    """The checksum of two parts, of which the second has ``length`` bytes."""
    return _multiply(_power(8 * length), first) ^ second


def _multiply(one: int, other: int) -> int:
    """The product of two polynomials; the highest bit is the coefficient of 1."""
    product = 0
    for shift in range(31, -1, -1):
        if one >> shift & 1:
            product ^= other
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
    return product


def _power(exponent: int) -> int:
    """x to this power."""
    result, square = _ONE, _ONE >> 1
    while exponent:
        if exponent & 1:
            result = _multiply(square, result)
        square = _multiply(square, square)
        exponent >>= 1
    return result

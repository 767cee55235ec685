"""The header of a NumPy array file (``.npy``): what it says of the array that follows it.

Source: numpy/lib/_format_impl.py. The header is the text of a Python dictionary. NumPy has Python compile it; here it
is taken apart by what NumPy and others write there, and anything else is refused.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import ml_dtypes
import numpy as np

from ..checkpoint import DType
from ..errors import CheckpointError, RefusedError

MAX_HEADER = 10_000
"""Bytes of a header's text; NumPy's own bound."""
HEAD_BYTES = MAX_HEADER + 16
"""Bytes from the file's start in which a header that is read ends."""
USUAL_HEAD_BYTES = 256
"""In so many, nearly every header ends."""

MAX_RANK = 64

_MAGIC = b"\x93NUMPY"
_LENGTHS = {1: 2, 2: 4, 3: 4}
"""How many bytes the header's length has, by the major version."""
_ENTRY = re.compile(
    r"""\s*(['"])(?P<key>descr|fortran_order|shape)\1\s*:\s*
    (?: (['"])(?P<text>[^'"\\]{1,64})\3 | (?P<flag>True|False) | \((?P<tuple>[\d\sL,]*)\) | (?P<nested>[\[(].*) )
    \s*(?P<end>,\s*\}|,|\})\s*""",
    re.VERBOSE | re.DOTALL,
)
_TYPE = re.compile(r"(?P<order>[<>|=]?)(?P<kind>[a-zA-Z])(?P<size>\d{1,3})?(\[\w+\])?")
_SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8), "c": (8, 16)}
_NO_NUMBERS = "SaUMm"
_BFLOAT16: DType = np.dtype(ml_dtypes.bfloat16)
_LONGEST = 1 << 62


@dataclass(frozen=True)
class ArrayHeader:
    """An array of ``shape`` and ``dtype`` that begins at byte ``offset``, its first index the slowest one unless
    ``fortran``. ``dtype`` is None where it is text or a time, and no numbers."""

    shape: tuple[int, ...]
    dtype: DType | None
    fortran: bool
    offset: int

    @property
    def size(self) -> int:
        """The bytes of the array, where it is one of numbers."""
        return prod(self.shape) * (self.dtype.itemsize if self.dtype is not None else 0)


def read_npy_header(head: bytes, where: str) -> ArrayHeader:
    """The header at the start of these bytes.

    Raises CheckpointError for a header that is damaged, and for arrays that are no plain numbers."""
    text, offset = _text(head, where)
    entries = _entries(text, where)
    shape = _shape(entries["shape"], where)
    header = ArrayHeader(shape, _dtype(entries["descr"], where), entries["fortran_order"] == "True", offset)
    if header.size > _LONGEST or prod(shape) > _LONGEST:
        raise CheckpointError(f"{where} says that it is {list(shape)}: it is damaged")
    return header


def is_long(head: bytes) -> bool:
    """Whether the header that begins here is longer than these bytes."""
    start = len(_MAGIC) + 2
    return len(head) > start and start + 4 + int.from_bytes(head[start : start + 2], "little") > len(head)


def npy_header(name: str, shape: tuple[int, ...], dtype: DType) -> bytes:
    """The header of an array in C order, little-endian. Raises RefusedError for a dtype that NumPy's file lacks."""
    little = dtype.newbyteorder("<")
    if little == _BFLOAT16:
        descr = "<V2"  # as NumPy itself and MLX write it
    elif little.kind in _SIZES and little.itemsize in _SIZES[little.kind]:
        descr = little.str
    else:
        raise RefusedError(f"tensor {name!r} is {dtype}, which .npz does not have; --dtype float32 converts it")
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def _text(head: bytes, where: str) -> tuple[str, int]:
    """The header's text, and where it ends."""
    start = len(_MAGIC) + 2
    width = _LENGTHS.get(head[start - 2], 0) if len(head) > start and head.startswith(_MAGIC) else 0
    size = int.from_bytes(head[start : start + width], "little")
    end = start + width + size
    if not width or size > MAX_HEADER or end > len(head):
        raise CheckpointError(f"{where} has no header of a NumPy array: it is damaged")
    return head[start + width : end].decode("latin-1"), end


def _entries(text: str, where: str) -> Mapping[str, str]:
    """What the dictionary has, as text: each of its three keys once, and nothing else."""
    found: dict[str, str] = {}
    place = len(text) - len(text.lstrip()) + 1 if text.lstrip().startswith("{") else len(text)
    entry = _ENTRY.match(text, place)
    while entry and entry["key"] not in found:
        if entry["nested"]:
            raise CheckpointError(f"{where} has elements of several fields: save each field by name")
        found[entry["key"]] = entry["text"] or entry["flag"] or f"({entry['tuple']})"
        if entry["end"] != ",":
            break
        entry = _ENTRY.match(text, entry.end())
    if entry is None or entry.end() != len(text) or len(found) != 3 or found["fortran_order"] not in ("True", "False"):
        raise CheckpointError(f"{where} has a header that is not as NumPy writes it: it is damaged")
    return found


def _shape(text: str, where: str) -> tuple[int, ...]:
    numbers = [number.strip().rstrip("L") for number in text[1:-1].split(",")]
    if numbers[-1] == "":
        numbers.pop()  # (), or a comma at the end
    elif len(numbers) == 1:
        numbers = [""]  # a number in brackets is no tuple
    if (
        text[:1] != "("
        or len(numbers) > MAX_RANK
        or not all(number.isdecimal() and len(number) <= 20 for number in numbers)
    ):
        raise CheckpointError(f"{where} has a shape that is none: it is damaged")
    return tuple(map(int, numbers))


def _dtype(text: str, where: str) -> DType | None:
    found = _TYPE.fullmatch(text)
    kind, size = (found["kind"], int(found["size"] or 0)) if found else ("", 0)
    if kind == "O":
        raise CheckpointError(
            f"{where} is an array of Python objects, which is a pickle and a program: refused; save each array by name"
        )
    if kind == "V" and size == _BFLOAT16.itemsize:
        return _BFLOAT16
    if kind == "V":
        raise CheckpointError(
            f"{where} has elements of {size} bytes of which NumPy does not say what they are; convert the array to "
            "float32 and save it again"
        )
    if found and size in _SIZES.get(kind, ()):
        return np.dtype(f"{found['order']}{kind}{size}")
    if found and kind in _NO_NUMBERS:
        return None
    raise CheckpointError(f"{where} has elements of the type {text[:40]!r}, which no tensor has")

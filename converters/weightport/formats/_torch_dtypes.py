"""The element types of PyTorch's files: the names that they have there, and NumPy's dtypes for them."""

from __future__ import annotations

from collections.abc import Mapping

import ml_dtypes
import numpy as np

from ..checkpoint import DType

BYTES = "UntypedStorage"

# torch/storage.py: _dtype_to_storage_type_map and _new_dtypes. A dtype that has no storage class of its own is kept
# in an untyped storage, and the tensor names its dtype.
# fmt: off
_TABLE: tuple[tuple[str, str | None, str], ...] = (
    # torch            storage class           NumPy or ml_dtypes
    ("float64",         "DoubleStorage",        "<f8"),
    ("float32",         "FloatStorage",         "<f4"),
    ("float16",         "HalfStorage",          "<f2"),
    ("bfloat16",        "BFloat16Storage",      "bfloat16"),
    ("int64",           "LongStorage",          "<i8"),
    ("int32",           "IntStorage",           "<i4"),
    ("int16",           "ShortStorage",         "<i2"),
    ("int8",            "CharStorage",          "|i1"),
    ("uint8",           "ByteStorage",          "|u1"),
    ("bool",            "BoolStorage",          "|b1"),
    ("complex128",      "ComplexDoubleStorage", "<c16"),
    ("complex64",       "ComplexFloatStorage",  "<c8"),
    ("complex32",       None,                   "complex32"),
    ("uint64",          None,                   "<u8"),
    ("uint32",          None,                   "<u4"),
    ("uint16",          None,                   "<u2"),
    ("float8_e4m3fn",   None,                   "float8_e4m3fn"),
    ("float8_e5m2",     None,                   "float8_e5m2"),
    ("float8_e4m3fnuz", None,                   "float8_e4m3fnuz"),
    ("float8_e5m2fnuz", None,                   "float8_e5m2fnuz"),
    ("float8_e8m0fnu",  None,                   "float8_e8m0fnu"),
)
# fmt: on

OTHER_DTYPES = (
    *("bits16", "bits8", "bits1x8", "bits2x4", "bits4x2", "float4_e2m1fn_x2"),
    *("qint8", "qint32", "quint8", "quint4x2", "quint2x4"),
    *(f"{sign}{bits}" for sign in ("int", "uint") for bits in range(1, 8)),
)
"""Element types that NumPy has nothing for: quantized ones, and those that share bytes."""
OTHER_STORAGES: Mapping[str, int] = {
    "QInt8Storage": 1,
    "QInt32Storage": 4,
    "QUInt8Storage": 1,
    "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
}
"""Storage classes of such types, and the bytes that PyTorch counts for an element."""


def _numpy_dtype(name: str) -> DType | None:
    if name[0] in "<|":
        return np.dtype(name)
    scalar = getattr(ml_dtypes, name, None)  # older versions lack some
    return None if scalar is None else np.dtype(scalar)


_KNOWN = [(torch, storage, dtype) for torch, storage, name in _TABLE if (dtype := _numpy_dtype(name)) is not None]

DTYPE_OF_NAME: Mapping[str, DType] = {torch: dtype for torch, _, dtype in _KNOWN}
DTYPE_OF_STORAGE: Mapping[str, DType] = {storage: dtype for _, storage, dtype in _KNOWN if storage} | {
    BYTES: np.dtype(np.uint8)
}
NAMES_OF_DTYPE: Mapping[DType, tuple[str, str | None]] = {dtype: (torch, storage) for torch, storage, dtype in _KNOWN}
"""For writing: a dtype's name in PyTorch and its storage class, if it has one."""

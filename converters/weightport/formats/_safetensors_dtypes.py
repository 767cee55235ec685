"""The element types of safetensors files: the names that they have there, and NumPy's dtypes for them."""

from __future__ import annotations

from collections.abc import Mapping

import ml_dtypes
import numpy as np

from ..checkpoint import DType

# safetensors/src/tensor.rs, enum Dtype, in its order: the reference writer puts the last of these first in a file.
# fmt: off
_TABLE: tuple[tuple[str, str | None], ...] = (
    # name          NumPy or ml_dtypes; None where elements share bytes
    ("BOOL",        "|b1"),
    ("F4",          None),
    ("F6_E2M3",     None),
    ("F6_E3M2",     None),
    ("U8",          "|u1"),
    ("I8",          "|i1"),
    ("F8_E5M2",     "float8_e5m2"),
    ("F8_E4M3",     "float8_e4m3fn"),
    ("F8_E8M0",     "float8_e8m0fnu"),
    ("F8_E4M3FNUZ", "float8_e4m3fnuz"),
    ("F8_E5M2FNUZ", "float8_e5m2fnuz"),
    ("I16",         "<i2"),
    ("U16",         "<u2"),
    ("F16",         "<f2"),
    ("BF16",        "bfloat16"),
    ("I32",         "<i4"),
    ("U32",         "<u4"),
    ("F32",         "<f4"),
    ("C64",         "<c8"),
    ("F64",         "<f8"),
    ("I64",         "<i8"),
    ("U64",         "<u8"),
)
# fmt: on


def _numpy_dtype(name: str | None) -> DType | None:
    if name is None:
        return None
    if name[0] in "<|":
        return np.dtype(name)
    scalar = getattr(ml_dtypes, name, None)  # older versions lack some
    return None if scalar is None else np.dtype(scalar)


DTYPE_OF_NAME: Mapping[str, DType | None] = {name: _numpy_dtype(numpy) for name, numpy in _TABLE}
"""None for element types that NumPy has nothing for."""
NAME_OF_DTYPE: Mapping[DType, str] = {dtype: name for name, dtype in DTYPE_OF_NAME.items() if dtype is not None}
RANK: Mapping[str, int] = {name: rank for rank, (name, _) in enumerate(_TABLE)}
"""The place of an element type in the reference writer's order."""

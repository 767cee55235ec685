"""From a tensor as a pickle describes it to one that can be read: the view is checked against its storage first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from typing import TypeAlias

import numpy as np

from ..checkpoint import Array, DType, LazyTensor, Stored, in_memory
from ..errors import CheckpointError
from ._torch_objects import Storage, StoredTensor, Unreadable

MAX_RANK = 32
MAX_EXPANDED = 1 << 26
"""Bytes that a tensor may have when it shows the elements of a smaller storage more than once (``expand``)."""
MAX_SHARED = 100
"""All tensors together may have so many times the bytes of their storages: layers may share one, a hundred do not."""
_MAX_BYTES = 1 << 62

ArrayIn: TypeAlias = Callable[[Storage, int, tuple[int, ...], DType], Array | Stored]
"""Gives the array of a shape and dtype that begins at a byte of a storage."""


def lazy_tensors(
    tensors: Mapping[str, StoredTensor | Unreadable], where: str, array_in: ArrayIn
) -> dict[str, LazyTensor]:
    """The tensors by name. Raises CheckpointError for one that cannot be carried or that leaves its storage."""
    lazy = {name: _lazy(name, tensor, f"{where}: tensor {name!r}", array_in) for name, tensor in tensors.items()}
    storages = {t.storage.key: t.storage for t in tensors.values() if isinstance(t, StoredTensor)}
    stored = sum(storage.numel * storage.itemsize for storage in storages.values())
    total = sum(prod(tensor.shape) * tensor.dtype.itemsize for tensor in lazy.values())
    if total > max(MAX_EXPANDED, MAX_SHARED * stored):
        raise CheckpointError(f"{where} shows {stored} stored bytes again and again, as {total}: refused as unsafe")
    return lazy


def tied_names(tensors: Mapping[str, StoredTensor | Unreadable]) -> dict[str, str]:
    """The first name of every tensor that has several: the same elements of the same storage, in the same way."""
    first: dict[object, str] = {}
    names = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, StoredTensor) and 0 not in tensor.shape:
            same = (tensor.storage.key, tensor.offset, tensor.shape, tensor.stride)
            names[name] = first.setdefault(same, name)
    return {name: root for name, root in names.items() if name != root}


def _lazy(name: str, tensor: StoredTensor | Unreadable, where: str, array_in: ArrayIn) -> LazyTensor:
    if isinstance(tensor, Unreadable) or tensor.problem or tensor.dtype is None:
        problem = tensor.problem or "has elements that NumPy cannot hold"
        raise CheckpointError(f"{where} {problem}; weightport carries plain dense tensors")
    elements = _check_view(tensor, tensor.dtype, where)
    return LazyTensor(name, tensor.shape, tensor.dtype, partial(_load, tensor, tensor.dtype, elements, array_in))


def _check_view(tensor: StoredTensor, dtype: DType, where: str) -> int:
    """The number of elements between the view's first and last, both included."""
    storage, shape = tensor.storage, tensor.shape
    if len(shape) > MAX_RANK:
        raise CheckpointError(f"{where} has {len(shape)} dimensions, more than the {MAX_RANK} that NumPy can hold")
    if prod(max(length, 1) for length in shape) * dtype.itemsize > _MAX_BYTES:
        raise CheckpointError(f"{where} says that it is {dtype}{list(shape)}: no array can be that large")
    if not prod(shape):
        return 0
    stored_bytes = storage.length * storage.itemsize
    last = tensor.offset + sum((length - 1) * step for length, step in zip(shape, tensor.stride, strict=True))
    if (last + 1) * dtype.itemsize > stored_bytes:
        raise CheckpointError(
            f"{where} ends at element {last} of a storage of {stored_bytes // dtype.itemsize}: the file is damaged"
        )
    size = prod(shape) * dtype.itemsize
    if size > max(stored_bytes, MAX_EXPANDED):
        raise CheckpointError(
            f"{where} would expand {stored_bytes} stored bytes to {size}: refused; save tensor.clone() if it is genuine"
        )
    return last - tensor.offset + 1


def _load(tensor: StoredTensor, dtype: DType, elements: int, array_in: ArrayIn) -> Array | Stored:
    if not elements:
        empty = np.empty(tensor.shape, dtype)
        empty.flags.writeable = False
        return empty
    storage = tensor.storage
    first = tensor.offset * dtype.itemsize + storage.begin * storage.itemsize
    if _is_contiguous(tensor):
        return array_in(storage, first, tensor.shape, dtype)
    data = in_memory(array_in(storage, first, (elements,), dtype))
    steps = [
        step * dtype.itemsize if length > 1 else dtype.itemsize
        for length, step in zip(tensor.shape, tensor.stride, strict=True)
    ]
    return np.ndarray(tensor.shape, dtype, buffer=data.view(np.uint8).data, strides=steps)


def _is_contiguous(tensor: StoredTensor) -> bool:
    """Whether the elements lie in C order; the strides of axes of one element say nothing."""
    expected = 1
    for length, step in zip(reversed(tensor.shape), reversed(tensor.stride), strict=True):
        if length > 1 and step != expected:
            return False
        expected *= length
    return True

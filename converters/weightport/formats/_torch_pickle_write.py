"""The pickle of a PyTorch state dict, made opcode by opcode: protocol 2, as ``torch.save`` writes it.

Opcodes: https://github.com/python/cpython/blob/3.13/Lib/pickletools.py
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from math import prod

from ..checkpoint import Output
from ..errors import RefusedError
from ._torch_dtypes import BYTES, NAMES_OF_DTYPE

_PROTOCOL, _STOP = b"\x80\x02", b"."
_MARK, _TUPLE, _EMPTY_TUPLE, _REDUCE, _PERSISTENT = b"(", b"t", b")", b"R", b"Q"
_SET_ITEMS, _FALSE = b"u", b"\x89"
_BATCH = 1000


def state_dict_pickle(tensors: Sequence[Output]) -> bytes:
    """An ordered dictionary of the tensors, whose elements are in the storages ``0``, ``1`` ... in the same order.

    Raises RefusedError for a tensor that PyTorch cannot hold."""
    return b"".join(_state_dict(tensors))


def _state_dict(tensors: Sequence[Output]) -> Iterator[bytes]:
    yield _PROTOCOL + _ordered_dict()
    for start in range(0, len(tensors), _BATCH):
        yield _MARK
        for number, tensor in enumerate(tensors[start : start + _BATCH], start):
            yield _text(tensor.name) + _tensor(tensor, str(number))
        yield _SET_ITEMS
    yield _STOP


def _tensor(tensor: Output, key: str) -> bytes:
    """A contiguous tensor over a storage of its own."""
    if tensor.dtype.newbyteorder("<") not in NAMES_OF_DTYPE:
        raise RefusedError(
            f"tensor {tensor.name!r} is {tensor.dtype}, which PyTorch does not have; --dtype float32 converts it"
        )
    name, storage = NAMES_OF_DTYPE[tensor.dtype.newbyteorder("<")]
    count = prod(tensor.shape)
    numel = count if storage else count * tensor.dtype.itemsize
    identity = [
        *(_text("storage"), _global("torch", storage) if storage else _global("torch.storage", BYTES)),
        *(_text(key), _text("cpu"), _integer(numel)),
    ]
    arguments = [
        *(_tuple(identity) + _PERSISTENT, _integer(0), _sizes(tensor.shape), _sizes(_strides(tensor.shape))),
        *(_FALSE, _ordered_dict()),
        *([] if storage else [_global("torch", name)]),
    ]
    function = _global("torch._utils", "_rebuild_tensor_v2" if storage else "_rebuild_tensor_v3")
    return function + _tuple(arguments) + _REDUCE


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(max(length, 1) for length in shape[axis + 1 :]) for axis in range(len(shape)))


def _ordered_dict() -> bytes:
    return _global("collections", "OrderedDict") + _EMPTY_TUPLE + _REDUCE


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _sizes(values: Sequence[int]) -> bytes:
    return _tuple([_integer(value) for value in values])


def _tuple(items: Sequence[bytes]) -> bytes:
    return _MARK + b"".join(items) + _TUPLE if items else _EMPTY_TUPLE


def _text(text: str) -> bytes:
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise RefusedError(f"tensor name {text!r} cannot be written as UTF-8: rename the layer") from None
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _integer(value: int) -> bytes:
    if value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    encoded = value.to_bytes(value.bit_length() // 8 + 1, "little")
    return bytes([0x8A, len(encoded)]) + encoded

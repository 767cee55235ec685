"""One HDF5 dataset: its element type, and how its values are stored, checked before anything is read."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from ..checkpoint import Array, DType, LazyTensor, Stored, in_memory
from ..errors import CheckpointError
from ._hdf5_region import Region, guarded

if TYPE_CHECKING:
    from ._hdf5_objects import StrictObjects

MAX_RATIO = 100
"""A chunked dataset may not declare more than this many times the bytes of its file (deflate could: 1032)."""

# Object header messages, classes of datatypes and of layouts: HDF5 file format specification 3.0, IV.A.2.
_DATATYPE, _LAYOUT = 0x03, 0x08
_INTEGER, _FLOAT, _OPAQUE, _ENUMERATED = 0, 1, 5, 8
_COMPACT, _CONTIGUOUS, _CHUNKED, _VIRTUAL = range(4)
_UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF
_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3
_ENTRY_BYTES = 24
"""The index of a chunked dataset has at least so many bytes for each block."""

BFLOAT16: DType = np.dtype(ml_dtypes.bfloat16)
# Bit offset, precision, exponent's location and size, mantissa's location and size, exponent's bias.
_FLOATS = {
    (0, 16, 10, 5, 0, 10, 15): np.dtype(np.float16),
    (0, 16, 7, 8, 0, 7, 127): BFLOAT16,
    (0, 32, 23, 8, 0, 23, 127): np.dtype(np.float32),
    (0, 64, 52, 11, 0, 52, 1023): np.dtype(np.float64),
}


def tensor_of(region: Region, objects: StrictObjects, path: str) -> LazyTensor:
    """The dataset of an object header as a lazy tensor of that name.

    Raises CheckpointError where its type is no plain number, its storage is not inside ``region``, or its size is
    more than the file can hold."""
    shape, stored = objects.shape, _stored_dtype(objects)
    if shape is None:
        raise CheckpointError("it has no shape (an empty dataspace)")
    load = _loader(region, objects, tuple(shape), stored)

    def checked() -> Array | Stored:
        region.verify()
        with guarded(f"{region.label}: dataset {path!r}"):
            found = load()
            as_stored = stored.isnative and stored != np.bool_
            return found if as_stored and not isinstance(found, np.ndarray) else _in_native_order(in_memory(found))

    return LazyTensor(path, tuple(shape), stored.newbyteorder("="), checked)


def _stored_dtype(objects: StrictObjects) -> DType:
    """The element type, byte order included."""
    message = _message(objects, _DATATYPE)
    kind, order, sign, size = message[0] & 0x0F, message[1] & 1, message[2], struct.unpack_from("<I", message, 4)[0]
    if kind == _INTEGER and size in (1, 2, 4, 8) and struct.unpack_from("<HH", message, 8) == (0, 8 * size):
        return np.dtype(f"{'<>'[order]}{'i' if message[1] & 8 else 'u'}{size}")
    if kind == _FLOAT and not message[1] & 0x40 and sign == 8 * size - 1:
        dtype = _FLOATS.get(struct.unpack_from("<HHBBBBI", message, 8))
        if dtype is not None and dtype.itemsize == size and not (order and dtype == BFLOAT16):
            return dtype.newbyteorder(">" if order else "<")
    if kind == _OPAQUE and size == BFLOAT16.itemsize:
        return _opaque_dtype(objects)
    if kind == _ENUMERATED and size == 1 and getattr(objects.ptype, "mapping", None) == {"FALSE": 0, "TRUE": 1}:
        return np.dtype(np.bool_)
    raise CheckpointError(f"its elements (HDF5 class {kind}, {size} bytes) are no plain numbers")


def _opaque_dtype(objects: StrictObjects) -> DType:
    """Keras has one type that HDF5 has not, and writes it as two opaque bytes with or without saying its name."""
    from ._hdf5 import text_of

    name = text_of(objects.get_attributes().get("dtype")) or BFLOAT16.name
    if name != BFLOAT16.name:
        raise CheckpointError(f"its elements are opaque bytes that it calls {name!r}; only bfloat16 is known")
    return BFLOAT16


def _in_native_order(array: Array) -> Array:
    if array.dtype == np.bool_ and array.size and array.view(np.uint8).max() > 1:
        raise CheckpointError("a truth value is neither 0 nor 1")
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    native.flags.writeable = False
    return native


def _message(objects: StrictObjects, kind: int) -> bytes:
    """The bytes of the first header message of a kind."""
    for message in objects.find_msg_type(kind):
        start = message["offset_to_message"]
        return bytes(objects.msg_data[start : start + message["size"]])
    raise CheckpointError(f"its header has no message of type {kind}")


def _loader(
    region: Region, objects: StrictObjects, shape: tuple[int, ...], dtype: DType
) -> Callable[[], Array | Stored]:
    """What reads the values, once the file's claims about them have been checked."""
    message = _message(objects, _LAYOUT)
    version, kind = message[0], message[1]
    if version not in (3, 4) or kind > _VIRTUAL or (version == 4 and kind == _CHUNKED):
        raise CheckpointError(f"its storage layout (version {version}, class {kind}) is not one that Keras writes")
    if kind == _VIRTUAL:
        raise CheckpointError("its values are in other datasets (a virtual dataset): refused as unsafe")
    size = math.prod(shape) * dtype.itemsize
    if kind == _CHUNKED:
        return _Chunks.checked(region, objects, shape, dtype).read
    if objects.filter_pipeline:
        raise CheckpointError("filters on storage that is not chunked: the file is damaged")
    if kind == _COMPACT:
        return _compact_loader(message, shape, dtype, size)
    address, stored = struct.unpack_from("<QQ", message, 2)
    if size == 0:
        return lambda: np.empty(shape, dtype)
    if address == _UNDEFINED:
        raise CheckpointError("its values were never written")
    if stored != size or address + size > region.size:
        raise CheckpointError(
            f"{dtype}{list(shape)} needs {size} bytes, but {stored} are stored at byte {address} of {region.size}: "
            "the file is damaged or cut short"
        )
    return partial(region.array, address, shape, dtype)


def _compact_loader(message: bytes, shape: tuple[int, ...], dtype: DType, size: int) -> Callable[[], Array]:
    """Values that stand in the header itself."""
    (stored,) = struct.unpack_from("<H", message, 2)
    data = message[4 : 4 + stored]
    if len(data) != size or stored != size:
        raise CheckpointError(f"{dtype}{list(shape)} needs {size} bytes, but {len(data)} are stored: damaged")
    return lambda: np.frombuffer(data, dtype).reshape(shape)


@dataclass(frozen=True)
class _Chunks:
    """Values that are cut into equal blocks, each found through an index and put through ``filters`` on its own."""

    region: Region
    shape: tuple[int, ...]
    dtype: DType
    chunk: tuple[int, ...]
    address: int
    filters: tuple[Any, ...]

    @classmethod
    def checked(cls, region: Region, objects: StrictObjects, shape: tuple[int, ...], dtype: DType) -> _Chunks:
        """From the object header. Raises CheckpointError when the blocks cannot be what the file says."""
        message = _message(objects, _LAYOUT)
        dimensions, address = struct.unpack_from("<BQ", message, 2)
        *chunk, item_size = struct.unpack_from(f"<{dimensions}I", message, 11)
        if len(chunk) != len(shape) or item_size != dtype.itemsize or 0 in chunk:
            raise CheckpointError(f"blocks of {chunk} do not fit the shape {list(shape)}: the file is damaged")
        for size in (math.prod(shape) * dtype.itemsize, math.prod(chunk) * dtype.itemsize):
            if size > MAX_RATIO * region.size:
                raise CheckpointError(f"it declares {size} bytes in a file of {region.size}: refused as unsafe")
        blocks = math.prod(-(-length // step) for length, step in zip(shape, chunk, strict=True))
        if blocks * _ENTRY_BYTES > region.size:
            raise CheckpointError(f"it declares {blocks} blocks in a file of {region.size} bytes: refused as unsafe")
        filters = tuple(objects.filter_pipeline or ())
        for entry in filters:
            if entry["filter_id"] not in (_DEFLATE, _SHUFFLE, _FLETCHER32):
                raise CheckpointError(f"filter {entry['filter_id']} is not read; only deflate, shuffle and fletcher32")
        return cls(region, shape, dtype, tuple(chunk), address, filters)

    def read(self) -> Array:
        """The whole array, in memory."""
        out = np.empty(self.shape, self.dtype)
        if not out.size:  # a length beside the one that is zero may be anything
            return out
        origins = set(product(*(range(0, length, step) for length, step in zip(self.shape, self.chunk, strict=True))))
        for origin, block in self._blocks(origins):
            target = tuple(slice(start, start + step) for start, step in zip(origin, self.chunk, strict=True))
            out[target] = block[tuple(slice(0, length) for length in out[target].shape)]
        return out

    def _blocks(self, origins: set[tuple[int, ...]]) -> Iterator[tuple[tuple[int, ...], Array]]:
        """Every block that is expected, with the coordinates of its first element."""
        from pyfive.btree import BTreeV1RawDataChunks

        if self.address == _UNDEFINED:
            raise CheckpointError("its values were never written")
        with self.region.window() as window:
            leaves = BTreeV1RawDataChunks(window, self.address, len(self.chunk) + 1).all_nodes[0]
            for leaf in leaves:
                for key, address in zip(leaf["keys"], leaf["addresses"], strict=True):
                    origin = key["chunk_offset"][:-1]
                    if origin not in origins:
                        raise CheckpointError(f"a block at {list(origin)} is not expected or is there twice")
                    origins.remove(origin)
                    window.seek(address)
                    yield origin, self._decoded(window.read(key["chunk_size"]), key["filter_mask"])
        if origins:
            raise CheckpointError(f"{len(origins)} blocks were never written")

    def _decoded(self, data: bytes, skipped: int) -> Array:
        """One block with its filters undone, last one first."""
        from pyfive.btree import BTreeV1RawDataChunks

        size = math.prod(self.chunk) * self.dtype.itemsize
        for index, entry in reversed(list(enumerate(self.filters))):
            if skipped >> index & 1:
                continue
            if entry["filter_id"] == _DEFLATE:
                data = _inflated(data, size + 4 * len(self.filters))  # a fletcher32 sum has 4 bytes
            else:
                data = BTreeV1RawDataChunks._filter_chunk(data, 0, [entry], self.dtype.itemsize)
        if len(data) != size:
            raise CheckpointError(f"a block has {len(data)} bytes, expected {size}: the file is damaged or cut short")
        return np.frombuffer(data, self.dtype).reshape(self.chunk)


def _inflated(data: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj()
    content = inflater.decompress(data, limit + 1)
    if len(content) > limit or not inflater.eof:
        raise CheckpointError(f"a block does not decompress to its {limit} bytes: the file is damaged")
    return content

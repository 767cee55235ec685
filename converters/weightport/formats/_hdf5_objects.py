"""pyfive's object headers made strict: they refuse, or leave alone, what Keras never writes.

Imported only inside functions, because importing pyfive takes time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from pyfive.btree import BTreeV1Groups, BTreeV2GroupNames  # noqa: TID253  the module itself is imported late
from pyfive.dataobjects import DataObjects  # noqa: TID253
from pyfive.misc_low_level import FractalHeap, Heap, SymbolTable  # noqa: TID253

from ..errors import CheckpointError
from ._hdf5_region import Window

MAX_NAME_BYTES = 4096
MAX_HEADER_PARTS = 512
MAX_HEADER_BYTES = 1 << 24
MAX_HEAP_BLOCKS = 256

# Messages and classes of datatypes: HDF5 file format specification 3.0, IV.A.2.
_LINK_INFO, _LINK, _GROUP_INFO, _SYMBOL_TABLE = 0x02, 0x06, 0x0A, 0x11
_SHARED = 0x02
_INTEGER, _FLOAT, _STRING, _VARIABLE_LENGTH = 0, 1, 3, 9
_HARD_LINK, _SOFT_LINK = 0, 1
_SOFT_ENTRY, _ENTRY_TYPES = 2, (0, 1, 2)


class StrictObjects(DataObjects):  # type: ignore[misc]  # pyfive has no types
    """An object header whose attributes are numbers and strings, and whose links can be told apart.

    An attribute of any other type has the value None. A link that is not hard has its target as text.
    """

    def __init__(self, window: Window, address: int, heaps: dict[int, Any]) -> None:
        super().__init__(window, address, global_heaps=heaps)
        if any(message["flags"] & _SHARED for message in self.msgs):
            raise CheckpointError(
                "part of its description is shared with other objects: refused, Keras never does that"
            )

    @property
    def is_folder(self) -> bool:
        """Whether the object can have members."""
        return any(message["type"] in (_LINK_INFO, _LINK, _GROUP_INFO, _SYMBOL_TABLE) for message in self.msgs)

    def links(self) -> dict[str, int]:
        """The address of every member. Raises CheckpointError for a link that is not hard."""
        members: dict[str, int] = {}
        for name, address in self.iter_links():
            if not isinstance(address, int):
                raise CheckpointError(f"{name!r} is a link to {address!r}: refused as unsafe, only hard links are read")
            if name in members:
                raise CheckpointError(f"two members have the name {name!r}: the file is damaged")
            members[name] = address
        return members

    @staticmethod
    def _parse_v1_objects(fh: Window) -> Any:
        return DataObjects._parse_v1_objects(_HeaderReads(fh))

    def _parse_v2_objects(self, fh: Window) -> Any:
        return super()._parse_v2_objects(_HeaderReads(fh))

    def _parse_attribute_msg(self, buffer: bytes, offset: int) -> tuple[str, Any]:
        version, flags, name_size = struct.unpack_from("<BBH", buffer, offset)
        start = offset + (8 + (name_size + 7) // 8 * 8 if version == 1 else 9 + name_size)
        kind, bits, _, size = struct.unpack_from("<BBHI", buffer, start)
        text = kind & 0x0F == _VARIABLE_LENGTH and bits & 1
        number = kind & 0x0F in (_INTEGER, _FLOAT) and size in (1, 2, 4, 8)
        if (number or text or kind & 0x0F == _STRING) and not (version == 3 and flags):
            name, value = super()._parse_attribute_msg(buffer, offset)
            return name, self._decoded(value) if text else _plain(value)
        # Nested variable-length data can grow without bound, so it is not even looked at.
        name_start = offset + (8 if version == 1 else 9)
        return buffer[name_start : name_start + name_size].strip(b"\0").decode(), None

    def _attr_value(self, ptype: Any, buf: bytes, count: int, offset: int) -> Any:
        if not 0 <= count <= len(buf):
            raise CheckpointError(f"an attribute of {count} values in {len(buf)} bytes: the file is damaged")
        return super()._attr_value(ptype, buf, count, offset)

    def _decoded(self, value: Any) -> Any:
        """Variable-length strings as ``str`` objects, whatever their number of dimensions."""
        if not isinstance(value, bytes | np.ndarray | None):
            return None
        texts = np.asarray(value, dtype=object)
        if sum(len(text or b"") for text in texts.flat) > self.fh.size:
            raise CheckpointError("an attribute repeats its text more often than the file is long")
        decoded = np.empty(texts.size, dtype=object)
        for index, text in enumerate(texts.flat):
            decoded[index] = (text or b"").decode()
        return decoded.reshape(texts.shape)

    @staticmethod
    def _decode_link_msg(data: bytes, offset: int) -> Any:
        _, flags, kind = struct.unpack_from("<BBB", data, offset)
        if flags & 0x08 and kind not in (_HARD_LINK, _SOFT_LINK):
            # An external link has a soft link's form: read as one, it gives its name and its target.
            data = data[: offset + 2] + bytes([_SOFT_LINK]) + data[offset + 3 :]
        return DataObjects._decode_link_msg(data, offset)

    def _iter_links_btree_v1(self, btree_address: int, heap_address: int) -> Iterator[tuple[str, Any]]:
        heap = Heap(self.fh, heap_address)
        for table_address in BTreeV1Groups(self.fh, btree_address).symbol_table_addresses():
            for entry in SymbolTable(self.fh, table_address).entries:
                name = _heap_text(heap, entry["link_name_offset"])
                if entry["cache_type"] not in _ENTRY_TYPES:
                    raise CheckpointError(f"{name!r} is a member of no known type: the file is damaged")
                soft = entry["cache_type"] == _SOFT_ENTRY
                target = struct.unpack("<4I", entry["scratch"])[0] if soft else None
                yield name, entry["object_header_address"] if target is None else _heap_text(heap, target)

    def _iter_links_btree_v2(
        self, name_btree_address: int, order_btree_address: int | None, heap_address: int
    ) -> Iterator[tuple[str, Any]]:
        del order_btree_address  # every link says its own place in the order
        btree = BTreeV2GroupNames(self.fh, name_btree_address)
        links = [self._decode_link_msg(data, 0) for data in self._dense(heap_address, btree)]
        yield from (link for _, link in sorted(links, key=lambda item: (item[0] or 0, item[1][0])))

    def _get_attributes_from_attr_info(self, attrs: Any, attr_info: Any) -> dict[str, Any]:
        raise CheckpointError("its attributes are in HDF5's dense storage: refused, Keras writes no such file")

    def _dense(self, heap_address: int, btree: Any) -> Iterator[bytes]:
        """The records of a group with many members, which HDF5's newer form keeps in a heap.

        Records may overlap and blocks are searched for each, so both are held to the file's own size."""
        heap = FractalHeap(self.fh, heap_address)
        if len(heap.blocks) > MAX_HEAP_BLOCKS:
            raise CheckpointError(f"a heap of more than {MAX_HEAP_BLOCKS} blocks for its members' names")
        left = self.fh.size
        for record in btree.iter_records():
            data = heap.get_data(record["heapid"])
            left -= len(data)
            if left < 0:
                raise CheckpointError("its members' names repeat more often than the file is long")
            yield data


class _HeaderReads:
    """One object header's way into the file. pyfive joins a header's parts anew for each part, so they are few."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._parts = MAX_HEADER_PARTS
        self._bytes = MAX_HEADER_BYTES

    def seek(self, offset: int) -> int:
        return self._window.seek(offset)

    def read(self, count: int) -> bytes:
        self._parts -= 1
        self._bytes -= count
        if self._parts < 0 or self._bytes < 0:
            raise CheckpointError(
                f"its header has more than {MAX_HEADER_PARTS} parts or {MAX_HEADER_BYTES} bytes: refused"
            )
        return self._window.read(count)


def _heap_text(heap: Heap, offset: int) -> str:
    """The text at an offset of a group's heap. Texts may overlap, so that long ones would be the square of the file."""
    end = heap.data.find(b"\0", offset, offset + MAX_NAME_BYTES + 1)
    if end < 0:
        raise CheckpointError(f"a name has no end, or more than {MAX_NAME_BYTES} bytes")
    return bytes(heap.data[offset:end]).decode()


def _plain(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None

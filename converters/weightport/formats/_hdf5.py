"""HDF5 files as trees of groups and lazy datasets: read with pyfive only, and only what a Keras file has any use for.

Hard links, contiguous, compact or deflated datasets, plain numbers. Everything else that HDF5 can do (links to other
files, external and virtual storage, other filters, references) is refused by name, because it reads somebody else's
files, runs somebody else's code or grows without bound.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..checkpoint import Array, LazyTensor
from ..errors import CheckpointError
from ._hdf5_region import Region, Window, guarded
from ._hdf5_storage import MAX_RATIO, tensor_of

if TYPE_CHECKING:
    from ._hdf5_objects import StrictObjects

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_DEPTH = 64
MAX_JSON_BYTES = 1 << 26

_EXTERNAL_FILES = 0x07


@dataclass(frozen=True)
class Dataset:
    """One array of the file. ``path`` has no leading slash."""

    path: str
    attributes: Mapping[str, Array | None]
    tensor: LazyTensor


@dataclass(frozen=True)
class Group:
    """One folder of the file. Text attributes are object arrays of ``str`` or ``S`` arrays, as they are stored;
    an attribute of a type that Keras never writes is None."""

    path: str
    attributes: Mapping[str, Array | None]
    members: Mapping[str, Group | Dataset]

    def walk(self) -> Iterator[Group | Dataset]:
        """This group and all below it, parents first."""
        yield self
        for member in self.members.values():
            if isinstance(member, Group):
                yield from member.walk()
            else:
                yield member

    def find(self, path: str) -> Group | Dataset | None:
        """The object at a path below this group, or None. A path is taken literally: it cannot climb."""
        found: Group | Dataset | None = self
        for name in path.split("/"):
            found = found.members.get(name) if isinstance(found, Group) else None
        return found


def read_tree(region: Region) -> Group:
    """Every group and dataset of the file; no dataset is read. Raises CheckpointError, and nothing else."""
    with guarded(region.label), region.window() as window:
        return _Directory(region, window).root()


def read_root(region: Region) -> tuple[Mapping[str, Array | None], frozenset[str]]:
    """The root group's attributes and its members' names. Raises CheckpointError, and nothing else."""
    with guarded(region.label), region.window() as window:
        objects = _Directory(region, window).objects(_root_address(window))
        return dict(objects.get_attributes()), frozenset(objects.links())


def text_of(attribute: Array | None) -> str | None:
    """A text attribute's value, or None where there is none or it is no single text."""
    texts = texts_of(attribute)
    return texts[0] if attribute is not None and attribute.ndim == 0 and texts else None


def texts_of(attribute: Array | None) -> list[str]:
    """The values of an attribute that is an array of texts; an empty array of any type has none."""
    if attribute is None or attribute.dtype.kind not in "OS":
        return []
    return [item if isinstance(item, str) else bytes(item).decode("utf-8") for item in attribute.flat]


def parse_json(text: str | bytes, where: str) -> dict[str, Any]:
    """A JSON object, read as Keras reads it: NaN and infinities are numbers, the last of equal keys counts.

    Raises CheckpointError when the text is none, or longer than any model's description."""
    if len(text) > MAX_JSON_BYTES:
        raise CheckpointError(f"{where}: {len(text)} bytes of JSON, more than the limit of {MAX_JSON_BYTES}")
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair could not be printed later
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where}: not readable as JSON ({error}): the file is damaged") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{where}: a JSON object was expected, found a {type(value).__name__}")
    return value


def _root_address(window: Window) -> int:
    from pyfive.misc_low_level import SuperBlock

    if window.read(len(SIGNATURE)) != SIGNATURE:
        raise CheckpointError("not an HDF5 file: it does not begin with the HDF5 signature")
    superblock = SuperBlock(window, 0)
    address = int(superblock.offset_to_dataobjects)
    if superblock._contents["base_address"] != 0:
        raise CheckpointError("its addresses do not count from its first byte: refused, Keras writes no such file")
    end = superblock._contents["end_of_file_address"]
    if end > window.size:
        raise CheckpointError(f"it has {window.size} bytes of {end}: the file is cut short; copy or download it again")
    return address


class _Directory:
    """One walk through a file's object headers. No object may be met twice: that is a cycle, or two names for one."""

    def __init__(self, region: Region, window: Window) -> None:
        self._region = region
        self._window = window
        self._heaps: dict[int, Any] = {}
        self._seen: dict[int, str] = {}
        self._declared = 0

    def objects(self, address: int) -> StrictObjects:
        """The object header at an address."""
        from ._hdf5_objects import StrictObjects

        return StrictObjects(self._window, address, self._heaps)

    def root(self) -> Group:
        """The whole tree."""
        root = self._member(_root_address(self._window), "", 0)
        if isinstance(root, Dataset):
            raise CheckpointError("its root is a dataset: the file is damaged")
        return root

    def _member(self, address: int, path: str, depth: int) -> Group | Dataset:
        with guarded(f"{self._region.label}: object {'/' + path!r}"):
            self._mark(address, path)
            objects = self.objects(address)
            if objects.is_dataset:
                return self._dataset(objects, path)
            if not objects.is_folder:
                raise CheckpointError("neither a group nor a dataset: refused, Keras writes nothing else")
            if depth > MAX_DEPTH:
                raise CheckpointError(f"more than {MAX_DEPTH} groups deep")
            attributes, links = objects.get_attributes(), objects.links()
            _refuse_climbing(links)
        members = {name: self._member(child, _joined(path, name), depth + 1) for name, child in links.items()}
        return Group(path, attributes, members)

    def _dataset(self, objects: StrictObjects, path: str) -> Dataset:
        if objects.find_msg_type(_EXTERNAL_FILES):
            raise CheckpointError("its values are in another file (external storage): refused as unsafe")
        attributes = objects.get_attributes()
        tensor = tensor_of(self._region, objects, path)
        self._declared += math.prod(tensor.shape) * tensor.dtype.itemsize
        if self._declared > MAX_RATIO * self._region.size:
            raise CheckpointError(
                f"the datasets up to this one declare {self._declared} bytes in a file of {self._region.size}: "
                "refused as unsafe"
            )
        return Dataset(path, attributes, tensor)

    def _mark(self, address: int, path: str) -> None:
        if address in self._seen:
            raise CheckpointError(
                f"the same object as {'/' + self._seen[address]!r}: refused, Keras writes every object once"
            )
        self._seen[address] = path


def _joined(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _refuse_climbing(names: Iterable[str]) -> None:
    for name in names:
        if name in ("", ".", "..") or "/" in name:
            raise CheckpointError(f"it has a member {name!r}, which is no plain name: refused as unsafe")

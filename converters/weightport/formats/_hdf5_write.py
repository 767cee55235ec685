"""Writing an HDF5 tree with h5py: first everything but the values, then each tensor into its place.

The file is as Keras writes it (oldest format version, contiguous and uncompressed datasets), the bytes depend on the
content only, and no more than one tensor is in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import Array, Contents, DType, Output
from ..errors import CheckpointError, RefusedError
from ._hdf5 import Dataset, Group
from ._hdf5_storage import BFLOAT16
from ._room import reserve
from ._stored import FileBytes
from ._template import with_template
from ._tensor_writer import TensorWriter

_DTYPE = "dtype"
_OPAQUE = np.dtype("V2")
_NATIVE = {np.dtype(name) for name in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")}


@dataclass(frozen=True)
class _Place:
    """Where in the file a tensor's values go."""

    offset: int
    output: Output

    @property
    def end(self) -> int:
        return self.offset + math.prod(self.output.shape) * self.output.dtype.itemsize


@dataclass(frozen=True)
class Frame:
    """An HDF5 file with everything but the values. Where the system can, their room is a hole and takes no space."""

    path: Path
    places: tuple[_Place, ...]

    @property
    def size(self) -> int:
        """The size of the file, values included."""
        return self.path.stat().st_size

    def fill(self) -> None:
        """Write the values into the file itself."""
        self._reserve()
        with TensorWriter(self.path) as writer:
            for place in self.places:
                writer.write(place.offset, place.output)

    def _reserve(self) -> None:
        try:
            with self.path.open("r+b") as file:
                reserve(file.fileno(), self.size)
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be written: {error.strerror}") from error

    def parts(self) -> Iterator[bytes | Output]:
        """The whole file in order: the bytes around the values, and what gives the values."""
        with FileBytes(self.path) as data:
            end = 0
            for place in self.places:
                yield data[end : place.offset]
                yield place.output
                end = place.end
            yield data[end:]


def make_frame(path: Path, tree: Group, outputs: Mapping[str, Output]) -> Frame:
    """Create the file ``path`` with the tree's groups, attributes and datasets. The shape, type and values of each
    dataset are those of the output of its path. Raises CheckpointError where the file or a type cannot be written."""
    import h5py

    try:
        with h5py.File(path, "x", libver="earliest", track_order=False) as file:
            places = sorted(_write_group(file, tree, outputs), key=lambda place: place.offset)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, OverflowError) as error:
        raise CheckpointError(f"{path}: cannot be written as HDF5: {' '.join(str(error).split())}") from error
    return Frame(path, tuple(places))


def placed(
    path: Path, tensors: Sequence[Output], template: Contents, datasets: Mapping[str, Dataset]
) -> dict[str, Output]:
    """What goes into each dataset (by its path): the new tensor of its name, or else the template's.

    ``datasets`` are the template's by their tensors' names. Raises RefusedError where a tensor has no place."""
    outputs = with_template(tensors, template)
    problems = []
    for output in outputs:
        dataset = datasets.get(output.name)
        if dataset is None:
            problems.append(f"{output.name}: the template has no such tensor")
        elif dataset.tensor.shape != output.shape:
            shapes = f"{list(output.shape)} does not fit the template's {list(dataset.tensor.shape)}"
            problems.append(f"{output.name}: {shapes}")
    if problems:
        raise RefusedError(f"{path.name} cannot be made from the template {template.origin}", problems)
    return {datasets[output.name].path: output for output in outputs}


def text_attribute(text: str) -> Array:
    """A text as the attribute that Keras would write."""
    attribute = np.empty((), dtype=object)
    attribute[()] = text
    return attribute


def type_attributes(dtype: DType) -> dict[str, Array | None]:
    """What Keras adds to a dataset whose type HDF5 does not know."""
    return {_DTYPE: text_attribute(BFLOAT16.name)} if dtype == BFLOAT16 else {}


def _write_group(folder: Any, group: Group, outputs: Mapping[str, Output]) -> Iterator[_Place]:
    _write_attributes(folder, group.attributes, group.path)
    for name, member in group.members.items():
        if isinstance(member, Group):
            yield from _write_group(folder.create_group(name, track_order=False), member, outputs)
        else:
            yield from _write_dataset(folder, name, member, outputs[member.path])


def _write_dataset(folder: Any, name: str, dataset: Dataset, output: Output) -> Iterator[_Place]:
    """Room for one tensor, and where it is."""
    import h5py

    created = h5py.h5d.create(
        folder.id,
        name.encode(),
        h5py.h5t.py_create(_stored_dtype(output), logical=True),
        h5py.h5s.create_simple(output.shape) if output.shape else h5py.h5s.create(h5py.h5s.SCALAR),
        _creation_properties(),
    )
    attributes = dict(dataset.attributes)
    if output.dtype != dataset.tensor.dtype:
        attributes = {key: value for key, value in attributes.items() if key != _DTYPE} | type_attributes(output.dtype)
    _write_attributes(h5py.Dataset(created), attributes, dataset.path)
    if math.prod(output.shape):
        yield _Place(created.get_offset(), output)


def _creation_properties() -> Any:
    import h5py

    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    return properties


def _stored_dtype(output: Output) -> DType:
    if output.dtype == BFLOAT16:
        return _OPAQUE
    if output.dtype in _NATIVE:
        return output.dtype
    raise RefusedError(f"tensor {output.name!r} is {output.dtype}, which Keras cannot store in HDF5")


def _write_attributes(item: Any, attributes: Mapping[str, Array | None], path: str) -> None:
    import h5py

    for name, value in attributes.items():
        if value is None:
            raise RefusedError(f"the template's attribute {name!r} of {'/' + path!r} is neither number nor text")
        text = value.dtype == object
        item.attrs.create(name, value[()] if text else value, dtype=h5py.string_dtype() if text else None)

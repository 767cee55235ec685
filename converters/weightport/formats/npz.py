"""NumPy's ``.npz``: a zip archive with one array file for each tensor.

MLX saves weights so, and so do many who work in JAX or NumPy. It does not say whose layouts its tensors follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

import numpy as np

from ..checkpoint import Array, Contents, DType, LazyTensor, Output, Stored, in_memory
from ..errors import CheckpointError, RefusedError
from ._npy import HEAD_BYTES, USUAL_HEAD_BYTES, ArrayHeader, is_long, npy_header, read_npy_header
from ._template import with_template
from ._zip import SIGNATURE, ZipDirectory, is_safe_name, open_directory
from ._zip_write import Content, write_archive

NAME = "npz"
FRAMEWORK = ""
SUFFIXES: tuple[str, ...] = (".npz",)

_SUFFIX = ".npy"


def recognises(path: Path, head: bytes) -> bool:
    """A zip archive of array files and nothing else."""
    if not head.startswith(SIGNATURE):
        return False
    try:
        names = open_directory(path).members
    except CheckpointError:
        return False  # the readers of other archives say what is damaged
    return bool(names) and all(name.endswith(_SUFFIX) for name in names)


def read(path: Path) -> Contents:
    """Every array by its name. Reads the archive's directory and the arrays' headers.

    Arrays of text are no tensors; ``description["skipped"]`` has what they are, by name. Raises CheckpointError for a
    damaged archive, and for arrays of Python objects or of several fields."""
    reader = _Reader(open_directory(path))
    tensors: dict[str, LazyTensor] = {}
    skipped: dict[str, str] = {}
    for member in reader.archive.members:
        name = member.removesuffix(_SUFFIX)
        header = reader.header(member)
        if header.dtype is None:
            skipped[name] = "text or a time and no number"
        else:
            dtype = header.dtype.newbyteorder("<")
            tensors[name] = LazyTensor(name, header.shape, dtype, partial(reader.values, member, header, dtype))
    # Dictionaries of JAX are sorted, and MLX's come in no order.
    return Contents(str(path), NAME, FRAMEWORK, tensors, ordered=False, description={"skipped": skipped})


def write(path: Path, tensors: Sequence[Output], *, template: Contents | None, metadata: Mapping[str, str]) -> None:
    """Write an uncompressed archive, which ``numpy.load`` and ``mlx.core.load`` read as it is.

    bfloat16 is written as raw pairs of bytes, as NumPy itself does it: MLX reads them back, and NumPy with ``view``."""
    del metadata  # the format has no place for text
    contents: list[tuple[str, Content]] = [
        (_member_name(output.name), (npy_header(output.name, output.shape, output.dtype), output))
        for output in with_template(tensors, template)
    ]
    write_archive(path, contents)


def _member_name(name: str) -> str:
    if not is_safe_name(name + _SUFFIX) or not name.isprintable():
        raise RefusedError(f"tensor name {name!r} is no plain path, as .npz needs it: rename the layer")
    return name + _SUFFIX


@dataclass(frozen=True)
class _Reader:
    """Reads arrays out of an archive. Each one's checksum is verified before its bytes are first used."""

    archive: ZipDirectory

    def header(self, member: str) -> ArrayHeader:
        """What a member says of its array. Raises CheckpointError where it does not have as many bytes."""
        where = f"{self.archive.path}: array {member.removesuffix(_SUFFIX)!r}"
        head = self.archive.head(member, USUAL_HEAD_BYTES)
        header = read_npy_header(self.archive.head(member, HEAD_BYTES) if is_long(head) else head, where)
        size = self.archive.member(member).size
        if header.dtype is not None and header.offset + header.size != size:
            raise CheckpointError(
                f"{where} says that it is {header.dtype}{list(header.shape)}, which with its header is "
                f"{header.offset + header.size} bytes, but it has {size}: the file is damaged"
            )
        return header

    def values(self, name: str, header: ArrayHeader, dtype: DType) -> Array | Stored:
        """The array, in C order and little-endian; not read yet where the archive holds it so."""
        if header.dtype == dtype and not header.fortran:
            return self.archive.array(name, header.offset, header.shape, dtype)
        stored = in_memory(self.archive.array(name, header.offset, (prod(header.shape),), np.dtype(header.dtype)))
        array = stored.reshape(header.shape[::-1]).T if header.fortran else stored.reshape(header.shape)
        return np.asarray(array, dtype, order="C")

"""Safetensors: a JSON header and the tensors' bytes, in one file or in shards beside an index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path

from ..checkpoint import Contents, LazyTensor, Output
from ..errors import CheckpointError, RefusedError
from ._room import allocate
from ._safetensors_dtypes import NAME_OF_DTYPE, RANK
from ._safetensors_header import LENGTH, MAX_HEADER, METADATA, Header, read_header
from ._safetensors_shards import INDEX_SUFFIX, WEIGHT_MAP, index_text, read_shards, shard_names, split
from ._stored import FileArray
from ._template import with_template
from ._tensor_writer import TensorWriter

NAME = "safetensors"
FRAMEWORK = "torch"
SUFFIXES: tuple[str, ...] = (".safetensors", INDEX_SUFFIX)

SHARD_BYTES = 5_000_000_000
HEADER_ALIGNMENT = 8

_INDEX_HEAD = 1 << 16
_FORMAT = {"format": "pt"}
"""Hugging Face's loaders refuse a file that does not say which framework's tensors it has."""


def recognises(path: Path, head: bytes) -> bool:
    """A file whose header begins with a brace, or the index of several such files."""
    plain = len(head) > LENGTH.size and LENGTH.unpack_from(head)[0] < 1 << 48 and _blank_then_brace(head[LENGTH.size :])
    return plain or _is_index(path, head)


def read(path: Path) -> Contents:
    """The tensors of a file, or of all the shards that an index names. Raises CheckpointError on a bad file."""
    try:
        with path.open("rb") as file:
            head = file.read(LENGTH.size)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    shards = read_shards(path) if _is_index(path, head) else [(path, read_header(path))]
    tensors: dict[str, LazyTensor] = {}
    metadata: dict[str, str] = {}
    for shard, header in shards:
        tensors.update(_tensors(shard, header))
        metadata = {**header.metadata, **metadata}
    # Writers sort the tensors by type and name, or not at all.
    return Contents(str(path), NAME, FRAMEWORK, tensors, ordered=False, metadata=metadata)


def write(path: Path, tensors: Sequence[Output], *, template: Contents | None, metadata: Mapping[str, str]) -> None:
    """Write one file, or an index and its shards where ``path`` is named like an index.

    The bytes are those that the reference writer would write. The template's metadata is kept where ``metadata``
    has nothing of the same name."""
    if path.name.endswith(INDEX_SUFFIX):
        write_shards(path, tensors, template=template, metadata=metadata, shard_bytes=SHARD_BYTES)
    else:
        _write_file(path, with_template(tensors, template), _text(template, metadata))


def write_shards(
    path: Path,
    tensors: Sequence[Output],
    *,
    template: Contents | None,
    metadata: Mapping[str, str],
    shard_bytes: int,
) -> None:
    """Write the index ``path`` and shards of at most ``shard_bytes`` bytes of tensors; a larger tensor has a shard of
    its own."""
    parts = split(with_template(tensors, template), shard_bytes)
    shards = dict(zip(shard_names(path, len(parts)), parts, strict=True))
    for name, part in shards.items():
        _write_file(path.with_name(name), part, _text(template, metadata))
    _write_new(path, index_text(shards).encode())


def _text(template: Contents | None, metadata: Mapping[str, str]) -> dict[str, str]:
    return {**_FORMAT, **(template.metadata if template else {}), **metadata}


def _tensors(path: Path, header: Header) -> dict[str, LazyTensor]:
    return {
        name: LazyTensor(name, of.shape, of.dtype, partial(FileArray, path, of.offset, of.shape, of.dtype))
        for name, of in header.entries.items()
    }


def _blank_then_brace(text: bytes) -> bool:
    return text.lstrip().startswith(b"{")


def _is_index(path: Path, head: bytes) -> bool:
    if not _blank_then_brace(head):
        return False
    if path.name.endswith(INDEX_SUFFIX):
        return True
    with path.open("rb") as file:
        text = file.read(_INDEX_HEAD)
    return f'"{WEIGHT_MAP}"'.encode() in text and b'.weights.h5"' not in text


def _write_file(path: Path, outputs: Sequence[Output], metadata: Mapping[str, str]) -> None:
    names = {output.name: _type_name(output) for output in outputs}
    ordered = sorted(outputs, key=lambda output: (-RANK[names[output.name]], output.name.encode()))
    header: dict[str, object] = {METADATA: dict(sorted(metadata.items()))}
    places, end = [], 0
    for output in ordered:
        places.append(end)
        end += prod(output.shape) * output.dtype.itemsize
        entry = {"dtype": names[output.name], "shape": list(output.shape), "data_offsets": [places[-1], end]}
        header[output.name] = entry
    head = _header_bytes(path, header)
    start = len(head)
    allocate(path, start + end)
    with TensorWriter(path) as writer:
        writer.put(0, head)
        for output, place in zip(ordered, places, strict=True):
            writer.write(start + place, output)


def _type_name(output: Output) -> str:
    try:
        output.name.encode()
    except UnicodeEncodeError:
        raise RefusedError(f"tensor name {output.name!r} cannot be written as UTF-8: rename the layer") from None
    name = NAME_OF_DTYPE.get(output.dtype.newbyteorder("<"))
    if name is None:
        raise RefusedError(
            f"tensor {output.name!r} is {output.dtype}, which safetensors does not have; --dtype float32 converts it"
        )
    if output.name == METADATA:
        raise RefusedError(f"a tensor cannot be called {METADATA!r} in a safetensors file: rename the layer")
    return name


def _header_bytes(path: Path, header: Mapping[str, object]) -> bytes:
    """The header and its length, as they stand before the tensors."""
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % HEADER_ALIGNMENT)
    if len(text) > MAX_HEADER:
        raise RefusedError(f"{path.name}: its header would have {len(text)} bytes, more than {MAX_HEADER}: use shards")
    return LENGTH.pack(len(text)) + text


def _write_new(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}") from error

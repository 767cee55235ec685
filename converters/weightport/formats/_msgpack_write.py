"""Writing a tree of arrays as Flax writes one: its places are fixed first, then each array is made in its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO, TypeAlias

from ..checkpoint import Output
from ..errors import CheckpointError, RefusedError
from ._msgpack_items import packed, packed_bytes_head, packed_collection, packed_extension_head
from ._msgpack_tree import ARRAY, CHUNKED, CHUNKS, DTYPE_OF_NAME, SHAPE, Key
from ._room import allocate
from ._tensor_writer import TensorWriter

MAX_CHUNK = 1 << 30
"""Bytes of one stretch of an array, as Flax cuts it."""

_PIECE = 1 << 24

Node: TypeAlias = "dict[Key, Node] | Output | bytes"


@dataclass(frozen=True)
class _Text:
    """Bytes between arrays."""

    offset: int
    data: bytes


@dataclass(frozen=True)
class _Place:
    """An array's stretches: where each begins, and how many bytes it has."""

    output: Output
    chunks: tuple[tuple[int, int], ...]


_Fragment: TypeAlias = bytes | tuple[Output, int]
"""Bytes as they are, or so many bytes of an array, which follow those of its stretch before."""


def write_tree(path: Path, entries: Sequence[tuple[Sequence[Key], Output | bytes]]) -> None:
    """Create the file ``path`` with these leaves, each under its keys; bytes are leaves that are packed already.

    Raises RefusedError where the leaves make no tree or have a type that Flax does not read, CheckpointError where the
    file cannot be written."""
    texts, places, end = _laid_out(_fragments(_tree(entries)))
    allocate(path, end)
    with TensorWriter(path) as writer:
        for place in places:
            size = sum(length for _, length in place.chunks)
            last, length = place.chunks[-1]
            writer.write(last + length - size, place.output)
            if len(place.chunks) > 1:
                _move_apart(path, place.chunks)
        for text in texts:
            writer.put(text.offset, text.data)


def _tree(entries: Sequence[tuple[Sequence[Key], Output | bytes]]) -> dict[Key, Node]:
    tree: dict[Key, Node] = {}
    for keys, leaf in entries:
        node = tree
        for key in keys[:-1]:
            inner = node.setdefault(key, {})
            if not isinstance(inner, dict):
                raise _refused(keys, "would be inside another tensor")
            node = inner
        if keys[-1] in node:
            raise _refused(keys, "stands where another has tensors inside")
        node[keys[-1]] = leaf
    return tree


def _refused(keys: Sequence[Key], problem: str) -> RefusedError:
    return RefusedError(f"tensor {'/'.join(map(str, keys))!r} {problem}: rename the layer")


def _fragments(tree: Mapping[Key, Node]) -> Iterator[_Fragment]:
    yield packed_collection(len(tree), is_map=True)
    for key, node in tree.items():
        yield _packed_key(key)
        if isinstance(node, dict):
            yield from _fragments(node)
        elif isinstance(node, bytes):
            yield node
        else:
            yield from _array(node)


def _packed_key(key: Key) -> bytes:
    try:
        return packed(key)
    except UnicodeEncodeError:
        raise RefusedError(f"tensor name {key!r} cannot be written as UTF-8: rename the layer") from None


def _array(output: Output) -> Iterator[_Fragment]:
    """One array, or a map of the stretches of a large one."""
    item = output.dtype.itemsize
    size, longest = prod(output.shape) * item, max(1, MAX_CHUNK // item) * item
    if output.dtype.newbyteorder("=").name not in DTYPE_OF_NAME:
        raise RefusedError(f"tensor {output.name!r} is {output.dtype}, which Flax lacks; --dtype float32 converts it")
    if size <= MAX_CHUNK:
        yield from _stretch(output, output.shape, size)
        return
    starts = range(0, size, longest)
    yield packed_collection(3, is_map=True) + packed(CHUNKED) + packed(True)
    yield packed(SHAPE) + packed_collection(len(output.shape), is_map=True)
    yield b"".join(packed(str(index)) + packed(length) for index, length in enumerate(output.shape))
    yield packed(CHUNKS) + packed_collection(len(starts), is_map=True)
    for index, start in enumerate(starts):
        yield packed(str(index))
        length = min(longest, size - start)
        yield from _stretch(output, (length // item,), length)


def _stretch(output: Output, shape: tuple[int, ...], size: int) -> Iterator[_Fragment]:
    lengths = packed_collection(len(shape), is_map=False) + b"".join(map(packed, shape))
    head = packed_collection(3, is_map=False) + lengths + packed(output.dtype.name) + packed_bytes_head(size)
    yield packed_extension_head(ARRAY, len(head) + size) + head
    yield output, size


def _laid_out(fragments: Iterator[_Fragment]) -> tuple[list[_Text], list[_Place], int]:
    """Where everything stands, and where it ends."""
    texts: list[_Text] = []
    chunks: dict[int, tuple[Output, list[tuple[int, int]]]] = {}
    end = 0
    for fragment in fragments:
        if isinstance(fragment, bytes):
            texts.append(_Text(end, fragment))
            end += len(fragment)
        else:
            output, size = fragment
            chunks.setdefault(id(output), (output, []))[1].append((end, size))
            end += size
    return texts, [_Place(output, tuple(own)) for output, own in chunks.values()], end


def _move_apart(path: Path, chunks: Sequence[tuple[int, int]]) -> None:
    """Move the stretches of an array, which ends where its last one does, to their places before it."""
    last, length = chunks[-1]
    source = last + length - sum(size for _, size in chunks)
    try:
        with path.open("r+b") as file:
            for target, size in chunks:
                _move(file, source, target, size)
                source += size
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}") from error


def _move(file: BinaryIO, source: int, target: int, size: int) -> None:
    """Move bytes towards the file's start."""
    for done in range(0, size if source != target else 0, _PIECE):
        file.seek(source + done)
        data = file.read(min(_PIECE, size - done))
        file.seek(target + done)
        file.write(data)

"""Flax's MessagePack: what Flax writes is read bit for bit, without its arrays; what we write is what it would write.

``fixtures/flax/record_trees.py`` made the files in Flax.
"""

from __future__ import annotations

import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from torch_files import stored
from weightport.checkpoint import Contents
from weightport.errors import CheckpointError, RefusedError
from weightport.formats import _msgpack_tree, _msgpack_write, format_of_file, format_of_suffix
from weightport.formats import msgpack as fmt

FLAX = Path(__file__).parents[2] / "fixtures" / "flax"
TREE, CHUNKED = FLAX / "tree.msgpack", FLAX / "chunked.msgpack"
TYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32"]
TYPES += ["float64", "complex64", "complex128"]
SMALL_TYPES = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e4m3b11fnuz"]
ARRAY = b"\x93\x91\x02\xa7float32\xc4\x08" + np.float32([1, 2]).tobytes()
"""What is in the extension of an array of two."""
NO_CHUNKS = b"\x83\xb9__msgpack_chunked_array__\xc3\xa5shape\x80\xa6chunks\x80"


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def extension(content: bytes, code: int = 1) -> bytes:
    return b"\xc7" + bytes([len(content), code]) + content


def tree_with(leaf: bytes) -> bytes:
    return b"\x81\xa1w" + leaf


def refusal(path: Path) -> str:
    """What reading the file is refused with: one line that begins with the file's name."""
    with pytest.raises(CheckpointError) as caught:
        fmt.read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def values(contents: Contents) -> dict[str, np.ndarray]:
    return {name: tensor.read() for name, tensor in contents.tensors.items()}


# Reading


@pytest.mark.parametrize("name", TYPES + SMALL_TYPES)
def test_an_array_of_every_type_is_read_bit_for_bit(name: str) -> None:
    tensor = fmt.read(TREE).tensors[f"params/types/{name}"]
    if name in TYPES:
        expected = np.arange(6).reshape(2, 3).astype(name)
    else:
        expected = np.linspace(-2, 2, 6).reshape(2, 3).astype(getattr(ml_dtypes, name))
    assert (tensor.shape, tensor.dtype) == (expected.shape, expected.dtype)
    assert tensor.read().tobytes() == expected.tobytes()


def test_a_tree_is_read_by_the_names_of_its_arrays() -> None:
    contents = fmt.read(TREE)
    found = {name: array.tolist() for name, array in values(contents).items() if "types" not in name}
    assert found == {
        "params/jax": [0.0, 1.0, 2.0, 3.0],
        "params/scalar": 2.5,
        "params/empty": [],
        "pair/0": [1.0, 1.0],
        "with/slash/w": [0.0, 1.0, 2.0],
        "without order": 7,
    }
    assert (contents.format, contents.framework, contents.ordered) == ("msgpack", "", False)
    assert format_of_file(TREE) is format_of_suffix(Path("x.msgpack")) is fmt


def test_an_array_in_chunks_is_one_array() -> None:
    found = values(fmt.read(CHUNKED))
    assert found["params/table"].tolist() == np.arange(70, dtype=np.float32).reshape(7, 10).tolist()
    assert found["params/small"].tolist() == np.arange(16.0).tolist()


def test_reading_a_tree_leaves_its_arrays_alone_and_large_ones_are_mapped(tmp_path: Path) -> None:
    big = np.arange(90_000, dtype=np.float32).reshape(300, 300)
    fmt.write(tmp_path / "m.msgpack", [stored(big, "d/kernel")], template=None, metadata={})
    array = fmt.read(tmp_path / "m.msgpack").tensors["d/kernel"].read()
    assert not array.flags.owndata
    assert np.array_equal(array, big)


# Writing


@pytest.mark.parametrize("path", [TREE, CHUNKED], ids=["every type of leaf", "in chunks"])
def test_what_flax_wrote_is_written_again_as_it_is(path: Path, tmp_path: Path, monkeypatch) -> None:
    """Leaves that are no arrays stand behind those that are; every leaf is the same, byte for byte."""
    monkeypatch.setattr(_msgpack_write, "MAX_CHUNK", 64 if path == CHUNKED else 1 << 30)
    contents = fmt.read(path)
    fmt.write(tmp_path / "again.msgpack", [], template=contents, metadata={})
    again = tmp_path / "again.msgpack"
    if path == CHUNKED:
        assert again.read_bytes() == path.read_bytes()
    assert again.stat().st_size == path.stat().st_size
    before, after = (dict(leaves_of(file)) for file in (path, again))
    assert after == before


def leaves_of(path: Path) -> list[tuple[object, object]]:
    """Every leaf of a file, arrays as their type and bytes."""
    data = path.read_bytes()
    return [
        (keys, leaf.data)
        if isinstance(leaf, _msgpack_tree.Other)
        else (keys, (leaf.shape, leaf.dtype, b"".join(data[o : o + n * leaf.dtype.itemsize] for o, n in leaf.chunks)))
        for keys, leaf in _msgpack_tree.leaves(_msgpack_tree.read_tree(path))
    ]


def test_new_tensors_take_the_places_of_a_templates(tmp_path: Path) -> None:
    template = fmt.read(TREE)
    new = [stored(np.ones(3), "with/slash/w"), stored(np.zeros(2, ">f4"), "params/new/kernel")]
    fmt.write(tmp_path / "m.msgpack", new, template=template, metadata={})
    found = dict(leaves_of(tmp_path / "m.msgpack"))
    assert found["with/slash", "w"][2] == np.ones(3).tobytes()
    assert found["params", "new", "kernel"] == ((2,), np.dtype("<f4"), bytes(8))
    assert found["step",] == b"\xce\x00\x01\x11\x70"


@pytest.mark.parametrize("longest", [4, 12, 64, 100, 1 << 20])
def test_chunks_of_any_length_are_one_array_again(longest: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(_msgpack_write, "MAX_CHUNK", longest)
    monkeypatch.setattr(_msgpack_write, "_PIECE", 24)
    table, after = np.arange(70, dtype=np.float32).reshape(7, 10), np.arange(5, dtype="i2")
    tensors = [stored(table, "a/table"), stored(after, "a/after"), stored(np.float32(3), "one")]
    fmt.write(tmp_path / "m.msgpack", tensors, template=None, metadata={})
    found = values(fmt.read(tmp_path / "m.msgpack"))
    assert np.array_equal(found["a/table"], table)
    assert np.array_equal(found["a/after"], after)
    assert found["one"] == 3
    where = fmt.read(tmp_path / "m.msgpack").tensors["a/table"].locate()
    for first, count in ((0, 70), (0, 1), (2, 7), (3, 40), (69, 1), (70, 0)):
        memory = np.empty(count, np.float32)
        where.read_run(first, memory)
        assert np.array_equal(memory, table.reshape(-1)[first : first + count])


@pytest.mark.parametrize("shape", [(0,), (1,), (4,), (3, 5), (100,), (300, 300), ()], ids=str)
def test_arrays_of_every_size_have_the_head_that_their_length_needs(shape: tuple[int, ...], tmp_path: Path) -> None:
    array = np.arange(np.prod(shape, dtype=int), dtype=np.uint8).reshape(shape)
    fmt.write(tmp_path / "m.msgpack", [stored(array, "k" * 40)], template=None, metadata={})
    assert np.array_equal(fmt.read(tmp_path / "m.msgpack").tensors["k" * 40].read(), array)


def test_names_that_make_no_tree_and_types_that_flax_lacks_are_refused(tmp_path: Path) -> None:
    two = [stored(np.ones(2), "a"), stored(np.ones(2), "a/b")]
    for tensors in (two, two[::-1]):
        with pytest.raises(RefusedError, match=r"tensor 'a(/b)?' .*: rename the layer"):
            fmt.write(tmp_path / "m.msgpack", tensors, template=None, metadata={})
    with pytest.raises(RefusedError, match="'t' is int4, which Flax lacks; --dtype float32 converts it"):
        fmt.write(tmp_path / "m.msgpack", [stored(np.ones(2, ml_dtypes.int4), "t")], template=None, metadata={})


# Damaged files

DAMAGED = {
    "cut in a head": (tree_with(b"\xc7"), "ends in the middle of its tree"),
    "cut in an array": (tree_with(extension(ARRAY))[:-1], "20 bytes|21 bytes|it is cut short"),
    "a value for a tree": (b"\x81\xa1w\x01\x00", "something follows the end of its tree"),
    "a code that is none": (tree_with(b"\xc1"), "0xc1 begins nothing in MessagePack"),
    "a list": (tree_with(b"\x91\x01"), "'w' is a list, which Flax writes as a map"),
    "a key twice": (b"\x82\xa1w\x01\xa1w\x02", "two entries 'w'"),
    "a key that is a number with a fraction": (b"\x82\xa1w\x01\xca\0\0\0\0\x01", "a key that is no name"),
    "a key that is no text": (b"\x82\xa1w\x01\xa1\xff\x01", "a name that is no UTF-8"),
    "an array of two parts": (tree_with(extension(b"\x92\x91\x02\xa7float32")), "no array as Flax writes one"),
    "a length below zero": (tree_with(extension(ARRAY.replace(b"\x91\x02", b"\x91\xfe"))), "no array as Flax writes"),
    "a length that is no number": (tree_with(extension(ARRAY.replace(b"\x91\x02", b"\x91\xc3"))), "no array as Flax"),
    "another length": (tree_with(extension(ARRAY.replace(b"\x91\x02", b"\x91\x03"))), r"float32\[3\], but has 8 bytes"),
    "objects": (tree_with(extension(ARRAY.replace(b"float32", b"object_"))), "elements of the type 'object_'"),
    "bytes behind the array": (tree_with(extension(ARRAY + b"\x01")), "no array as Flax writes one"),
    "a text for the bytes": (tree_with(extension(ARRAY.replace(b"\xc4", b"\xc7\x08"))), "no array as Flax writes one"),
    "chunks that are none": (
        tree_with(b"\x83\xb9__msgpack_chunked_array__\xc3\xa5shape\x80\xa6chunks\x80"),
        "no array",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_one_line(name: str, tmp_path: Path) -> None:
    data, words = DAMAGED[name]
    assert re.search(words, refusal(written(tmp_path / "m.msgpack", data)))


def test_chunks_that_are_not_as_long_as_the_array_are_refused(tmp_path: Path) -> None:
    data = CHUNKED.read_bytes()
    assert data.count(b"\xa10\x07\xa11\x0a") == 1
    changed = data.replace(b"\xa10\x07\xa11\x0a", b"\xa10\x07\xa11\x0b")
    assert "its chunks have 70 elements" in refusal(written(tmp_path / "m.msgpack", changed))


def test_a_tree_deeper_or_larger_than_any_model_is_refused(tmp_path: Path) -> None:
    deep = b"\x81\xa1w" * 100_000 + b"\x01"
    assert "nested more than 64 deep" in refusal(written(tmp_path / "deep.msgpack", deep))
    assert "entries: refused" in refusal(written(tmp_path / "wide.msgpack", b"\xdf\xff\xff\xff\xff\xa1w\x01"))


@pytest.mark.parametrize(
    "head",
    [b"\x80\x04\x95\x10", b"\x80", b"\x93\xa1w", b"\x81\x01\x02", b"\x81\xa5\0\0\0\0\0{}", b"\x81\xa1", b"PK\x03\x04"],
)
def test_other_files_are_not_taken_for_a_tree(head: bytes) -> None:
    assert not fmt.recognises(Path("x"), head + bytes(20) if head[0] == 0x93 else head)

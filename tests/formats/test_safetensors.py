"""Safetensors: what the reference library writes is read bit for bit; what we write is what it would write."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from torch_files import bits_of, random_tensor, stored
from weightport.checkpoint import Contents
from weightport.errors import CheckpointError, RefusedError
from weightport.formats import _safetensors_header, format_of_file, format_of_suffix
from weightport.formats import safetensors as fmt
from weightport.formats._safetensors_dtypes import NAME_OF_DTYPE
from weightport.formats._stored import FileArray

TYPES = sorted(dtype.name for dtype in NAME_OF_DTYPE)
ENTRY = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
DATA = np.arange(6, dtype="<f4").tobytes()


def packed(header: Any, data: bytes = DATA, pad: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text + pad)) + text + pad + data


def refusal(path: Path) -> str:
    """What reading the file is refused with: one line that begins with the file's folder."""
    with pytest.raises(CheckpointError) as caught:
        fmt.read(path)
    assert str(caught.value).startswith(str(path.parent))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


def bits(contents: Contents) -> dict[str, tuple[tuple[int, ...], str, bytes]]:
    return {n: (t.read().shape, t.read().dtype.name, t.read().tobytes()) for n, t in contents.tensors.items()}


def model() -> dict[str, torch.Tensor]:
    """A tensor of random bits of every type, and shapes that are easily got wrong."""
    shapes = {"m.scalar": (), "m.empty": (0, 3), "m.square": (4, 4), "é": (2, 1, 3)}
    every = {f"type.{name}": random_tensor(getattr(torch, name)) for name in TYPES}
    return every | {name: random_tensor(torch.float32, shape) for name, shape in shapes.items()}


# Reading and writing


def test_what_the_reference_writes_is_read_bit_for_bit(tmp_path: Path) -> None:
    values = model()
    safetensors.torch.save_file(values, tmp_path / "m.safetensors", metadata={"format": "pt", "note": "é"})
    assert format_of_file(tmp_path / "m.safetensors") is fmt
    contents = fmt.read(tmp_path / "m.safetensors")
    types = {name: str(value.dtype).removeprefix("torch.") for name, value in values.items()}
    assert bits(contents) == {name: (tuple(v.shape), types[name], bits_of(v)) for name, v in values.items()}
    assert contents.metadata == {"format": "pt", "note": "é"}
    assert (contents.framework, contents.ordered) == ("torch", False)


def test_the_bytes_are_those_of_the_reference_writer(tmp_path: Path) -> None:
    values = model()
    metadata = {"format": 'a "quoted" \\ \n\t\x01 \x7f é \u2028 text'}
    safetensors.torch.save_file(values, tmp_path / "theirs.safetensors", metadata=metadata)
    tensors = list(fmt.read(tmp_path / "theirs.safetensors").tensors.values())
    for name, order in (("one", tensors), ("two", tensors[::-1])):
        fmt.write(tmp_path / f"{name}.safetensors", order, template=None, metadata=metadata)
        assert (tmp_path / f"{name}.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()


def test_the_reference_library_loads_what_is_written(tmp_path: Path) -> None:
    tensors = [stored(np.arange(6, dtype=t).reshape(2, 3), f"w.{t}") for t in ("f2", ">f4", "<f8", "i8", "u2", "c8")]
    tensors.append(stored(np.ones((3, 2), ml_dtypes.bfloat16), "half"))
    fmt.write(tmp_path / "m.safetensors", tensors, template=None, metadata={"b": "2", "a": "1"})
    loaded = safetensors.torch.load_file(tmp_path / "m.safetensors")
    for tensor in tensors:
        np.testing.assert_array_equal(loaded[tensor.name].to(torch.complex64).numpy(), tensor.read().astype("c8"))
    assert loaded["half"].dtype == torch.bfloat16
    with safetensors.safe_open(tmp_path / "m.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt", "a": "1", "b": "2"}
    assert (int.from_bytes((tmp_path / "m.safetensors").read_bytes()[:8], "little")) % 8 == 0


def test_a_template_gives_its_other_tensors_and_its_metadata(tmp_path: Path) -> None:
    old = {"a": np.arange(3.0), "b": np.arange(4, dtype="<i4")}
    safetensors.numpy.save_file(old, tmp_path / "t.safetensors", metadata={"format": "flax", "kept": "yes", "k": "old"})
    template = fmt.read(tmp_path / "t.safetensors")
    fmt.write(tmp_path / "m.safetensors", [stored(np.ones(3), "a")], template=template, metadata={"k": "new"})
    contents = fmt.read(tmp_path / "m.safetensors")
    assert {name: tensor.read().tolist() for name, tensor in contents.tensors.items()} == {
        "a": [1, 1, 1],
        "b": [0, 1, 2, 3],
    }
    assert contents.metadata == {"format": "flax", "kept": "yes", "k": "new"}


def test_values_stay_in_the_file_until_they_are_read(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"w": np.ones((300, 300))}, tmp_path / "m.safetensors")
    tensor = fmt.read(tmp_path / "m.safetensors").tensors["w"]
    assert isinstance(tensor.locate(), FileArray)
    assert not tensor.read().flags.writeable
    np.testing.assert_array_equal(tensor.read(), np.ones((300, 300)))


@pytest.mark.parametrize(
    ("array", "name", "words"),
    [
        (np.zeros(2, ml_dtypes.int4), "w", "'w' is int4, which safetensors does not have; --dtype float32"),
        (np.zeros(2, np.complex128), "w", "'w' is complex128"),
        (np.zeros(2), "__metadata__", "cannot be called '__metadata__'"),
        (np.zeros(2), "\ud800", "cannot be written as UTF-8"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(array: Any, name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=words):
        fmt.write(tmp_path / "m.safetensors", [stored(array, name)], template=None, metadata={})
    assert not (tmp_path / "m.safetensors").exists()


# Bad headers


def entry(**changes: Any) -> dict[str, Any]:
    return {"w": {**ENTRY, **changes}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{}", "2 bytes: too short"),
        (struct.pack("<Q", 100_000_001) + b"{", "100000001 bytes, more than 100000000"),
        (struct.pack("<Q", 50) + b"{}", "header ends at byte 58, but the file has 10 bytes"),
        (packed(b"  " + json.dumps({"w": ENTRY}).encode()), "does not begin with a brace"),
        (packed(b'{"w": '), "no plain JSON"),
        (packed(b'{"\xff": 1}'), "not UTF-8"),
        (packed(b'{"w": {"dtype":"F32","shape":[2,3],"data_offsets":[0,NaN]}}'), "NaN is no JSON"),
        (packed(b'{"w\\ud800": 1}'), "not UTF-8"),
        (packed(b'{"w":' + b"[" * 100_000), "nested too deep"),
        (packed(b'{"w":' + b"9" * 10_000 + b"}"), "no plain JSON"),
        (packed(json.dumps({"w": ENTRY})[:-1].encode() + b', "w": {}}'), "'w' twice: refused as unsafe"),
        (packed(b'{"w":{"dtype":"F32","dtype":"F64","shape":[2,3],"data_offsets":[0,24]}}'), "'dtype' twice"),
        (packed(b'{"__metadata__":{"a":"1","a":"2"}}', b""), "'a' twice"),
        (packed({"__metadata__": {"a": 1}, "w": ENTRY}), "__metadata__ is not text"),
        (packed({"__metadata__": 3, "w": ENTRY}), "__metadata__ is not text"),
        (packed(entry(extra=1)), "'w' has 'dtype', 'shape', 'data_offsets', 'extra' where"),
        (packed({"w": {"dtype": "F32", "shape": [2, 3]}}), "'w' has 'dtype', 'shape' where"),
        (packed({"w": [1]}), "'w' has a list where"),
        (packed(entry(dtype="F33")), "'w' is of an unknown type 'F33'"),
        (packed(entry(dtype=["F32"])), "'w' is of an unknown type"),
        (packed(entry(dtype="F4")), "'w' is of F4, whose elements share bytes"),
        (packed(entry(dtype="F6_E2M3")), "'w' is of F6_E2M3"),
        (packed(entry(shape=[2, -3])), "not lists of sizes"),
        (packed(entry(shape=[2.0, 3])), "not lists of sizes"),
        (packed(entry(shape=[True, 6])), "not lists of sizes"),
        (packed(entry(shape=6)), "not lists of sizes"),
        (packed(entry(shape=[1] * 33)), "33 dimensions"),
        (packed(entry(shape=[1 << 40, 1 << 40])), "no array can be that large"),
        (packed(entry(shape=[0, 1 << 63], data_offsets=[0, 0])), "no array can be that large"),
        (packed(entry(shape=[2, 4])), "'w' has 24 bytes, but float32.2, 4. takes 32"),
        (packed(entry(data_offsets=[24, 0])), "'w' has -24 bytes"),
        (packed(entry(data_offsets=[0, 12, 24])), "not lists of sizes"),
        (packed(entry(data_offsets=[-24, 0])), "not lists of sizes"),
        (packed(entry(data_offsets=[4, 28]), DATA + bytes(4)), "leaves a gap before it"),
        (packed({"w": ENTRY, "v": ENTRY}), "overlaps the one before it"),
        (packed({"w": ENTRY, "v": {**ENTRY, "data_offsets": [20, 44]}}, DATA + bytes(20)), "'v' .* overlaps"),
        (packed(entry(), DATA[:-1]), "cut short"),
        (packed(entry(), DATA + b"x"), "1 bytes follow its last tensor"),
        (packed({"w" * 100_000: 1}), "'www"),
    ],
)
def test_a_header_that_breaks_the_specification_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    assert re.search(words, refusal(path))


def test_the_header_that_all_these_break_is_a_good_one(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(packed({"w": ENTRY}, pad=b"   "))
    np.testing.assert_array_equal(fmt.read(path).tensors["w"].read(), np.arange(6).reshape(2, 3))
    assert format_of_file(path) is fmt


def test_a_header_of_too_many_containers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_safetensors_header, "MAX_CONTAINERS", 10)
    (tmp_path / "m.safetensors").write_bytes(packed({"w": [[]] * 10}))
    assert "more than 10 lists and objects" in refusal(tmp_path / "m.safetensors")


def test_a_file_that_is_cut_anywhere_is_refused(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"a": np.arange(5.0), "b": np.ones((2, 3), "<f4")}, tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    for end in range(len(whole)):
        (tmp_path / "m.safetensors").write_bytes(whole[:end])
        assert re.search("cut short|too short", refusal(tmp_path / "m.safetensors")), end


# Shards

SHARDED = {f"l{number}.w": np.full((4,), number, "<f4") for number in range(5)}
INDEX = "m.safetensors.index.json"


def shards(folder: Path, limit: int = 32) -> Path:
    tensors = [stored(array, name) for name, array in SHARDED.items()]
    fmt.write_shards(folder / INDEX, tensors, template=None, metadata={"k": "v"}, shard_bytes=limit)
    return folder / INDEX


def changed(index: Path, **weight_map: str | None) -> Path:
    """The index with these entries of its map changed, or left out."""
    content = json.loads(index.read_text())
    changes = {f"{key}.w": value for key, value in weight_map.items()}
    content["weight_map"] = {k: v for k, v in (content["weight_map"] | changes).items() if v is not None}
    index.write_text(json.dumps(content))
    return index


@pytest.mark.parametrize(("limit", "count"), [(32, 3), (47, 3), (48, 2), (1, 5), (fmt.SHARD_BYTES, 1)])
def test_shards_are_filled_to_their_limit_and_read_back(limit: int, count: int, tmp_path: Path) -> None:
    index = shards(tmp_path, limit)
    names = [f"m-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, INDEX])
    content = json.loads(index.read_text())
    assert content["metadata"] == {"total_size": 80}
    for name in names:
        mapped = sorted(tensor for tensor, shard in content["weight_map"].items() if shard == name)
        assert sorted(safetensors.numpy.load_file(tmp_path / name)) == mapped
    assert format_of_file(index) is fmt
    contents = fmt.read(index)
    assert {name: tensor.read().tolist() for name, tensor in contents.tensors.items()} == {
        name: array.tolist() for name, array in SHARDED.items()
    }
    assert contents.metadata == {"format": "pt", "k": "v"}


def test_shards_that_others_wrote_are_read(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"a": np.ones(3)}, tmp_path / "x.safetensors")
    safetensors.numpy.save_file({"b": np.zeros((2, 2))}, tmp_path / "y.safetensors")
    (tmp_path / "renamed.json").write_text(json.dumps({"weight_map": {"b": "y.safetensors", "a": "x.safetensors"}}))
    assert format_of_file(tmp_path / "renamed.json") is fmt
    assert fmt.read(tmp_path / "renamed.json").tensors["b"].read().tolist() == [[0, 0], [0, 0]]


def test_a_target_that_is_named_like_an_index_is_sharded() -> None:
    assert format_of_suffix(Path(INDEX)) is fmt
    assert format_of_suffix(Path("m.safetensors")) is fmt


@pytest.mark.parametrize(
    "name",
    ["../m.safetensors", "/m.safetensors", "a/m.safetensors", "a\\m.safetensors", "C:m.safetensors", "..", "", "\0"],
)
def test_a_shard_outside_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    assert "no plain file name: refused as unsafe" in refusal(changed(shards(tmp_path), l0=name))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"l0": None}, "m-00001-of-00003.safetensors: has tensor 'l0.w', which m.safetensors.index.json does not say"),
        ({"l9": "m-00001-of-00003.safetensors"}, "has no tensor 'l9.w', which m.safetensors.index.json says"),
        ({"l0": "m-00002-of-00003.safetensors"}, "tensor 'l0.w'"),
        ({"l0": "gone.safetensors"}, "'gone.safetensors' cannot be read: No such file or directory"),
        ({"l0": "model.bin"}, "'model.bin' is no .safetensors file"),
        ({"l0": "d.safetensors"}, "'d.safetensors' is not a file"),
        ({"l0": "loop.safetensors"}, "'loop.safetensors' cannot be read"),
        ({"l0": "link.safetensors"}, "'link.safetensors' is a link that leaves the folder: refused as unsafe"),
    ],
)
def test_an_index_that_its_shards_do_not_bear_out_is_refused(
    changes: Mapping[str, Any], words: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "d.safetensors").mkdir()
    (folder / "loop.safetensors").symlink_to(folder / "loop.safetensors")
    safetensors.numpy.save_file({"l0.w": np.ones(3)}, tmp_path / "secret.safetensors")
    (folder / "link.safetensors").symlink_to(tmp_path / "secret.safetensors")
    assert re.search(words, refusal(changed(shards(folder), **changes)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "no weight_map"),
        ('{"weight_map": {}}', "no weight_map"),
        ('{"weight_map": {"a": 1}}', "no weight_map"),
        ('{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}', "'a' twice"),
        ('{"weight_map": ', "no plain JSON"),
        ('{"a": ' + "[" * 100_000, "nested too deep"),
    ],
)
def test_an_index_that_is_none_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(text)
    assert format_of_file(tmp_path / INDEX) is fmt
    assert words in refusal(tmp_path / INDEX)

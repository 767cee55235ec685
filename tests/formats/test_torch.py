"""PyTorch's files: read as PyTorch reads them, written as PyTorch opens them, hostile ones refused in one line."""

from __future__ import annotations

import argparse
import collections
import datetime
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from torch_files import (
    archive,
    bits_of,
    dict_of,
    integer,
    legacy,
    named,
    random_tensor,
    storage,
    stored,
    tensor,
    text,
    tuple_of,
)
from weightport.checkpoint import Contents
from weightport.errors import RefusedError
from weightport.formats import format_of_suffix, torch_zip
from weightport.formats._stored import FileArray
from weightport.formats._torch_dtypes import DTYPE_OF_NAME

DTYPES = sorted(DTYPE_OF_NAME)
LEGACY = {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}}
way_of = pytest.mark.parametrize("way", LEGACY)


def saved(value: Any, path: Path, way: str = "zip", **options: Any) -> Path:
    torch.save(value, path, **LEGACY[way], **options)
    return path


def check_same(contents: Contents, expected: dict[str, torch.Tensor]) -> None:
    """Names, order, shapes, types and every bit."""
    assert list(contents.tensors) == list(expected)
    for name, value in expected.items():
        lazy = contents.tensors[name]
        array = lazy.read()
        assert (array.shape, array.dtype) == (tuple(value.shape), lazy.dtype), name
        assert str(value.dtype).removeprefix("torch.") == array.dtype.name, name
        assert array.tobytes() == bits_of(value), name
        assert not array.flags.writeable


def every_view() -> dict[str, torch.Tensor]:
    """A state dict of everything that a strided view can be."""
    flat, square = torch.randn(60), torch.randn(4, 4)
    return {
        "plain": torch.randn(3, 4),
        "transposed": torch.randn(4, 5).t(),
        "square transposed": square.t(),
        "permuted": torch.randn(2, 3, 4, 5).permute(3, 0, 2, 1),
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "stepped": torch.randn(10, 6)[1::3, 1::2],
        "flat 1": flat[:12].view(3, 4),
        "flat 2": flat[12:57].view(5, 9),
        "flat 3": flat[57:],
        "tied": square,
        "tied again": square,
        "parameter": torch.nn.Parameter(torch.randn(2, 3)),
        "frozen": torch.nn.Parameter(torch.randn(3), requires_grad=False),
        "scalar": torch.tensor(-0.0),
        "empty": torch.zeros(0, 3),
        "empty inside": torch.randn(5)[5:],
        "expanded": torch.tensor([1.0, 2.0]).expand(3, 2),
        "single row": torch.randn(1, 7)[:, 2:6],
        "large": torch.randn(300, 200).t(),
    }


@way_of
def test_every_kind_of_view_is_read_as_torch_reads_it(way: str, tmp_path: Path) -> None:
    values = every_view()
    path = saved(values, tmp_path / "m.pt", way)
    check_same(torch_zip.read(path), torch.load(path, weights_only=True))


@way_of
@pytest.mark.parametrize("name", DTYPES)
def test_every_type_is_read_bit_for_bit(name: str, way: str, tmp_path: Path) -> None:
    value = random_tensor(getattr(torch, name))
    values = {"w": value, "turned": value.t(), "one": value[1, 2]}
    check_same(torch_zip.read(saved(values, tmp_path / "m.pt", way)), values)


@pytest.mark.parametrize("name", DTYPES)
def test_every_type_is_written_as_torch_loads_it(name: str, tmp_path: Path) -> None:
    value = random_tensor(getattr(torch, name), (3, 5))
    contents = torch_zip.read(
        saved({"a.w": value, "a.turned": value.t(), "s": value[0, 0], "e": value[:0]}, tmp_path / "m.pt")
    )
    torch_zip.write(tmp_path / "out.pt", list(contents.tensors.values()), template=None, metadata={"no": "place"})
    for options in ({"mmap": True}, {"mmap": False}):
        loaded = torch.load(tmp_path / "out.pt", weights_only=True, **options)
        assert type(loaded) is collections.OrderedDict
        check_same(contents, loaded)
        assert all(tensor.is_contiguous() for tensor in loaded.values())
    assert list(torch.load(tmp_path / "out.pt", weights_only=False)) == list(loaded)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_is_read(protocol: int, tmp_path: Path) -> None:
    module = torch.nn.LSTM(3, 5, num_layers=2, bidirectional=True)
    path = saved(module.state_dict(), tmp_path / "m.pt", pickle_protocol=protocol)
    check_same(torch_zip.read(path), module.state_dict())


def test_unusual_but_honest_tensors_are_read(tmp_path: Path) -> None:
    marked = torch.nn.Parameter(torch.randn(3))
    marked.note = "an attribute"  # type: ignore[attr-defined]
    plain = torch.randn(4)
    plain.note = "an attribute"  # type: ignore[attr-defined]
    values = {
        "parameter": marked,
        "tensor": plain,
        "size 1 with any stride": torch.randn(1).as_strided((1, 1), (999, 77)),
    }
    check_same(torch_zip.read(saved(values, tmp_path / "m.pt")), values)


# Training scripts

STATE = {"l.weight": torch.arange(6.0).view(2, 3), "l.bias": torch.tensor([7.0, 8.0])}


def training_checkpoint(key: str) -> dict[str, Any]:
    module = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(3, 3)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        key: dict(STATE),
        "optimizer": optimizer.state_dict(),
        "scheduler": {"last_epoch": 3},
        "rng": torch.get_rng_state(),
        "args": argparse.Namespace(lr=0.1, path=Path("/data")),
        "best": np.float64(0.9),
        "history": np.arange(3),
        "when": datetime.datetime(2024, 1, 2),
        "tags": {"a", "b"},
        "counts": collections.Counter("abca"),
        "default": collections.defaultdict(list, x=[1]),
        "size": torch.Size([2, 3]),
        "device": torch.device("cpu"),
        "dtype": torch.bfloat16,
        "class": int,
    }


@way_of
@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net"])
def test_the_weights_of_a_training_checkpoint_are_found_and_the_rest_is_noticed(
    key: str, way: str, tmp_path: Path
) -> None:
    value = training_checkpoint(key)
    contents = torch_zip.read(saved(value, tmp_path / "m.pt", way))
    check_same(contents, STATE)
    skipped = contents.description["skipped"]
    assert contents.description["key"] == key
    assert set(skipped) == set(value) - {key}
    assert skipped["optimizer"] == "state of an optimizer"
    assert skipped["args"] == "argparse.Namespace"
    assert (skipped["epoch"], skipped["rng"], skipped["scheduler"]) == ("int", "tensor", "dict of 1")


@pytest.mark.parametrize(
    ("value", "names", "skipped"),
    [
        (STATE, ["l.weight", "l.bias"], {}),
        ({"my_weights": STATE, "epoch": 1}, ["l.weight", "l.bias"], {"epoch": "int"}),
        ({"state_dict": STATE, "state_dict_ema": STATE}, ["l.weight", "l.bias"], {"state_dict_ema": "dict of 2"}),
        ({"model": {"enc": STATE, "dec": {"w": STATE["l.bias"]}}}, ["enc.l.weight", "enc.l.bias", "dec.w"], {}),
        ({**STATE, "l._extra_state": {"s": STATE["l.bias"]}}, ["l.weight", "l.bias"], {"l._extra_state": "dict of 1"}),
        (
            {**STATE, "n": None, 3: STATE["l.bias"]},
            ["l.weight", "l.bias"],
            {"n": "NoneType", "<int 3>": "value whose key is no name"},
        ),
    ],
)
def test_which_dictionary_is_the_state_dict(
    value: Any, names: list[str], skipped: dict[str, str], tmp_path: Path
) -> None:
    contents = torch_zip.read(saved(value, tmp_path / "m.pt"))
    assert list(contents.tensors) == names
    assert contents.description["skipped"] == skipped


# Files of other versions of PyTorch

OLD_KEYS = {"94823274932928": np.arange(4, dtype="<f4"), "94823274932929": np.arange(6, dtype="<i8")}


def test_a_file_of_pytorch_1_6_is_read(tmp_path: Path) -> None:
    """Its storage keys are addresses, and it does not tell its byte order."""
    first, second = OLD_KEYS
    pickle = dict_of(
        {
            "w": tensor((2, 2), (2, 1), of=storage(4, first)),
            "n": tensor((3,), (2,), 1, of=storage(6, second, "LongStorage")),
        }
    )
    path = archive(tmp_path / "m.pt", pickle, {f"data/{key}": v.tobytes() for key, v in OLD_KEYS.items()}, root="old")
    contents = torch_zip.read(path)
    np.testing.assert_array_equal(contents.tensors["w"].read(), [[0, 1], [2, 3]])
    np.testing.assert_array_equal(contents.tensors["n"].read(), [1, 3, 5])


def test_a_compressed_archive_is_read(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pt", dict_of({"w": tensor((2,), (2,), 1)}), compression=zipfile.ZIP_DEFLATED)
    np.testing.assert_array_equal(torch_zip.read(path).tensors["w"].read(), [1, 3])


def test_an_archive_without_checksums_is_read(tmp_path: Path) -> None:
    try:
        torch.serialization.set_crc32_options(False)
        path = saved(STATE, tmp_path / "m.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    check_same(torch_zip.read(path), STATE)


def test_views_of_storages_as_pytorch_0_3_wrote_them_are_read(tmp_path: Path) -> None:
    """A legacy file whose storage is elements 2 to 5 of another one."""
    identity = [text("storage"), named("torch", "FloatStorage"), text("7"), text("cpu"), integer(8)]
    view = tuple_of(*identity, tuple_of(text("8"), integer(2), integer(4))) + b"Q"
    whole = tuple_of(*identity, b"N") + b"Q"
    pickle = dict_of({"part": tensor((2,), (2,), 1, of=view), "whole": tensor((8,), of=whole)})
    path = legacy(tmp_path / "m.pth", pickle, {"7": np.arange(8, dtype="<f4").tobytes()})
    contents = torch_zip.read(path)
    np.testing.assert_array_equal(contents.tensors["part"].read(), [3, 5])
    np.testing.assert_array_equal(contents.tensors["whole"].read(), np.arange(8))


# Laziness and templates


def test_values_stay_in_the_file_until_they_are_read_and_views_keep_their_strides(tmp_path: Path) -> None:
    value = torch.randn(700, 300)
    contents = torch_zip.read(saved({"w": value, "turned": value.t()}, tmp_path / "m.pt"))
    assert isinstance(contents.tensors["w"].locate(), FileArray)
    assert contents.tensors["turned"].read().strides == (4, 1200)
    for name, expected in {"w": value, "turned": value.t()}.items():
        array = contents.tensors[name].read()
        assert not array.flags.writeable
        np.testing.assert_array_equal(array, expected)


def test_more_tensors_than_a_process_may_have_open_files_are_read(tmp_path: Path) -> None:
    import resource

    values = {str(number): torch.full((20_000,), float(number)) for number in range(80)}
    contents = torch_zip.read(saved(values, tmp_path / "m.pt"))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, before[1]))
    try:
        arrays = [tensor.read() for tensor in contents.tensors.values()]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert [array[-1] for array in arrays] == list(range(80))


def test_writing_is_deterministic_and_keeps_the_templates_other_tensors_in_order(tmp_path: Path) -> None:
    template = torch_zip.read(saved({"model": STATE, "epoch": 3}, tmp_path / "t.pt"))
    new = stored(np.full((2,), 9, np.float32), "l.bias"), stored(np.ones((2, 2), np.int16), "extra")
    for name in ("one.pt", "two.pt"):
        torch_zip.write(tmp_path / name, new, template=template, metadata={})
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()
    loaded = torch.load(tmp_path / "one.pt", weights_only=True)
    assert {name: value.tolist() for name, value in loaded.items()} == {
        "l.weight": STATE["l.weight"].tolist(),
        "l.bias": [9.0, 9.0],
        "extra": [[1, 1], [1, 1]],
    }
    assert list(loaded) == ["l.weight", "l.bias", "extra"]


def test_many_tensors_and_long_dimensions_are_written(tmp_path: Path) -> None:
    """More than one batch of items, and numbers beyond 31 bits in the pickle."""
    tensors = [stored(np.full((2,), number, np.int32), f"layer.{number}") for number in range(2500)]
    tensors.append(stored(np.empty((0, 1 << 40), np.float32), "wide"))
    torch_zip.write(tmp_path / "m.pt", tensors, template=None, metadata={})
    loaded = torch.load(tmp_path / "m.pt", weights_only=True, mmap=True)
    assert [int(loaded[f"layer.{number}"][1]) for number in range(2500)] == list(range(2500))
    assert loaded["wide"].shape == (0, 1 << 40)
    assert torch_zip.read(tmp_path / "m.pt").tensors["wide"].read().shape == (0, 1 << 40)


@pytest.mark.parametrize(
    ("array", "name", "words"),
    [
        (np.zeros(2, ml_dtypes.int4), "w", "'w' is int4, which PyTorch does not have; --dtype float32"),
        (np.zeros(2, ml_dtypes.float8_e3m4), "w", "'w' is float8_e3m4"),
        (np.zeros(2, "<U3"), "w", "'w' is <U3"),
        (np.zeros(2), "\ud800", "cannot be written as UTF-8"),
    ],
)
def test_what_torch_does_not_have_is_refused(array: Any, name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=words):
        torch_zip.write(tmp_path / "m.pt", [stored(array, name)], template=None, metadata={})


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = [stored(np.zeros(2)), stored(np.ones(2))]
    with pytest.raises(RefusedError, match="two tensors are to be written as 'w'"):
        torch_zip.write(tmp_path / "m.pt", twice, template=None, metadata={})


def test_the_suffixes_are_those_of_pytorch() -> None:
    assert format_of_suffix(Path("m.pt")) is torch_zip
    assert format_of_suffix(Path("m.pth")) is torch_zip

"""Checkpoints in several files: written as large as asked, read by Hugging Face's loader and by us."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from weightport.errors import UsageError
from weightport.shards import byte_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("5GB", 5_000_000_000), ("500 MB", 500_000_000), ("2GiB", 2 << 30), ("1.5kb", 1500), ("100", 100), (7, 7)],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert byte_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "0", "5XB", "1e9"])
def test_what_is_no_size_is_one_line(text):
    with pytest.raises(UsageError, match=r"^no size .*; write it as 5GB, 500MB or 2GiB$"):
        byte_size(text)


def test_shards_are_as_large_as_asked_and_hold_every_tensor(torch_file, tmp_path, weightport):
    index = tmp_path / "large.safetensors.index.json"
    done = weightport("convert", torch_file, index, "--shard-size", "700")
    assert done.status == 0, done.err
    weight_map = json.loads(index.read_text())["weight_map"]
    expected = load_file(torch_file)
    shards = {name: load_file(tmp_path / name) for name in set(weight_map.values())}
    assert len(shards) > 1
    for tensors in shards.values():
        assert sum(array.nbytes for array in tensors.values()) <= 700
    assert weight_map.keys() == expected.keys()
    for name, shard in weight_map.items():
        np.testing.assert_array_equal(shards[shard][name], expected[name])


def test_shards_are_one_checkpoint_again(torch_file, tmp_path, weightport):
    index, back = tmp_path / "large.safetensors.index.json", tmp_path / "back.safetensors"
    weightport("convert", torch_file, index, "--shard-size", "700")
    done = weightport("convert", index, back)
    assert done.status == 0, done.err
    for name, values in load_file(torch_file).items():
        np.testing.assert_array_equal(load_file(back)[name], values)


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("out.safetensors", "shards need an index; name the target out.safetensors.index.json"),
        ("out.pt", "only .safetensors can be spread over shards; leave out --shard-size"),
    ],
)
def test_a_target_without_an_index_is_wrong_usage(target, line, torch_file, tmp_path, weightport):
    done = weightport("convert", torch_file, tmp_path / target, "--shard-size", "1GB")
    assert done.status == 2
    assert done.err.strip().endswith(line)
    assert not (tmp_path / target).exists()

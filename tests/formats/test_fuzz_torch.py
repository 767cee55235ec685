"""Mutated PyTorch and safetensors files: each is read or refused with a CheckpointError of one line, and soon."""

from __future__ import annotations

import argparse
import io
import json
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from torch_files import stored, with_pickle
from weightport.errors import CheckpointError
from weightport.formats import safetensors as safetensors_format
from weightport.formats import torch_zip

MUTANTS = 600
SECONDS_A_FILE = 2.0
PIECES = [
    *(bytes([code]) for code in b"(.0qrhjNKMJGUTX)t]ae}sucRbQ\x80\x85\x88\x8a\x8d\x8e\x90\x91\x93\x94\x81\x8f\x96\xff"),
    *(struct.pack("<I", value) for value in (0, 2**31, 2**32 - 1)),
    *(struct.pack("<Q", value) for value in (2**40, 2**63, 2**64 - 1)),
    *(b'"', b"{", b"}", b"[", b",", b"-1", b"1e9", b"9" * 25, b"null", b'"F4"', b"\\ud800", b"../"),
]


def saved(value: object, *, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    flat = torch.randn(12)
    return {
        "l.weight": torch.nn.Parameter(torch.randn(3, 4)),
        "l.bias": flat[2:6],
        "turned": flat[4:].view(2, 4).t(),
        "small": torch.ones(3).to(torch.float8_e4m3fn),
        "empty": torch.zeros(0, 3),
    }


def training() -> dict[str, object]:
    return {"state_dict": state(), "epoch": 3, "args": argparse.Namespace(lr=0.1), "best": np.float64(1)}


def safetensors_file() -> bytes:
    return safetensors.torch.save({n: t.detach().clone().contiguous() for n, t in state().items()}, {"format": "pt"})


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, replaced by a piece or by another part, inserted or removed; sometimes the end cut off."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        place, other = chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)
        new = chance.choice((bytes([chance.randrange(256)]), chance.choice(PIECES), data[other : other + 30], b""))
        removed = chance.choice((0, len(new), chance.randrange(12)))
        data = data[:place] + new + data[place + removed :]
    return data[: chance.randrange(len(data) + 1)] if chance.random() < 0.05 else data


def header_mutated(data: bytes, chance: random.Random) -> bytes:
    """The header alone, under its right length."""
    size = int.from_bytes(data[:8], "little")
    header = mutated(data[8 : 8 + size], chance)
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def index_in(folder: Path) -> bytes:
    tensors = [stored(np.full(4, number, np.float32), f"t{number}") for number in range(5)]
    index = folder / "m.safetensors.index.json"
    safetensors_format.write_shards(index, tensors, template=None, metadata={}, shard_bytes=32)
    return index.read_bytes()


def read_all(path: Path) -> None:
    """What opening a checkpoint and reading its tensors does."""
    head = path.read_bytes()[:64]
    recognised = [fmt for fmt in (safetensors_format, torch_zip) if fmt.recognises(path, head)]
    for lazy in (recognised[0] if recognised else torch_zip).read(path).tensors.values():
        lazy.read().tobytes()


@pytest.mark.parametrize("kind", ["zip", "pickle in zip", "legacy", "safetensors", "header", "index"])
def test_mutants_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    seeds: dict[str, Callable[[], list[bytes]]] = {
        "zip": lambda: [saved(state())],
        "pickle in zip": lambda: [saved(state()), saved(training())],
        "legacy": lambda: [saved(state(), zipped=False), saved(training(), zipped=False)],
        "safetensors": lambda: [safetensors_file()],
        "header": lambda: [safetensors_file()],
        "index": lambda: [index_in(tmp_path)],
    }
    ways: dict[str, Callable[[bytes, random.Random], bytes]] = {
        "pickle in zip": lambda data, chance: with_pickle(data, lambda content: mutated(content, chance)),
        "header": header_mutated,
    }
    files, way, chance = seeds[kind](), ways.get(kind, mutated), random.Random(20)
    path = tmp_path / ("x.safetensors.index.json" if kind == "index" else "mutant")
    refused = 0
    for number in range(MUTANTS):
        path.write_bytes(way(files[number % len(files)], chance))
        begin = time.perf_counter()
        try:
            read_all(path)
        except CheckpointError as error:
            refused += 1
            assert "\n" not in str(error)
            assert len(str(error)) < 2000
        assert time.perf_counter() - begin < SECONDS_A_FILE
    assert refused > MUTANTS / 4, "the mutations hardly touch anything"
    for content in files:
        path.write_bytes(content)
        read_all(path)


def test_a_value_of_any_type_in_any_place_of_a_header_is_read_or_refused(tmp_path: Path) -> None:
    good = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    for value in (None, True, -1, 2**70, 1.5, "", "F64", [], [0], [4, 8], [[0]], {}, {"a": 1}):
        headers = [{"w": good | {key: value}} for key in good] + [{"w": value}]
        for number, header in enumerate(headers):
            text = json.dumps(header).encode()
            (tmp_path / "m").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
            if (number, value) == (1, []):  # a scalar takes as many bytes
                read_all(tmp_path / "m")
                continue
            with pytest.raises(CheckpointError):
                read_all(tmp_path / "m")

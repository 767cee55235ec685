"""Safetensors: headers that lie about sizes and ranges, JSON that two readers take differently, indices that climb."""

from __future__ import annotations

import json
import os
import struct
from functools import partial
from pathlib import Path
from typing import Any

from . import Place, attack
from . import _honest as honest

GOOD = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
BIAS = {"dtype": "F32", "shape": [2], "data_offsets": [24, 32]}
VALUES = bytes(range(32))


def _file(header: bytes, values: bytes, place: Place, length: int | None = None) -> Path:
    path = place.folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + values)
    return path


def _entries(entries: dict[str, Any], values: bytes, place: Place) -> Path:
    return _file(json.dumps(entries).encode(), values, place)


def both(**changes: Any) -> dict[str, Any]:
    """An honest header with the first tensor's entry changed."""
    return {"dense.weight": {**GOOD, **changes}, "dense.bias": BIAS}


HEADERS: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "ranges that overlap": (both(data_offsets=[8, 32]), VALUES, "begins at byte .* and|overlaps|leaves a gap"),
    "the same range twice": (both() | {"copy": GOOD}, VALUES, "overlaps the one before"),
    "a gap between ranges": (both() | {"dense.bias": {**BIAS, "data_offsets": [28, 36]}}, VALUES + b"gap!", "leaves a gap"),
    "a gap before the first": (
        {"dense.bias": {**BIAS, "data_offsets": [4, 12]}}, bytes(12), "leaves a gap"
    ),
    "bytes after the last": (both(), VALUES + b"#!/bin/sh\n", "10 bytes follow its last tensor: refused"),
    "a range past the end": (both() | {"dense.bias": {**BIAS, "shape": [1 << 30], "data_offsets": [24, 24 + (4 << 30)]}}, VALUES, "cut short"),
    "a range that runs backwards": (both(data_offsets=[24, 0]), VALUES, "has -24 bytes, but"),
    "a negative offset": (both(data_offsets=[-24, 0]), VALUES, "not lists of sizes"),
    "an offset beyond 64 bits": (both(data_offsets=[2**64, 2**64 + 24]), VALUES, "and leaves a gap|cut short|overlap"),
    "three offsets": (both(data_offsets=[0, 24, 24]), VALUES, "not lists of sizes"),
    "offsets that are floats": (both(data_offsets=[0.0, 24.0]), VALUES, "not lists of sizes"),
    "a shape larger than its range": (both(shape=[1 << 40, 3]), VALUES, "has 24 bytes, but"),
    "a shape that overflows": (both(shape=[1 << 62, 1 << 62]), VALUES, "no array can be that large"),
    "an empty shape beside an enormous one": (both(shape=[0, 1 << 63], data_offsets=[0, 0]), VALUES, "no array can be that large"),
    "a negative size": (both(shape=[-2, -3]), VALUES, "not lists of sizes"),
    "a size that is true": (both(shape=[True, 6]), VALUES, "not lists of sizes"),
    "a thousand dimensions": (both(shape=[1] * 1000), VALUES, "1000 dimensions"),
    "a type that is a list": (both(dtype=["F32"]), VALUES, "of an unknown type"),
    "a type of another name": (both(dtype="pickle"), VALUES, "of an unknown type 'pickle'"),
    "an unknown key": (both(location="/etc/passwd"), VALUES, "where dtype, shape and data_offsets should be"),
    "an entry that is a number": ({"dense.weight": 7}, VALUES, "where dtype, shape and data_offsets should be"),
    "metadata that is no text": (both() | {"__metadata__": {"a": {"b": "c"}}}, VALUES, "is not text by name"),
    "metadata that is a tensor": (both() | {"__metadata__": GOOD}, VALUES, "is not text by name"),
    "no tensors and data": ({}, VALUES, "32 bytes follow its last tensor"),
}  # fmt: skip

for _name, (_header, _values, _words) in HEADERS.items():
    attack(_words, _name)(partial(_entries, _header, _values))

_TEXT = json.dumps(both())
TEXTS: dict[str, tuple[str | bytes, str]] = {
    "a tensor twice": (_TEXT[:-1] + ', "dense.weight": ' + json.dumps(GOOD) + "}", "has 'dense.weight' twice"),
    "a key twice": (_TEXT.replace('"dtype"', '"dtype": "F64", "dtype"', 1), "has 'dtype' twice"),
    "metadata twice": ('{"__metadata__": {}, "__metadata__": {"a": "b"}, ' + _TEXT[1:], "twice"),
    "blanks before the brace": ("   " + _TEXT, "does not begin with a brace"),
    "text after the brace": (_TEXT + "x", "no plain JSON"),
    "a NUL after the brace": (_TEXT + "\0", "no plain JSON"),
    "NaN": (_TEXT.replace("[2, 3]", "[NaN, 3]"), "no plain JSON"),
    "an infinite number": (_TEXT.replace("[2, 3]", "[1e999, 3]"), "not lists of sizes"),
    "half a character": (_TEXT.replace("dense.bias", "\\ud800"), "no plain JSON|not UTF-8"),
    "no UTF-8": (b'{"\xff\xfe": 1}', "not UTF-8"),
    "lists a million deep": ('{"a": ' + "[" * 1_000_000, "nested too deep|no plain JSON|lists and objects"),
    "an integer of a million digits": (_TEXT.replace("[2, 3]", "[" + "9" * 1_000_000 + "]"), "no plain JSON"),
    "two million lists": ('{"a": [' + "[]," * 2_000_000 + "[]]}", "more than 1500000 lists and objects"),
    "a list": ("[" + _TEXT + "]", "not a checkpoint that weightport knows"),
    "an open brace": ("{" + " " * 100, "no plain JSON"),
}

for _name, (_text, _words) in TEXTS.items():
    _encoded = _text if isinstance(_text, bytes) else _text.encode()
    attack(_words, f"JSON with {_name}")(partial(_file, _encoded, VALUES))

for _name, _length, _words in (
    ("a header longer than the file", 1 << 20, "header ends at byte .* the file has .*cut short"),
    ("a header of a petabyte", (1 << 47) + 1, "says that its header has .*refused"),
    ("a header of no bytes", 0, "does not begin with a brace"),
    ("a header of one byte", 1, "no plain JSON"),
):
    attack(_words, _name)(partial(_file, _TEXT.encode(), VALUES, length=_length))


# Names that are text to a computer and commands to a terminal, or paths to a careless writer


def _names(name: str, place: Place) -> Path:
    return _entries({f"{name}.weight": GOOD, f"{name}.bias": BIAS}, VALUES, place)


for _title, _name in (
    ("names that climb", "../../outside/canary"),
    ("absolute names", "/etc/passwd"),
    ("names with a NUL", "a\0b"),
    ("names that steer a terminal", "\x1b[2J\x1b]0;owned\x07"),
    ("names of two lines", "a\nweightport: done"),
    ("names that turn the writing around", "\u202egnihtemos"),
    ("names in rich's own markup", "[bold red]a[/]"),
):
    attack("", _title)(partial(_names, _name))


# Indices


def _index(weight_map: Any, place: Place, **more: Any) -> Path:
    path = place.folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": weight_map, **more}))
    return path


def _shard(path: Path) -> Path:
    return honest.safetensors(path)


for _title, _shard_name, _words in (
    ("shard that climbs", "../outside/secret.bin", "no plain file name: refused as unsafe"),
    ("absolute shard", "/etc/passwd", "no plain file name: refused as unsafe"),
    ("shard with a backslash", "..\\outside\\secret.bin", "no plain file name: refused as unsafe"),
    ("shard with a NUL", "a\0.safetensors", "no plain file name: refused as unsafe"),
    ("shard without a name", "", "no plain file name: refused as unsafe"),
    ("shard that is the folder", ".", "no plain file name: refused as unsafe"),
    ("shard on another drive", "C:a.safetensors", "no plain file name: refused as unsafe"),
    ("shard that is no safetensors file", "model.pt", "is no .safetensors file"),
    ("shard that is not there", "other.safetensors", "put it beside the index"),
    ("shard whose name is too long", "a" * 5000 + ".safetensors", "by 5012 characters"),
    ("shard that is the index", "model.safetensors.index.json", "is no .safetensors file"),
):
    attack(_words, _title)(partial(_index, {"dense.weight": _shard_name}))

for _title, _map, _words in (
    ("shards that are lists", {"dense.weight": ["a.safetensors"]}, "has no weight_map from tensors to files"),
    ("no weights", {}, "has no weight_map from tensors to files|not a checkpoint"),
    ("a weight map that is a list", ["a.safetensors"], "has no weight_map from tensors to files"),
):
    attack(_words, f"index of {_title}")(partial(_index, _map))


@attack("is a link that leaves the folder: refused as unsafe")
def shard_that_is_a_link(place: Place) -> Path:
    _shard(place.secret.with_name("s.safetensors"))
    (place.folder / "s.safetensors").symlink_to(place.secret.with_name("s.safetensors"))
    return _index({"dense.weight": "s.safetensors", "dense.bias": "s.safetensors"}, place)


@attack("is not a file")
def shard_that_is_a_folder(place: Place) -> Path:
    (place.folder / "s.safetensors").mkdir()
    return _index({"dense.weight": "s.safetensors"}, place)


@attack("is not a file")
def shard_that_is_a_pipe(place: Place) -> Path:
    """Opening one waits for somebody to write into it, for ever."""
    os.mkfifo(place.folder / "s.safetensors")
    return _index({"dense.weight": "s.safetensors"}, place)


@attack("does not say is in it")
def shard_with_more_than_the_index_says(place: Place) -> Path:
    _shard(place.folder / "s.safetensors")
    return _index({"dense.weight": "s.safetensors"}, place)


@attack("says is in it")
def shard_with_less_than_the_index_says(place: Place) -> Path:
    _shard(place.folder / "s.safetensors")
    return _index({"dense.weight": "s.safetensors", "dense.bias": "s.safetensors", "x": "s.safetensors"}, place)

"""ONNX: external data anywhere on the disk, shapes and offsets that lie, messages nested or repeated without end."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnx_models import external, graph_model, save, varint

from . import Place, attack
from . import _honest as honest


def model(*tensors: TensorProto) -> onnx.ModelProto:
    """A dense layer whose bias is honest and whose kernel is not."""
    bias = numpy_helper.from_array(honest.BIAS, "bias")
    nodes = [helper.make_node("Gemm", ["x", "kernel", "bias"], ["y_out"], name="/dense/Gemm")]
    return graph_model([*tensors, bias], nodes, inputs=[helper.make_tensor_value_info("x", 1, [5, 3])])


def saved(place: Place, *tensors: TensorProto) -> Path:
    return save(model(*tensors), place.folder / "model.onnx")


def kernel(**fields: Any) -> TensorProto:
    """The kernel with some fields changed, or cleared where they are None."""
    tensor = numpy_helper.from_array(honest.KERNEL, "kernel")
    for name, value in fields.items():
        if value is None:
            tensor.ClearField(name)
        elif isinstance(value, list):
            del getattr(tensor, name)[:]
            getattr(tensor, name).extend(value)
        elif isinstance(value, TensorProto.Segment):
            tensor.segment.CopyFrom(value)
        else:
            setattr(tensor, name, value)
    return tensor


# External data


def _location(location: str, place: Place, **entries: str) -> Path:
    (place.folder / "w.bin").write_bytes(honest.KERNEL.tobytes() + bytes(8))
    filled = location.format(secret=place.secret, folder=place.folder)
    return saved(place, external("kernel", 3, 2, location=filled, **entries))


NO_PLAIN_PATH = "no plain path inside the model's folder: refused as unsafe"
for _title, _text in (
    ("climbs", "../outside/secret.bin"),
    ("climbs later", "a/../../outside/secret.bin"),
    ("climbs out of a dot", "./../outside/secret.bin"),
    ("is absolute", "{secret}"),
    ("is a device", "/dev/zero"),
    ("is the process's own memory", "/proc/self/mem"),
    ("has a backslash", "..\\outside\\secret.bin"),
    ("is on another drive", "C:\\windows\\win.ini"),
    ("is on another drive's folder", "c:w.bin"),
    ("is a share", "\\\\server\\share\\w.bin"),
    ("has a NUL", "w.bin\0.png"),
    ("is nothing", ""),
    ("is a dot", "."),
    ("is two dots", ".."),
    ("ends in a slash", "w.bin/"),
    ("has two slashes", "a//w.bin"),
):
    attack(NO_PLAIN_PATH, f"external data that {_title}")(partial(_location, _text))

for _title, _entries, _words in (
    ("past the end", {"offset": "100"}, "is cut short"),
    ("at the end of 64 bits", {"offset": "9223372036854775807"}, "is cut short"),
    ("beyond 64 bits", {"offset": "99999999999999999999999"}, "no byte count"),
    ("before the beginning", {"offset": "-24"}, "no byte count"),
    ("that is no number", {"offset": "0x10"}, "no byte count"),
    ("of too short a length", {"length": "4"}, "has 4 bytes where its shape asks for 24"),
    ("of too long a length", {"length": "4294967296"}, "where its shape asks for 24"),
    ("of a negative length", {"length": "-1"}, "no byte count"),
    ("of a length in Arabic digits", {"length": "\u0662\u0664"}, "no byte count"),
):
    attack(_words, f"external data {_title}")(partial(_location, "w.bin", **_entries))


def _linked(link: Callable[[Path, Place], object], location: str, place: Place) -> Path:
    link(place.folder / location.split("/", maxsplit=1)[0], place)
    return saved(place, external("kernel", 3, 2, location=location))


LINKS: dict[str, tuple[Callable[[Path, Place], object], str, str]] = {
    "symbolic link": (lambda path, place: path.symlink_to(place.secret), "w.bin", "goes through the link"),
    "link to a link": (
        lambda path, place: (path.with_name("l").symlink_to(place.secret), path.symlink_to("l")), "w.bin", "goes through the link"
    ),
    "symbolic link to a folder": (lambda path, place: path.symlink_to(place.secret.parent), "d/secret.bin", "goes through the link"),
    "link that goes nowhere": (lambda path, place: path.symlink_to("nowhere"), "w.bin", "goes through the link"),
    "hard link": (lambda path, place: path.hardlink_to(place.secret), "w.bin", "is a hard link"),
    "pipe": (lambda path, place: os.mkfifo(path), "w.bin", "is no plain file"),
    "folder": (lambda path, place: path.mkdir(), "w.bin", "is no plain file"),
    "file that is not there": (lambda path, place: None, "w.bin", "put that file beside the model"),
    "file below a file": (lambda path, place: path.write_bytes(bytes(24)), "w.bin/x", "cannot be read"),
    "name that is too long": (lambda path, place: None, "w" * 5000, "cannot be read"),
}  # fmt: skip
for _title, (_link, _place, _words) in LINKS.items():
    attack(_words, f"external data in a {_title}")(partial(_linked, _link, _place))


@attack("hard link|goes through the link|another name", "external data that is the model itself by another name")
def own_file(place: Place) -> Path:
    path = saved(place, external("kernel", 3, 2, location="w.bin"))
    (place.folder / "w.bin").hardlink_to(path)
    return path


@attack("says twice where")
def external_data_in_two_places(place: Place) -> Path:
    (place.folder / "w.bin").write_bytes(honest.KERNEL.tobytes())
    tensor = external("kernel", 3, 2, location="w.bin")
    tensor.external_data.add(key="location", value=str(place.secret))
    return saved(place, tensor)


@attack("two places")
def external_and_inline(place: Place) -> Path:
    (place.folder / "w.bin").write_bytes(honest.KERNEL.tobytes())
    tensor = external("kernel", 3, 2, location="w.bin")
    tensor.raw_data = honest.KERNEL.tobytes()
    return saved(place, tensor)


@attack("", "external data with attributes of the attacker's choice")
def external_with_other_keys(place: Place) -> Path:
    """CVE-2026-34445: keys that a loader sets as attributes."""
    (place.folder / "w.bin").write_bytes(honest.KERNEL.tobytes())
    return saved(
        place, external("kernel", 3, 2, location="w.bin", __class__="os.system", basepath=str(place.secret.parent))
    )


@attack("", "external data inside a folder of the model")
def external_below(place: Place) -> Path:
    (place.folder / "weights").mkdir()
    (place.folder / "weights" / "w.bin").write_bytes(honest.KERNEL.tobytes())
    return saved(place, external("kernel", 3, 2, location="weights/w.bin"))


# Tensors that lie

_FLOATS = honest.KERNEL.ravel().tolist()
LIES: dict[str, tuple[TensorProto, str]] = {
    "a size larger than its values": (kernel(dims=[3, 1 << 40]), "has 24 bytes of values where its shape asks for"),
    "sizes that overflow": (kernel(dims=[1 << 32, 1 << 32]), "impossible shape"),
    "sizes beyond any file": (kernel(dims=[1 << 62, 1 << 62, 2]), "impossible shape"),
    "a negative size": (kernel(dims=[-6]), "impossible shape"),
    "a size of minus four": (kernel(dims=[-4, 2]), "impossible shape"),
    "zero beside an enormous size": (kernel(dims=[0, 1 << 62], raw_data=b""), "impossible shape"),
    "a thousand dimensions": (kernel(dims=[1] * 1000), "more than 64 dimensions"),
    "raw and typed values": (kernel(float_data=_FLOATS), "in two places"),
    "typed values of another type": (kernel(raw_data=None, int32_data=[1] * 6), "in field 5: damaged"),
    "too few typed values": (kernel(raw_data=None, float_data=_FLOATS[:5]), "has 20 bytes of values"),
    "no values": (kernel(raw_data=b""), "has 0 bytes of values"),
    "a type that is none": (kernel(data_type=0), "data type 0, which"),
    "a type of the future": (kernel(data_type=1000), "data type 1000, which"),
    "a segment": (kernel(segment=TensorProto.Segment(begin=0, end=4)), "is a segment"),
}
for _title, (_tensor, _words) in LIES.items():
    attack(_words, f"tensor with {_title}")(lambda place, tensor=_tensor: saved(place, tensor))


@attack("has 1 bytes of values where its shape asks for")
def typed_values_that_are_not_there(place: Place) -> Path:
    """Terabytes of small integers, of which the file has one."""
    tensor = TensorProto(name="kernel", dims=[1 << 40, 2], data_type=TensorProto.INT32, int32_data=[1])
    return saved(place, tensor)


@attack("two tensors are named 'kernel'")
def two_tensors_of_one_name(place: Place) -> Path:
    return saved(place, kernel(), kernel(raw_data=np.zeros(6, "<f4").tobytes()))


@attack("has no name")
def tensor_without_a_name(place: Place) -> Path:
    return saved(place, kernel(), kernel(name=""))


# Messages


def field(number: int, content: bytes) -> bytes:
    """A message field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def _nested(levels: int) -> bytes:
    """Graphs inside the nodes of graphs."""
    graph = b""
    for _ in range(levels):
        attribute = field(1, b"body") + field(6, graph) + b"\xa0\x01\x05"
        graph = field(1, field(4, b"Loop") + field(5, attribute))
    return graph


def _message(content: bytes, place: Place) -> Path:
    path = place.folder / "model.onnx"
    path.write_bytes(b"\x08\x09" + content)
    return path


_HONEST_GRAPH = model(kernel()).graph.SerializeToString()
MESSAGES: dict[str, tuple[bytes, str]] = {
    "graphs nested a thousand deep": (field(7, _nested(1000)), "nested more than 32 deep"),
    "types nested ten thousand deep": (
        field(7, _HONEST_GRAPH + field(11, field(1, b"x") + field(2, b"".join(b"\x22" + b"\xff\xff\x7f\x0a" for _ in range(10))))),
        "damaged",
    ),
    "two graphs": (field(7, _HONEST_GRAPH) + field(7, b""), "has 2"),
    "an input of sixty thousand dimensions": (
        field(7, _HONEST_GRAPH + field(11, field(1, b"i") + field(2, field(1, b"\x08\x01" + field(2, b"\x0a\x00" * 60_000))))),
        "",
    ),
    "a group that is never closed": (field(7, _HONEST_GRAPH) + b"\x0b", "wire type"),
    "a number that does not end": (field(7, _HONEST_GRAPH) + b"\x28" + b"\xff" * 11, "does not end"),
    "a length of exabytes": (field(7, _HONEST_GRAPH) + b"\x12" + b"\xff" * 9 + b"\x01", "does not fit into its message"),
    "field zero": (field(7, _HONEST_GRAPH) + b"\x02\x00", "does not fit into its message"),
    "a graph that is a number": (field(7, _HONEST_GRAPH) + b"\x38\x01", "of the wrong type"),
    "names that are no text": (field(7, _HONEST_GRAPH + field(12, field(1, b"\xff\xfe"))), "no UTF-8 text"),
    "sixty thousand empty nodes": (field(7, _HONEST_GRAPH + b"\x0a\x00" * 60_000), "more nodes, attributes and tensors"),
    "sixty thousand empty tensors": (field(7, _HONEST_GRAPH + b"\x2a\x00" * 60_000), "has no name"),
    "sixty thousand empty outputs": (field(7, _HONEST_GRAPH + b"\x62\x00" * 60_000), "more nodes, attributes and tensors"),
    "sixty thousand empty entries of metadata": (field(7, _HONEST_GRAPH) + b"\x72\x00" * 60_000, "more nodes, attributes and tensors"),
    "sixty thousand empty functions": (field(7, _HONEST_GRAPH) + b"\xca\x01\x00" * 60_000, "more nodes, attributes and tensors"),
    "sixty thousand attributes": (
        field(7, _HONEST_GRAPH + field(1, field(4, b"Relu") + b"\x2a\x00" * 60_000)), "more nodes, attributes and tensors"
    ),
    "sixty thousand unknown fields": (field(7, _HONEST_GRAPH + b"\xa0\x06\x01" * 60_000), "not a checkpoint that weightport knows"),
    "a tensor in twenty thousand pieces": (
        field(7, field(5, field(8, b"kernel") + b"\x10\x06" + b"\x28\x01" * 20_000)), "pieces"
    ),
    "nodes that all use all": (
        field(7, _HONEST_GRAPH + field(1, field(4, b"Sum") + b"".join(field(1, b"x") for _ in range(60_000)))), "more nodes, attributes"
    ),
}  # fmt: skip
for _title, (_content, _words) in MESSAGES.items():
    attack(_words, _title)(partial(_message, _content))


@attack("", "a model that is also a secret's reader")
def operators_that_read_files(place: Place) -> Path:
    """Operators of the attacker's own: nothing of a graph is ever run."""
    made = model(kernel())
    made.graph.node.add(op_type="ReadFile", domain="ai.onnx.contrib", input=["x"], output=["z"], name="read")
    made.graph.node[-1].attribute.append(helper.make_attribute("filename", str(place.secret)))
    return save(made, place.folder / "model.onnx")

"""The ONNX format refuses files that are damaged, ambiguous or unsafe, in one readable line."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_models import (
    external,
    graph_model,
    rich_model,
    same_bits,
    save,
    values,
    varint,
)
from weightport.errors import CheckpointError
from weightport.formats import onnx as fmt


def bad_location(folder: Path, trick: str) -> dict[str, str]:
    """External data entries that lead out of the model's folder, or to something that is no plain file."""
    outside = folder.parent / "secret.bin"
    outside.write_bytes(bytes(16))
    (folder / "good.bin").write_bytes(bytes(32))
    if trick == "symlink":
        (folder / "link").symlink_to(outside)
    elif trick == "symlinked folder":
        (folder / "link").symlink_to(folder.parent)
    elif trick == "hard link":
        os.link(outside, folder / "link")
    elif trick == "directory":
        (folder / "link").mkdir()
    locations = {
        "climbs": "../secret.bin",
        "climbs later": "sub/../../secret.bin",
        "absolute": str(outside),
        "drive": "C:secret.bin",
        "backslash": "..\\secret.bin",
        "NUL": "good.bin\0x",
        "empty": "",
        "dot": ".",
        "symlink": "link",
        "symlinked folder": "link/secret.bin",
        "hard link": "link",
        "directory": "link",
        "device": "/dev/zero",
        "missing": "none.bin",
        "too long a name": "x" * 5000,
        "a surrogate": "good.bin/",
    }
    return {"location": locations[trick]}


@pytest.mark.parametrize(
    ("trick", "reason"),
    [
        ("climbs", "no plain path inside the model's folder"),
        ("climbs later", "no plain path inside the model's folder"),
        ("absolute", "no plain path inside the model's folder"),
        ("drive", "no plain path inside the model's folder"),
        ("backslash", "no plain path inside the model's folder"),
        ("NUL", "no plain path inside the model's folder"),
        ("empty", "no plain path inside the model's folder"),
        ("dot", "no plain path inside the model's folder"),
        ("a surrogate", "no plain path inside the model's folder"),
        ("device", "no plain path inside the model's folder"),
        ("symlink", "goes through the link 'link'"),
        ("symlinked folder", "goes through the link 'link'"),
        ("hard link", "is a hard link"),
        ("directory", "is no plain file"),
        ("missing", "put that file beside the model"),
        ("too long a name", "cannot be read"),
    ],
)
def test_external_data_never_leads_outside(trick: str, reason: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = save(graph_model([external("t", 2, 2, **bad_location(folder, trick))]), folder / "m.onnx")
    with pytest.raises(CheckpointError, match=reason) as error:
        fmt.read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"offset": "20"}, "ends at byte 36"),
        ({"offset": "9223372036854775807"}, "it is cut short"),
        ({"offset": "-4"}, "'-4', which is no byte count"),
        ({"offset": "1_0"}, "which is no byte count"),
        ({"offset": "\u0661"}, "which is no byte count"),
        ({"offset": ""}, "which is no byte count"),
        ({"length": "15"}, "has 15 bytes where its shape asks for 16"),
        ({"length": "17"}, "has 17 bytes where its shape asks for 16"),
        ({"length": "-16"}, "which is no byte count"),
    ],
)
def test_external_ranges_are_inside_the_file(entries: dict[str, str], reason: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(32))
    path = save(graph_model([external("t", 2, 2, location="w.bin", **entries)]), tmp_path / "m.onnx")
    with pytest.raises(CheckpointError, match=reason):
        fmt.read(path)


def test_external_data_is_checked_again_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(values(2, 2).tobytes())
    tensor = fmt.read(save(graph_model([external("t", 2, 2, location="w.bin")]), tmp_path / "m.onnx")).tensors["t"]
    assert same_bits(np.array(tensor.read()), values(2, 2))
    (tmp_path / "w.bin").unlink()
    (tmp_path / "other.bin").write_bytes(bytes(16))
    (tmp_path / "w.bin").symlink_to(tmp_path / "other.bin")
    with pytest.raises(CheckpointError, match="goes through the link"):
        tensor.read()


def changed(**fields: Any) -> TensorProto:
    tensor = numpy_helper.from_array(values(2, 2), "t")
    for name, value in fields.items():
        if isinstance(value, list):
            del getattr(tensor, name)[:]
            getattr(tensor, name).extend(value)
        elif value is None:
            tensor.ClearField(name)
        else:
            setattr(tensor, name, value)
    return tensor


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (changed(dims=[-4]), r"impossible shape \[-4\]"),
        (changed(dims=[-2, -2]), "impossible shape"),
        (changed(dims=[1 << 40, 1 << 40]), "impossible shape"),
        (changed(dims=[0, 1 << 62], raw_data=b""), "impossible shape"),
        (changed(dims=[2, 3]), "has 16 bytes of values where its shape asks for 24"),
        (changed(dims=[4], data_type=TensorProto.DOUBLE), "where its shape asks for 32"),
        (changed(dims=[1] * 65), "more than 64 dimensions"),
        (changed(raw_data=bytes(17)), "has 17 bytes"),
        (changed(raw_data=None), "has 0 bytes"),
        (changed(float_data=[1.0, 2.0, 3.0, 4.0]), "has its values in two places"),
        (changed(raw_data=None, int32_data=[1, 2, 3, 4]), "has its values in field 5"),
        (changed(data_type=0), "data type 0"),
        (changed(data_type=99), "data type 99"),
        (changed(name=""), "has no name"),
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused(tensor: TensorProto, reason: str, tmp_path: Path) -> None:
    path = save(graph_model([tensor], [helper.make_node("Relu", ["t"], ["t_out"])]), tmp_path / "m.onnx")
    with pytest.raises(CheckpointError, match=reason):
        fmt.read(path)


@pytest.mark.parametrize(
    ("data_type", "field", "numbers", "reason"),
    [
        (TensorProto.INT64, "int64_data", [1, 2, 300], "has 3 values where its shape asks for 4"),
        (TensorProto.INT64, "int64_data", [1, 2, 3, 4, 5], "has 5 values where its shape asks for 4"),
        (TensorProto.INT8, "int32_data", [1, 2, 3, 256], "no int8"),
        (TensorProto.FLOAT16, "int32_data", [1, 2, 3, 1 << 16], "no float16"),
        (TensorProto.UINT32, "uint64_data", [1, 2, 3, 1 << 32], "no uint32"),
        (TensorProto.INT4, "int32_data", [1, 2, 3], "has 3 values where its shape asks for 2"),
    ],
)
def test_typed_values_are_checked_when_they_are_read(
    data_type: int, field: str, numbers: list[int], reason: str, tmp_path: Path
) -> None:
    tensor = TensorProto(name="t", dims=[4], data_type=data_type)
    getattr(tensor, field).extend(numbers)
    contents = fmt.read(save(graph_model([tensor]), tmp_path / "m.onnx"))
    with pytest.raises(CheckpointError, match=reason):
        contents.tensors["t"].read()


TWICE = b"\x08\x04\x10\x01\x42\x01t\x4a\x10" + bytes(16)  # dims, data type, name and values of a float32[4]


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (TWICE + b"\x4a\x10" + bytes(16), "says something twice"),
        (TWICE + b"\x10\x0b", "says something twice"),
        (TWICE + b"\x1a\x04\x08\x00\x10\x04", "a segment"),
        (TWICE + b"\x48\x05", "field 9 is of the wrong type"),
        (TWICE + b"\x0d\x04\x00\x00\x00", "field 1 is of the wrong type"),
        (TWICE + b"\x0b", "no field has the wire type 3"),
        (TWICE + b"\x02\x00", "field 0 does not fit"),
        (TWICE + b"\xf2\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a number does not end"),
        (b"\x08\x04\x10\x01\x42\x02\xff\xfe\x4a\x10" + bytes(16), "no UTF-8"),
    ],
)
def test_bytes_that_readers_take_differently_are_refused(tensor: bytes, reason: str, tmp_path: Path) -> None:
    graph = b"\x2a" + varint(len(tensor)) + tensor
    (tmp_path / "m.onnx").write_bytes(b"\x08\x09\x3a" + varint(len(graph)) + graph)
    with pytest.raises(CheckpointError, match=reason):
        fmt.read(tmp_path / "m.onnx")


def test_external_data_that_is_in_two_places_is_refused(tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_bytes(bytes(16))
    tensor = external("t", 2, 2, location="a.bin")
    tensor.external_data.add(key="location", value="b.bin")
    with pytest.raises(CheckpointError, match="says twice where its external data is"):
        fmt.read(save(graph_model([tensor]), tmp_path / "m.onnx"))


def test_an_attribute_with_two_values_is_refused(tmp_path: Path) -> None:
    value = numpy_helper.from_array(values(2)).SerializeToString()
    attribute = b"\x0a\x05value" + 2 * (b"\x2a" + varint(len(value)) + value)
    node = b"\x12\x01c\x22\x08Constant\x2a" + varint(len(attribute)) + attribute
    graph = b"\x0a" + varint(len(node)) + node
    (tmp_path / "m.onnx").write_bytes(b"\x08\x09\x3a" + varint(len(graph)) + graph)
    with pytest.raises(CheckpointError, match="attribute 'value' of 'Constant_0' has two values"):
        fmt.read(tmp_path / "m.onnx")


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    model = graph_model([numpy_helper.from_array(values(2), "t"), numpy_helper.from_array(values(3), "t")])
    with pytest.raises(CheckpointError, match="two tensors are named 't'"):
        fmt.read(save(model, tmp_path / "m.onnx"))


def test_a_second_graph_is_refused_because_readers_merge_the_two(tmp_path: Path) -> None:
    model = graph_model([numpy_helper.from_array(values(2), "t")])
    graph = model.graph.SerializeToString().replace(b"t", b"u")
    path = save(model, tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes() + b"\x3a" + varint(len(graph)) + graph)
    assert len(onnx.load(path).graph.initializer) == 2
    with pytest.raises(CheckpointError, match="this file has 2"):
        fmt.read(path)


def test_graphs_nested_without_end_are_refused(tmp_path: Path) -> None:
    graph = b""
    for _ in range(200):
        attribute = b"\x0a\x01g\x32" + varint(len(graph)) + graph
        node = b"\x2a" + varint(len(attribute)) + attribute
        graph = b"\x0a" + varint(len(node)) + node
    (tmp_path / "m.onnx").write_bytes(b"\x08\x09\x3a" + varint(len(graph)) + graph)
    with pytest.raises(CheckpointError, match="nested more than 32 deep"):
        fmt.read(tmp_path / "m.onnx")


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    model = rich_model()
    whole = model.SerializeToString()
    path = tmp_path / "m.onnx"
    boundaries = []
    for end in range(1, len(whole)):
        path.write_bytes(whole[:end])
        try:
            fmt.read(path)
            boundaries.append(end)
        except CheckpointError as error:
            assert str(path) in str(error)
            assert "\n" not in str(error)
        if end > 20:
            assert fmt.recognises(path, b"")
    # Only between the fields that follow the graph: opsets, metadata, functions.
    assert len(boundaries) == 3 and min(boundaries) > len(model.graph.SerializeToString())


def test_only_readable_errors_leave_the_reader(tmp_path: Path) -> None:
    model = rich_model()
    whole = model.SerializeToString()
    generator = random.Random(11)
    path = tmp_path / "m.onnx"
    outcomes = {"read": 0, "refused": 0}
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        mutant = bytearray(whole)
        for _ in range(generator.randint(1, 3)):
            at = generator.randrange(len(mutant))
            mutant[at : at + generator.randint(0, 2)] = generator.randbytes(generator.randint(0, 2))
        path.write_bytes(mutant)
        fmt.recognises(path, mutant[:64])
        try:
            for tensor in fmt.read(path).tensors.values():
                tensor.read()
            outcomes["read"] += 1
        except CheckpointError:
            outcomes["refused"] += 1
    assert all(outcomes.values()), outcomes

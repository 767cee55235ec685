"""The ONNX format reads what the onnx package reads, and knows its files by their content."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_models import (
    DTYPES,
    any_values,
    graph_model,
    read_all,
    rich_model,
    same_bits,
    save,
    values,
    varint,
)
from weightport.formats import onnx as fmt
from weightport.formats._onnx_values import elements
from weightport.formats._stored import FileArray


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize("data_type", DTYPES)
def test_every_data_type_reads_as_onnx_reads_it(data_type: int, raw: bool, tmp_path: Path) -> None:
    array = any_values(data_type, 3, 7)
    tensor = numpy_helper.from_array(array, "t")
    if not raw:
        typed = helper.tensor_dtype_to_field(data_type)
        numbers = array.astype(helper.tensor_dtype_to_np_dtype(data_type))
        tensor = TensorProto(name="t", dims=array.shape, data_type=data_type)
        getattr(tensor, typed).extend(typed_values(numbers, data_type))
    assert tensor.HasField("raw_data") == raw
    found = fmt.read(save(graph_model([tensor]), tmp_path / "m.onnx")).tensors["t"].read()
    assert same_bits(np.array(found), numpy_helper.to_array(tensor))
    assert same_bits(np.array(found), array)


def typed_values(array: np.ndarray[Any, Any], data_type: int) -> list[Any]:
    """What the typed field of a TensorProto holds for these values (onnx/onnx.proto, TensorProto)."""
    element = elements()[data_type]
    if array.dtype.kind == "c":
        return list(array.view(f"f{array.itemsize // 2}").reshape(-1).tolist())
    if element.bits in (2, 4):
        return list(numpy_helper.from_array(array).raw_data)
    if array.dtype.isbuiltin == 1 and data_type not in (TensorProto.FLOAT16, TensorProto.BOOL):
        return list(array.reshape(-1).tolist())
    return list(array.reshape(-1).view(f"u{array.itemsize}").tolist())


def test_the_table_of_data_types_is_that_of_onnx() -> None:
    assert {number: element.dtype for number, element in elements().items()} == {
        number: helper.tensor_dtype_to_np_dtype(number) for number in DTYPES
    }


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (2, 3, 4, 5)])
def test_every_shape_reads(shape: tuple[int, ...], tmp_path: Path) -> None:
    array = values(*shape)
    found = read_all(save(graph_model([numpy_helper.from_array(array, "t")]), tmp_path / "m.onnx"))["t"]
    assert same_bits(found, array)


def test_values_that_stand_alone_read_like_packed_ones(tmp_path: Path) -> None:
    """A protobuf reader has to accept ``repeated`` numbers one by one, too."""
    numbers = [1, 300, 2**40]
    tensor = b"\x08\x03\x10\x07" + b"".join(b"\x38" + varint(number) for number in numbers) + b"\x42\x01t"
    floats = b"\x0a\x01\x02\x10\x01" + b"".join(b"\x25" + struct.pack("<f", x) for x in (1.5, -2.5)) + b"\x42\x01f"
    graph = b"".join(b"\x2a" + varint(len(part)) + part for part in (tensor, floats))
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x09\x3a" + varint(len(graph)) + graph)
    assert {i.name: numpy_helper.to_array(i).tolist() for i in onnx.load(path).graph.initializer} == {
        "t": numbers,
        "f": [1.5, -2.5],
    }
    assert {name: array.tolist() for name, array in read_all(path).items()} == {"t": numbers, "f": [1.5, -2.5]}


def test_tensors_are_found_wherever_they_are(tmp_path: Path) -> None:
    model = rich_model()
    contents = fmt.read(save(model, tmp_path / "m.onnx"))
    inner = {f"choice.{branch}/{name}" for branch in ("then_branch", "else_branch") for name in ("c", "inner")}
    names = {"W", "R", "half", "steps", "nibbles", "k", "W_again", "Shift/s"} | inner
    assert set(contents.tensors) == names
    assert same_bits(np.array(contents.tensors["choice.then_branch/inner"].read()), values(2, 2, seed=2))
    assert same_bits(np.array(contents.tensors["choice.else_branch/c"].read()), values(2, 2, seed=1))
    assert same_bits(np.array(contents.tensors["Shift/s"].read()), values(2, seed=3))
    assert contents.metadata == {"author": "a test"}
    assert (contents.origin, contents.format, contents.framework, contents.ordered) == (
        str(tmp_path / "m.onnx"),
        "onnx",
        "onnx",
        True,
    )


def test_the_description_has_the_graph(tmp_path: Path) -> None:
    model = rich_model()
    model.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["time", 3, None]))
    model.graph.node.append(helper.make_node("HardSigmoid", ["x"], ["h_out"], alpha=0.001, name="h"))
    description = fmt.read(save(model, tmp_path / "m.onnx")).description
    assert description["inputs"] == [{"name": "x", "dtype": TensorProto.FLOAT, "shape": ["time", 3, None]}]
    assert (description["ir_version"], description["opsets"]) == (9, {"": 18})
    by_op = {node["op"]: node for node in description["nodes"]}
    assert by_op["LSTM"] == {
        "op": "LSTM",
        "domain": "",
        "name": "/lstm/LSTM",
        "inputs": ["x", "W", "R"],
        "outputs": ["Y"],
        "attributes": {"hidden_size": 3},
    }
    assert by_op["HardSigmoid"]["attributes"] == {"alpha": 0.001}
    assert by_op["Constant"]["attributes"] == {"value": {"tensor": "k"}}
    assert by_op["If"]["attributes"]["then_branch"] == {"uses": []}
    assert description["aliases"] == {"W_again": "W"}


def test_values_stay_in_the_file_until_they_are_read(tmp_path: Path) -> None:
    tensors = [
        numpy_helper.from_array(values(200, 200), "raw"),
        helper.make_tensor("typed", TensorProto.FLOAT, (200, 200), values(200, 200)),
    ]
    contents = fmt.read(save(graph_model(tensors), tmp_path / "m.onnx"))
    for name in ("raw", "typed"):
        assert isinstance(contents.tensors[name].locate(), FileArray)
        array = contents.tensors[name].read()
        assert not array.flags.writeable
        np.testing.assert_array_equal(array, values(200, 200))


@pytest.mark.parametrize("one_file", [True, False])
def test_external_data_saved_by_onnx_reads(one_file: bool, tmp_path: Path) -> None:
    arrays = {"a": values(3, 5), "b": values(7), "c": values(4, 4)}
    model = graph_model([numpy_helper.from_array(array, name) for name, array in arrays.items()])
    path = tmp_path / "m.onnx"
    onnx.save_model(
        model, path, save_as_external_data=True, all_tensors_to_one_file=one_file, location="w.bin", size_threshold=0
    )
    assert path.stat().st_size < 700
    found = read_all(path)
    assert all(same_bits(found[name], array) for name, array in arrays.items())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello, world\n" * 20,
        b"PK\x03\x04" + bytes(60),
        b"\x89HDF\r\n\x1a\n" + bytes(60),
        struct.pack("<Q", 100) + b'{"t":{"dtype":"F32"}}'.ljust(100) + bytes(16),
        b"\x08\x01\x12\x04abcd",  # a SavedModel: field 1 a number, field 2 a message, no graph
        b"\x08\x05\x12\x02\x0a\x00\xa2\x1f\x02\x0a\x00",  # a Core ML model
        b"\x0a\x04\x0a\x02ab",  # a GraphDef: field 1 a message
        b"\x08\x05\xa2\x1f\x02\x0a\x00\x3a\x02\x0a\x00",  # with a field before the graph that no model has
        b"\x08\x05\x3a\x04\x9a\x06\x01a",  # with a field in the graph that no graph has
        b"\x08\x05\x38\x01",  # with a number for a graph
        random.Random(3).randbytes(4096),
        bytes(4096),
    ],
)
def test_other_files_are_not_recognised(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert not fmt.recognises(path, content[:64])


@pytest.mark.parametrize(("head", "at_most"), [(b"", 0), (b"\x08\x08", 5)], ids=["any", "as if with a version"])
def test_random_bytes_are_not_recognised(head: bytes, at_most: int, tmp_path: Path) -> None:
    generator = random.Random(5)
    path = tmp_path / "m.bin"
    recognised = 0
    for _ in range(500):
        path.write_bytes(head + generator.randbytes(200))
        recognised += fmt.recognises(path, b"")
    assert recognised <= at_most


def test_an_onnx_file_is_recognised_by_its_content(tmp_path: Path) -> None:
    model = rich_model()
    path = save(model, tmp_path / "model.bin")
    assert fmt.recognises(path, path.read_bytes()[:64])

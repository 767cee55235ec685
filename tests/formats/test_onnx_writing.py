"""The ONNX format writes what onnx accepts and onnxruntime runs, in the graph of a template."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_models import (
    DTYPES,
    any_values,
    external,
    graph_model,
    lazy,
    read_all,
    rich_model,
    run,
    same_bits,
    save,
    values,
)
from weightport.checkpoint import Contents
from weightport.errors import CheckpointError, RefusedError
from weightport.formats import _onnx_write
from weightport.formats import onnx as fmt


@dataclass
class Template:
    """A template with an inline, a typed and a Constant tensor, that onnxruntime can run: y = (x A + b) * c."""

    path: Path

    def contents(self) -> Contents:
        return fmt.read(self.path)

    def write(self, path: Path, tensors: dict[str, np.ndarray[Any, Any]], **metadata: str) -> Path:
        outputs = [lazy(name, array) for name, array in tensors.items()]
        fmt.write(path, outputs, template=self.contents(), metadata=metadata)
        return path


@pytest.fixture
def template(tmp_path: Path) -> Template:
    tensors = [
        numpy_helper.from_array(values(3, 3, seed=1), "A"),
        helper.make_tensor("b", TensorProto.FLOAT, (3,), values(3, seed=2)),
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "A", "b"], ["h"]),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(values(3, seed=3)), name="scale"),
        helper.make_node("Mul", ["h", "c"], ["y_out"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])]
    model = graph_model(tensors, nodes, inputs=inputs, output_shape=[None, 3], doc_string="kept")
    model.graph.initializer[0].doc_string = "kept too"
    helper.set_model_props(model, {"author": "a test", "weightport": "old"})
    return Template(save(model, tmp_path / "template.onnx"))


NEW = {"A": values(3, 3, seed=7), "b": values(3, seed=8), "c": values(3, seed=9)}


def test_tensors_are_replaced_in_place(template: Template, tmp_path: Path) -> None:
    path = template.write(tmp_path / "out.onnx", NEW)
    onnx.checker.check_model(str(path), full_check=True)
    assert all(same_bits(array, NEW[name]) for name, array in read_all(path).items())
    x = values(4, 3)
    np.testing.assert_allclose(run(path, x), (x @ NEW["A"] + NEW["b"]) * NEW["c"], rtol=1e-5, atol=1e-6)
    model = onnx.load(path)
    assert (model.doc_string, model.graph.initializer[0].doc_string) == ("kept", "kept too")
    assert [node.name for node in model.graph.node] == ["", "scale", ""]


def test_what_is_not_named_is_carried_over(template: Template, tmp_path: Path) -> None:
    path = template.write(tmp_path / "out.onnx", {"b": NEW["b"]})
    found = read_all(path)
    assert same_bits(found["b"], NEW["b"])
    assert same_bits(found["A"], values(3, 3, seed=1)) and same_bits(found["c"], values(3, seed=3))


def test_nothing_new_is_the_same_file(template: Template, tmp_path: Path) -> None:
    assert template.write(tmp_path / "out.onnx", {}).read_bytes() == template.path.read_bytes()


def test_the_same_weights_are_the_same_bytes(template: Template, tmp_path: Path) -> None:
    one, two = (template.write(tmp_path / f"{name}.onnx", NEW, note="x").read_bytes() for name in "ab")
    assert one == two


def test_metadata_is_merged(template: Template, tmp_path: Path) -> None:
    path = template.write(tmp_path / "out.onnx", NEW, weightport="new", more="text")
    assert {e.key: e.value for e in onnx.load(path).metadata_props} == {
        "author": "a test",
        "weightport": "new",
        "more": "text",
    }
    assert len(onnx.load(path).metadata_props) == 3


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"d": values(3)}, "the graph has no tensor 'd'"),
        ({"A": values(3, 4)}, r"'A' is \[3, 4\], and the graph has \[3, 3\] there"),
        ({"A": values(3, 3).astype(np.float16)}, "computes with float32 there; --dtype float32 converts it"),
    ],
)
def test_what_the_graph_has_no_place_for_is_refused(
    tensors: dict[str, np.ndarray[Any, Any]], reason: str, template: Template, tmp_path: Path
) -> None:
    with pytest.raises(RefusedError, match=reason):
        template.write(tmp_path / "out.onnx", tensors)
    assert not (tmp_path / "out.onnx").exists()


def test_there_is_no_writing_without_a_graph(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="needs a graph to put weights into; give one with --into TEMPLATE"):
        fmt.write(tmp_path / "out.onnx", [lazy("A", NEW["A"])], template=None, metadata={})


def test_external_data_stays_external_in_one_file(template: Template, tmp_path: Path) -> None:
    arrays = {"b": values(41), "A": values(41, 41), "C": values(41, 41, seed=1)}
    initializers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    nodes = [helper.make_node("Sum", ["A", "b", "C"], ["y_out"])]
    model = graph_model([*initializers, numpy_helper.from_array(values(5), "inline")], nodes, output_shape=[41, 41])
    source = tmp_path / "source.onnx"
    onnx.save_model(model, source, save_as_external_data=True, all_tensors_to_one_file=False, size_threshold=100)
    model = onnx.load(source, load_external_data=False)
    model.graph.initializer.append(external("empty", 0, location="A"))
    save(model, source)
    out = tmp_path / "sub"
    out.mkdir()
    new = values(41, 41, seed=4)
    fmt.write(out / "m.onnx", [lazy("A", new)], template=fmt.read(source), metadata={})
    assert sorted(path.name for path in out.iterdir()) == ["m.onnx", "m.onnx.data"]
    onnx.checker.check_model(str(out / "m.onnx"), full_check=True)
    loaded = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(out / "m.onnx").graph.initializer}
    assert same_bits(loaded["A"], new)
    assert all(same_bits(loaded[name], arrays[name]) for name in ("b", "C")) and loaded["empty"].shape == (0,)
    assert same_bits(loaded["inline"], values(5))
    tensors = {tensor.name: tensor for tensor in onnx.load(out / "m.onnx", load_external_data=False).graph.initializer}
    outside = {name for name, tensor in tensors.items() if tensor.data_location == TensorProto.EXTERNAL}
    assert outside == {"A", "b", "C"}
    for name in outside:
        entries = {entry.key: entry.value for entry in tensors[name].external_data}
        assert entries["location"] == "m.onnx.data"
        assert int(entries["offset"]) % (4096 if arrays[name].nbytes >= 4096 else 64) == 0


def test_too_much_for_one_message_goes_outside(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = {"A": values(40, 40), "c": values(30, 40)}
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(large["c"])),
        helper.make_node("MatMul", ["x", "A"], ["h"]),
        helper.make_node("MatMul", ["c", "h"], ["y_out"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [40, 40])]
    template = Template(
        save(
            graph_model([numpy_helper.from_array(large["A"], "A")], nodes, inputs=inputs, output_shape=[30, 40]),
            tmp_path / "t.onnx",
        )
    )
    monkeypatch.setattr(_onnx_write, "INLINE_LIMIT", 8000)
    path = template.write(tmp_path / "out.onnx", {"A": large["A"] + 1})
    assert path.stat().st_size < 1000
    onnx.checker.check_model(str(path), full_check=True)
    assert same_bits(read_all(path)["A"], large["A"] + 1) and same_bits(read_all(path)["c"], large["c"])
    x = values(40, 40, seed=5)
    np.testing.assert_allclose(run(path, x), large["c"] @ (x @ (large["A"] + 1)), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("data_type", DTYPES)
def test_every_data_type_is_written_as_onnx_reads_it(data_type: int, tmp_path: Path) -> None:
    array, old = any_values(data_type, 3, 7), np.zeros((3, 7), helper.tensor_dtype_to_np_dtype(data_type))
    template = Template(save(graph_model([numpy_helper.from_array(old, "t")]), tmp_path / "t.onnx"))
    path = template.write(tmp_path / "out.onnx", {"t": array})
    assert same_bits(numpy_helper.to_array(onnx.load(path).graph.initializer[0]), array)


@pytest.mark.parametrize("ir_version", [3, 9])
@pytest.mark.parametrize(
    "new", [{"ones": NEW["b"]}, {"var": NEW["b"]}, {"third": NEW["b"]}, {"ones": NEW["b"], "var": NEW["c"]}]
)
def test_equal_tensors_that_were_merged_come_apart(new: dict[str, Any], ir_version: int, tmp_path: Path) -> None:
    """Exporters store equal tensors once and reach the others through Identity nodes."""
    nodes = [
        helper.make_node("Identity", ["ones"], ["var"]),
        helper.make_node("Identity", ["var"], ["third"]),
        helper.make_node("Mul", ["x", "ones"], ["h"]),
        helper.make_node("Add", ["h", "var"], ["i"]),
        helper.make_node("Sub", ["i", "third"], ["y_out"]),
    ]
    names = ["x", "ones"] if ir_version == 3 else ["x"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in names]
    ones = numpy_helper.from_array(np.ones(3, np.float32), "ones")
    model = graph_model([ones], nodes, inputs=inputs, output_shape=[3], ir_version=ir_version)
    template = Template(save(model, tmp_path / "t.onnx"))
    assert list(template.contents().tensors) == ["ones", "var", "third"]
    path = template.write(tmp_path / "out.onnx", new)
    onnx.checker.check_model(str(path), full_check=True)
    expected = {**dict.fromkeys(("ones", "var", "third"), np.ones(3, np.float32)), **new}
    found = read_all(path)
    assert all(same_bits(found[name], array) for name, array in expected.items())
    x = values(3)
    y = x * expected["ones"] + expected["var"] - expected["third"]
    np.testing.assert_allclose(run(path, x), y, rtol=1e-5, atol=1e-6)


def test_one_tensor_in_two_places_takes_equal_values_only(template: Template, tmp_path: Path) -> None:
    def write(name: str, second: np.ndarray[Any, Any]) -> Path:
        path = tmp_path / name
        fmt.write(path, [lazy("A", NEW["A"]), lazy("A", second)], template=template.contents(), metadata={})
        return path

    assert same_bits(read_all(write("same.onnx", NEW["A"].copy()))["A"], NEW["A"])
    with pytest.raises(RefusedError, match="one tensor, 'A', in 2 places"):
        write("differs.onnx", NEW["A"] + 1)


def test_tensors_of_inner_graphs_are_replaced_too(tmp_path: Path) -> None:
    model = rich_model()
    template = Template(save(model, tmp_path / "t.onnx"))
    new = {"choice.else_branch/inner": values(2, 2, seed=20), "Shift/s": values(2, seed=21)}
    before, after = read_all(template.path), read_all(template.write(tmp_path / "out.onnx", new))
    assert all(same_bits(after[name], new.get(name, before[name])) for name in before)
    strings = [t.string_data for t in onnx.load(tmp_path / "out.onnx").graph.initializer if t.name == "text"]
    assert list(strings[0]) == [b"not a weight"]


def test_a_model_in_memory_reads_and_takes_weights(template: Template) -> None:
    model = onnx.load(template.path)
    contents = fmt.read_model(model)
    assert (contents.origin, contents.format) == ("live ModelProto", "live")
    assert same_bits(np.array(contents.tensors["b"].read()), values(3, seed=2))
    fmt.write_model(model, [lazy(name, array) for name, array in NEW.items()])
    onnx.checker.check_model(model, full_check=True)
    assert same_bits(numpy_helper.to_array(model.graph.initializer[0]), NEW["A"])
    assert same_bits(numpy_helper.to_array(model.graph.node[1].attribute[0].t), NEW["c"])


def test_a_model_in_memory_has_no_external_data() -> None:
    model = graph_model([external("t", 2, 2, location="w.bin")])
    with pytest.raises(CheckpointError, match=r"load them with onnx\.load_external_data_for_model first"):
        fmt.read_model(model)

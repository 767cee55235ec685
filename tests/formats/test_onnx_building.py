"""Models that are built: the graph as it is, and each weight written on its own, in the model or beside it."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_models import values
from torch_files import stored
from weightport.formats import _onnx_build
from weightport.formats import onnx as fmt
from weightport.formats._onnx_build import write_built

WEIGHTS = {"w": values(3, 400), "b": values(400), "h": values(400).astype(ml_dtypes.bfloat16)}


def graph() -> bytes:
    """A model that takes the weights, and has none of them."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["sum"]),
        helper.make_node("Cast", ["h"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Sum", ["sum", "wide", "constant"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, size]) for name, size in (("x", 3), ("y", 400))]
    constant = numpy_helper.from_array(values(400), "constant")
    made = helper.make_graph(nodes, "built", ends[:1], ends[1:], [constant])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], producer_name="test")
    helper.set_model_props(model, {"key": "text"})
    return model.SerializeToString()


def built(path: Path) -> Path:
    write_built(path, graph(), {name: stored(array, "other name") for name, array in WEIGHTS.items()})
    return path


def check(path: Path) -> None:
    """The model is whole, and has the weights and all that it had before."""
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(path)
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert set(found) == {*WEIGHTS, "constant"}
    ours = fmt.read(path).tensors
    for name, array in WEIGHTS.items():
        assert ours[name].read().tobytes() == array.tobytes()
        assert found[name].tobytes() == array.tobytes()
    before = onnx.ModelProto.FromString(graph())
    model.graph.ClearField("initializer")
    before.graph.ClearField("initializer")
    assert model == before


@pytest.mark.parametrize("room", [0, -1])
def test_weights_stay_in_the_model_up_to_the_limit_and_go_beside_it_beyond(room: int, tmp_path: Path, monkeypatch):
    size = len(graph()) + sum(array.nbytes for array in WEIGHTS.values())
    monkeypatch.setattr(_onnx_build, "INLINE_LIMIT", size + room)
    check(built(tmp_path / "m.onnx"))
    assert [path.name for path in tmp_path.glob("*.data")] == ([] if room == 0 else ["m.onnx.data"])


def test_weights_beside_the_model_begin_at_pages_or_cache_lines_and_small_ones_stay_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr(_onnx_build, "INLINE_LIMIT", 0)
    monkeypatch.setattr(_onnx_build, "SMALL_TENSOR", 1000)
    check(built(tmp_path / "m.onnx"))
    model = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    places = {
        tensor.name: {entry.key: int(entry.value) for entry in tensor.external_data if entry.key != "location"}
        for tensor in model.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
    }
    assert places == {"w": {"offset": 0, "length": 4800}, "b": {"offset": 4800, "length": 1600}}


def test_two_times_the_same_model_are_the_same_bytes(tmp_path: Path) -> None:
    assert built(tmp_path / "a.onnx").read_bytes() == built(tmp_path / "b.onnx").read_bytes()

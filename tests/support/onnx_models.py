"""ONNX models for tests, made with the onnx package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import weightport as wp
from weightport.checkpoint import Layer, LazyTensor, Structure
from weightport.formats import onnx as fmt
from weightport.formats._onnx_values import elements

TIME, BATCH, IN, HIDDEN = 5, 3, 4, 6
DTYPES = [number for name, number in TensorProto.DataType.items() if name not in ("UNDEFINED", "STRING")]


def values(*shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


def any_values(data_type: int, *shape: int) -> np.ndarray[Any, Any]:
    """Values of any data type, every bit of which matters."""
    dtype = helper.tensor_dtype_to_np_dtype(data_type)
    bits = np.random.default_rng(data_type).integers(0, 256, (*shape, dtype.itemsize), dtype=np.uint8)
    if data_type == TensorProto.BOOL:
        return bits[..., 0] > 127
    bits &= np.uint8((1 << min(8, elements()[data_type].bits)) - 1)
    return bits.view(dtype)[..., 0]


def same_bits(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def graph_model(
    initializers: list[TensorProto], nodes: list[onnx.NodeProto] | None = None, **options: Any
) -> onnx.ModelProto:
    """A model around tensors. By default every tensor goes through an Identity to an output of the graph."""
    nodes = nodes or [helper.make_node("Identity", [t.name], [f"{t.name}_out"]) for t in initializers]
    outputs = [name for node in nodes for name in node.output if name.endswith("_out")]
    graph = helper.make_graph(
        nodes,
        "g",
        options.pop("inputs", []),
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, options.pop("output_shape", None)) for name in outputs],
        initializers,
    )
    options.setdefault("ir_version", 9)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], **options)


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def external(name: str, *shape: int, **entries: str) -> TensorProto:
    tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def lazy(name: str, array: np.ndarray[Any, Any]) -> LazyTensor:
    return LazyTensor(name, array.shape, array.dtype, lambda: array)


def read_all(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.array(tensor.read()) for name, tensor in fmt.read(path).tensors.items()}


def rich_model() -> onnx.ModelProto:
    """A model with every way in which a tensor can be in it."""
    inner = helper.make_graph(
        [
            helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(values(2, 2, seed=1))),
            helper.make_node("Add", ["c", "inner"], ["y"]),
        ],
        "inner",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values(2, 2, seed=2), "inner")],
    )
    function = helper.make_function(
        "own",
        "Shift",
        ["a"],
        ["b"],
        [
            helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(values(2, seed=3))),
            helper.make_node("Add", ["a", "s"], ["b"]),
        ],
        [helper.make_opsetid("", 18)],
    )
    initializers = [
        numpy_helper.from_array(values(1, 12, 2), "W"),
        helper.make_tensor("R", TensorProto.FLOAT, (1, 12, 3), values(36)),
        helper.make_tensor("half", TensorProto.FLOAT16, (3,), values(3).astype(np.float16)),
        helper.make_tensor("steps", TensorProto.INT64, (3,), [-1, 300, 2**40]),
        helper.make_tensor("nibbles", TensorProto.INT4, (5,), [1, -2, 3, -8, 7]),
        helper.make_tensor("text", TensorProto.STRING, (1,), [b"not a weight"]),
    ]
    nodes = [
        helper.make_node("LSTM", ["x", "W", "R"], ["Y"], hidden_size=3, name="/lstm/LSTM"),
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(values(3))),
        helper.make_node("Identity", ["W"], ["W_again"]),
        helper.make_node("If", ["flag"], ["if_out"], then_branch=inner, else_branch=inner, name="choice"),
    ]
    model = graph_model(initializers, nodes, functions=[function])
    helper.set_model_props(model, {"author": "a test"})
    return model


def varint(value: int) -> bytes:
    head = bytearray()
    while value > 127:
        head.append(value % 128 + 128)
        value //= 128
    return bytes([*head, value])


def run(path: Path, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def named(name: str, array: np.ndarray[Any, Any]) -> TensorProto:
    return numpy_helper.from_array(array, name)


def structure_of(path: Path) -> Structure:
    return wp.open(path).structure


def only_layer(path: Path) -> Layer:
    (layer,) = structure_of(path).layers
    return layer


def model_of(
    nodes: list[onnx.NodeProto],
    tensors: dict[str, np.ndarray[Any, Any]],
    x: tuple[Any, ...],
    y: tuple[Any, ...],
    path: Path,
    dtype: int = TensorProto.FLOAT,
) -> Path:
    """A model from ``x`` to ``y_out``, checked by onnx."""
    model = graph_model(
        [named(name, array) for name, array in tensors.items()],
        nodes,
        inputs=[helper.make_tensor_value_info("x", dtype, list(x))],
        output_shape=list(y),
    )
    onnx.checker.check_model(model, full_check=True)
    return save(model, path)


def recurrent(
    op: str, path: Path, *, directions: int = 1, hidden: int = HIDDEN, inputs: int = IN, **attributes: Any
) -> Path:
    """A model of one recurrent node; every gate has a scale of its own, and the biases are not zero."""
    rows = GATES[op] * hidden
    scales = np.repeat(np.linspace(0.3, 1.1, GATES[op]), hidden).astype(np.float32)
    tensors = {
        "W": values(directions, rows, inputs) * scales[:, None],
        "R": values(directions, rows, hidden) * scales[:, None] / 2,
        "B": values(directions, 2 * rows) * np.concatenate([scales, scales / 2]),
    }
    if directions == 2:
        attributes.setdefault("direction", "bidirectional")
    node = helper.make_node(op, ["x", "W", "R", "B"], ["y_out"], name=f"/rec/{op}", hidden_size=hidden, **attributes)
    return model_of([node], tensors, (TIME, BATCH, inputs), (TIME, directions, BATCH, hidden), path)

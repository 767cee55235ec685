"""ONNX graphs: which nodes are layers, what they are called, what they state, and which weights are in none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import weightport as wp
from onnx_models import (
    BATCH,
    HIDDEN,
    IN,
    TIME,
    model_of,
    only_layer,
    recurrent,
    structure_of,
    values,
)
from weightport.checkpoint import Layer
from weightport.errors import RefusedError


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("op", "attributes", "expected"),
    [
        ("LSTM", {}, {"activation": "tanh", "cell_activation": "tanh", "recurrent_activation": "sigmoid"}),
        ("LSTM", {"direction": "reverse"}, {"direction": "reverse"}),
        (
            "LSTM",
            {"activations": ["Sigmoid", "Relu", "Softsign"]},
            {"activation": "relu", "cell_activation": "softsign"},
        ),
        ("GRU", {}, {"reset": "before"}),
        ("GRU", {"linear_before_reset": 1}, {"reset": "after"}),
        ("GRU", {"activations": ["HardSigmoid", "Tanh"]}, {"recurrent_activation": "hard_sigmoid_0.2"}),
        (
            "GRU",
            {"activations": ["HardSigmoid", "Elu"], "activation_alpha": [1 / 6, 1.0], "activation_beta": [0.5]},
            {"recurrent_activation": "hard_sigmoid", "activation": "elu"},
        ),
        (
            "GRU",
            {"activations": ["Sigmoid", "LeakyRelu"], "activation_alpha": [0.25]},
            {"recurrent_activation": "sigmoid", "activation": "leakyrelu(alpha=0.25)"},
        ),
        ("RNN", {"activations": ["Affine"], "activation_alpha": [1.0]}, {"activation": "linear"}),
        ("RNN", {"activations": ["Affine"], "activation_alpha": [2.0]}, {"activation": "affine(alpha=2, beta=0)"}),
        ("RNN", {"activations": ["Tanh", "Relu"], "direction": "bidirectional"}, {"activation": "tanh, relu"}),
        ("LSTM", {"input_forget": 1}, {"input_forget": True}),
    ],
)
def test_settings_of_recurrent_nodes(
    op: str, attributes: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    layer = only_layer(recurrent(op, tmp_path / "m.onnx", directions=directions, **attributes))
    assert layer.kinds == (op.lower(),)
    assert {name: layer.settings[name] for name in expected} == expected


def test_what_no_setting_names_is_noted(tmp_path: Path) -> None:
    attributes = {"clip": 3.0, "activations": ["Tanh", "Relu"]}
    layer = only_layer(recurrent("RNN", tmp_path / "m.onnx", directions=2, **attributes))
    assert layer.notes == (
        "the two directions have different activations: tanh, relu",
        "clip = 3: what goes into the activations is clipped",
    )


def test_peepholes_belong_to_the_layer(torch: Any, tmp_path: Path) -> None:
    tensors = {"W": values(1, 24, IN), "R": values(1, 24, HIDDEN), "B": values(1, 48), "P": values(1, 18)}
    node = helper.make_node("LSTM", ["x", "W", "R", "B", "", "", "", "P"], ["y_out"], hidden_size=HIDDEN)
    path = model_of([node], tensors, (TIME, BATCH, IN), (TIME, 1, BATCH, HIDDEN), tmp_path / "m.onnx")
    assert dict(only_layer(path).tensors) == {name: name for name in "WRBP"}
    with pytest.raises(RefusedError, match="no place for peephole"):
        wp.convert(path, torch.nn.LSTM(IN, HIDDEN))


@pytest.mark.parametrize(("start", "carried"), [(0.0, True), (0.5, False)])
def test_an_initial_state_of_zeros_is_no_weight_and_any_other_is_refused(
    start: float, carried: bool, torch: Any, tmp_path: Path
) -> None:
    tensors = {"W": values(1, 6, IN), "R": values(1, 6, HIDDEN), "h": np.full((1, BATCH, HIDDEN), start, np.float32)}
    node = helper.make_node("RNN", ["x", "W", "R", "", "", "h"], ["y_out"], hidden_size=HIDDEN, name="r")
    path = model_of([node], tensors, (TIME, BATCH, IN), (TIME, 1, BATCH, HIDDEN), tmp_path / "m.onnx")
    module = torch.nn.RNN(IN, HIDDEN, bias=False)
    if carried:
        wp.convert(path, module)
        assert structure_of(path).skipped == {"h": "the initial state of RNN 'r', which is zero"}
    else:
        with pytest.raises(RefusedError, match="it is the initial state of RNN 'r'"):
            wp.convert(path, module)


@pytest.mark.parametrize(
    ("attributes", "settings"),
    [
        ({}, {"strides": 1, "dilation": 1, "groups": 1, "padding": "valid"}),
        ({"strides": [2, 1], "dilations": [1, 2]}, {"strides": (2, 1), "dilation": (1, 2)}),
        ({"pads": [1, 0, 1, 0]}, {"padding": (1, 0)}),
        ({"pads": [1, 1, 1, 1]}, {"padding": 1}),
        ({"pads": [0, 0, 1, 0]}, {"padding": (0, 0, 1, 0)}),
        ({"auto_pad": "SAME_UPPER"}, {"padding": "same"}),
        ({"auto_pad": "SAME_LOWER"}, {"padding": "same_lower"}),
        ({"auto_pad": "VALID"}, {"padding": "valid"}),
    ],
)
def test_settings_of_convolutions(attributes: dict[str, Any], settings: dict[str, Any], tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y_out"], **attributes)
    path = model_of([node], {"w": values(2, 3, 3, 2)}, (1, 3, 8, 7), (1, 2, None, None), tmp_path / "m.onnx")
    layer = only_layer(path)
    assert (layer.kinds, dict(layer.tensors)) == (("conv",), {"W": "w"})
    assert {name: layer.settings[name] for name in settings} == settings


def test_a_causal_convolution_is_seen(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y_out"], pads=[4, 0], dilations=[2])
    path = model_of([node], {"w": values(2, 3, 3)}, (1, 3, 8), (1, 2, 8), tmp_path / "m.onnx")
    assert only_layer(path).settings["padding"] == "causal"


MAKE = helper.make_node
SCALED = "; multiply the tensor by it in the graph and set the attribute to 1"
UNKNOWN = {
    "a scaled product": (
        [MAKE("Gemm", ["x", "w", "b"], ["y_out"], alpha=0.5, name="g")],
        {"w": f"Gemm 'g' scales it by alpha = 0.5{SCALED}", "b": f"Gemm 'g' scales it by alpha = 0.5{SCALED}"},
    ),
    "a scaled bias": (
        [MAKE("Gemm", ["x", "w", "b"], ["y_out"], beta=0.5, name="g")],
        {"b": f"Gemm 'g' scales it by beta = 0.5{SCALED}"},
    ),
    "a number for a bias": (
        [MAKE("Gemm", ["x", "w", "scale"], ["y_out"], name="g")],
        {"scale": "Gemm 'g' adds it to 3 outputs, and its shape is []"},
    ),
    "a bias for all": (
        [MAKE("MatMul", ["x", "w"], ["h"]), MAKE("Add", ["h", "one"], ["y_out"], name="a")],
        {"one": "Add 'a' adds it to 3 outputs, and its shape is [1]"},
    ),
    "a cast": (
        [
            MAKE("Cast", ["half"], ["w2"], to=TensorProto.FLOAT, name="c"),
            MAKE("MatMul", ["x", "w2"], ["y_out"], name="m"),
        ],
        {"half": "it passes through Cast 'c' on its way to MatMul 'm'"},
    ),
    "a quantized weight": (
        [
            MAKE("DequantizeLinear", ["bytes", "scale"], ["w2"], name="d"),
            MAKE("MatMul", ["x", "w2"], ["y_out"], name="m"),
        ],
        {"bytes": "it passes through DequantizeLinear 'd' on its way to MatMul 'm'"},
    ),
    "a weight on the left": (
        [
            MAKE("Transpose", ["x"], ["xt"]),
            MAKE("MatMul", ["wt", "xt"], ["t"], name="m"),
            MAKE("Transpose", ["t"], ["y_out"]),
        ],
        {"wt": "MatMul 'm' has it as the left factor, and a dense layer has its weight on the right"},
    ),
    "another operator": (
        [MAKE("MatMul", ["x", "w"], ["h"]), MAKE("Sub", ["h", "b"], ["y_out"], name="s")],
        {"b": "no kind covers Sub 's', which uses it"},
    ),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_a_weight_in_no_layer_has_its_reason(case: str, torch: Any, tmp_path: Path) -> None:
    nodes, unknown = UNKNOWN[case]
    tensors = {
        "w": values(4, 3),
        "wt": values(3, 4),
        "b": values(3),
        "one": values(1),
        "half": values(4, 3).astype(np.float16),
        "bytes": (values(4, 3) * 50).astype(np.int8),
        "scale": np.float32(0.1).reshape(()),
    }
    used = {name for node in nodes for name in node.input}
    chosen = {name: array for name, array in tensors.items() if name in used}
    path = model_of(nodes, chosen, (2, 4), (2, 3), tmp_path / "m.onnx")
    assert structure_of(path).unknown == unknown
    with pytest.raises(RefusedError, match=f"unused: {next(iter(unknown))}"):
        wp.convert(path, torch.nn.Linear(4, 3))


def test_parameters_of_two_modules_name_no_layer(tmp_path: Path) -> None:
    nodes = [MAKE("Gemm", ["x", "one.weight", "two.bias"], ["y_out"], name="/three/Gemm")]
    tensors = {"one.weight": values(4, 3), "two.bias": values(3)}
    assert only_layer(model_of(nodes, tensors, (2, 4), (2, 3), tmp_path / "m.onnx")).name == "three"


def test_constants_of_the_graph_are_no_weights(tmp_path: Path) -> None:
    nodes = [
        MAKE("Reshape", ["x", "shape"], ["r"]),
        MAKE("Gemm", ["r", "fc.weight", "fc.bias"], ["h"], transB=1),
        MAKE("Mul", ["h", "two"], ["m"]),
        MAKE("Slice", ["m", "from", "to"], ["y_out"]),
    ]
    tensors = {
        "shape": np.array([-1, 4]),
        "fc.weight": values(3, 4),
        "fc.bias": values(3),
        "two": np.float32(2).reshape(()),
        "from": np.array([0], np.int32),
        "to": np.array([2], np.int32),
        "left.over": values(2),
    }
    structure = structure_of(model_of(nodes, tensors, (2, 2, 2), (2, 3), tmp_path / "m.onnx"))
    assert structure.unknown == {}
    assert structure.skipped == {
        **dict.fromkeys(("shape", "two", "from", "to"), "constant of the graph"),
        "left.over": "no node uses it",
    }


def test_rows_of_a_matrix_are_an_embedding_and_other_gathers_are_not(tmp_path: Path) -> None:
    nodes = [MAKE("Gather", ["emb.weight", "x"], ["e"]), MAKE("Gather", ["sizes", "x"], ["s"])]
    nodes += [MAKE("Cast", ["s"], ["f"], to=1), MAKE("Mul", ["e", "f"], ["y_out"])]
    tensors = {"emb.weight": values(7, 5), "sizes": np.arange(35).reshape(7, 5)}
    path = model_of(nodes, tensors, (3,), (3, 5), tmp_path / "m.onnx", TensorProto.INT64)
    assert only_layer(path) == Layer("emb", ("embedding",), {"data": "emb.weight"})


def test_a_module_that_is_called_twice_is_one_layer(tmp_path: Path) -> None:
    nodes = [
        MAKE("MatMul", ["x", "w"], ["h"], name="/fc/MatMul"),
        MAKE("MatMul", ["h", "w"], ["y_out"], name="/fc/MatMul_1"),
    ]
    layer = only_layer(model_of(nodes, {"w": values(4, 4)}, (2, 4), (2, 4), tmp_path / "m.onnx"))
    assert (layer.name, layer.notes) == ("fc", ("used by 2 nodes",))


def test_a_tied_embedding_is_two_layers_with_one_tensor(tmp_path: Path) -> None:
    nodes = [
        MAKE("Gather", ["emb.weight", "x"], ["e"], name="/emb/Gather"),
        MAKE("Gemm", ["e", "emb.weight"], ["y_out"], transB=1, name="/head/Gemm"),
    ]
    path = model_of(nodes, {"emb.weight": values(7, 5)}, (3,), (3, 7), tmp_path / "m.onnx", TensorProto.INT64)
    assert [(layer.name, dict(layer.tensors)) for layer in structure_of(path).layers] == [
        ("emb", {"data": "emb.weight"}),
        ("head", {"B": "emb.weight"}),
    ]


@pytest.mark.parametrize(
    ("nodes", "names"),
    [
        ([("/lstm/LSTM", "onnx::LSTM_1"), ("/lstm/LSTM_1", "onnx::LSTM_2")], ["lstm", "lstm_1"]),
        ([("/encoder/block.0/rnn/LSTM", "onnx::LSTM_1"), ("", "onnx::LSTM_2")], ["encoder.block.0.rnn", "LSTM_1"]),
        ([("/a/LSTM", "x.weight"), ("/a/LSTM_1", "x.bias")], ["a", "a_1"]),
        ([("/x/LSTM", "first.weight"), ("/y/LSTM", "second.weight_ih_l0")], ["first", "second"]),
        ([("", "decoder_W"), ("", "12")], ["decoder", "LSTM_1"]),
        ([("/LSTM", "onnx::LSTM_1"), ("same", "a"), ("same", "b")], ["LSTM", "a", "b"]),
        ([("LSTM_1", "7"), ("", "8")], ["LSTM_1", "LSTM_2"]),
    ],
)
def test_layers_are_named_like_the_modules_they_were(
    nodes: list[tuple[str, str]], names: list[str], tmp_path: Path
) -> None:
    tensors = {"R": values(1, 12, 3), **{weight: values(1, 12, 3, seed=i) for i, (_, weight) in enumerate(nodes)}}
    made = [MAKE("Squeeze", ["x", "axis"], ["h0"])]
    for index, (name, weight) in enumerate(nodes):
        made.append(MAKE("LSTM", [f"h{index}", weight, "R"], [f"s{index}"], name=name, hidden_size=3))
        made.append(MAKE("Squeeze", [f"s{index}", "axis"], [f"h{index + 1}"]))
    made.append(MAKE("Identity", [f"h{len(nodes)}"], ["y_out"]))
    tensors["axis"] = np.array([1])
    path = model_of(made, tensors, (TIME, 1, BATCH, 3), (TIME, BATCH, 3), tmp_path / "m.onnx")
    assert [layer.name for layer in structure_of(path).layers] == names

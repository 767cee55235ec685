"""ONNX and PyTorch: the weights of a graph compute the same in a module, and those of a module in a graph."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import weightport as wp
from onnx_models import (
    BATCH,
    HIDDEN,
    IN,
    TIME,
    model_of,
    named,
    only_layer,
    recurrent,
    run,
    same_bits,
    save,
    structure_of,
    values,
)
from weightport.errors import RefusedError

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")


def like_torch(y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """ONNX' outputs (time, direction, batch, hidden) as PyTorch has them."""
    return y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1)


def run_torch(module: Any, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        y = module.eval()(torch.from_numpy(x))
    return np.asarray((y[0] if isinstance(y, tuple) else y).numpy())


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize(("inputs", "hidden"), [(IN, HIDDEN), (5, 5)], ids=["oblong", "square"])
@pytest.mark.parametrize(
    ("op", "attributes", "options"),
    [
        ("LSTM", {}, {}),
        ("GRU", {"linear_before_reset": 1}, {}),
        ("RNN", {}, {}),
        ("RNN", {"activations": ["Relu"]}, {"nonlinearity": "relu"}),
    ],
    ids=["lstm", "gru", "rnn", "rnn-relu"],
)
def test_recurrent_weights_compute_the_same_in_torch(
    op: str,
    attributes: dict[str, Any],
    options: dict[str, Any],
    inputs: int,
    hidden: int,
    directions: int,
    tmp_path: Path,
) -> None:
    attributes = {key: value * directions if key == "activations" else value for key, value in attributes.items()}
    path = recurrent(op, tmp_path / "m.onnx", directions=directions, inputs=inputs, hidden=hidden, **attributes)
    module = getattr(torch.nn, op)(inputs, hidden, bidirectional=directions == 2, **options)
    report = wp.convert(path, module)
    assert report.verdict == "exact"
    x = values(TIME, BATCH, inputs, seed=9)
    np.testing.assert_allclose(run_torch(module, x), like_torch(run(path, x)), atol=1e-5)


def test_a_reverse_layer_is_refused_and_carries_its_weights_when_allowed(tmp_path: Path) -> None:
    path = recurrent("LSTM", tmp_path / "m.onnx", direction="reverse")
    module = torch.nn.LSTM(IN, HIDDEN)
    with pytest.raises(RefusedError, match="direction is reverse"):
        wp.convert(path, module)
    wp.convert(path, module, allow=["direction"])
    x = values(TIME, BATCH, IN, seed=9)
    np.testing.assert_allclose(run_torch(module, x[::-1].copy())[::-1], like_torch(run(path, x)), atol=1e-5)


@pytest.mark.parametrize(
    ("op", "attributes", "reason"),
    [
        ("GRU", {}, "reset is before"),
        ("LSTM", {"activations": ["HardSigmoid", "Tanh", "Tanh"]}, "recurrent_activation is hard_sigmoid_0.2"),
        ("LSTM", {"input_forget": 1}, "input_forget is True"),
    ],
)
def test_what_torch_cannot_compute_is_refused(op: str, attributes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = recurrent(op, tmp_path / "m.onnx", **attributes)
    with pytest.raises(RefusedError, match=reason):
        wp.convert(path, getattr(torch.nn, op)(IN, HIDDEN))


def dense_nodes(
    form: str, weight: np.ndarray[Any, Any], bias: np.ndarray[Any, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """A dense layer in one of the forms that exporters give it; ``weight`` is ``in out``."""
    make = helper.make_node
    oblique = {"w": weight.T.copy(), "b": bias}
    upright = {"w": weight, "b": bias}
    forms: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "Gemm": ([make("Gemm", ["x", "w", "b"], ["y_out"])], upright),
        "Gemm transB": ([make("Gemm", ["x", "w", "b"], ["y_out"], transB=1)], oblique),
        "Gemm of a Transpose": (
            [make("Transpose", ["w"], ["wt"], perm=[1, 0]), make("Gemm", ["x", "wt", "b"], ["y_out"])],
            oblique,
        ),
        "Gemm transB of a Transpose": (
            [make("Transpose", ["w"], ["wt"]), make("Gemm", ["x", "wt", "b"], ["y_out"], transB=1)],
            upright,
        ),
        "Gemm and Add": ([make("Gemm", ["x", "w"], ["h"]), make("Add", ["h", "b"], ["y_out"])], upright),
        "MatMul and Add": ([make("MatMul", ["x", "w"], ["h"]), make("Add", ["h", "b"], ["y_out"])], upright),
        "MatMul and Add before": ([make("MatMul", ["x", "w"], ["h"]), make("Add", ["b", "h"], ["y_out"])], upright),
        "MatMul of a Transpose": (
            [make("Transpose", ["w"], ["wt"]), make("MatMul", ["x", "wt"], ["h"]), make("Add", ["h", "b"], ["y_out"])],
            oblique,
        ),
        "through Identity": (
            [
                make("Identity", ["w"], ["w2"]),
                make("Identity", ["b"], ["b2"]),
                make("MatMul", ["x", "w2"], ["h"]),
                make("Add", ["h", "b2"], ["y_out"]),
            ],
            upright,
        ),
        "Constant nodes": (
            [
                make("Constant", [], ["w"], value=named("", weight)),
                make("Constant", [], ["b"], value=named("", bias)),
                make("Gemm", ["x", "w", "b"], ["y_out"]),
            ],
            {},
        ),
    }
    return forms[form]


@pytest.mark.parametrize("out", [4, 3], ids=["square", "oblong"])
@pytest.mark.parametrize(
    "form",
    [
        "Gemm",
        "Gemm transB",
        "Gemm of a Transpose",
        "Gemm transB of a Transpose",
        "Gemm and Add",
        "MatMul and Add",
        "MatMul and Add before",
        "MatMul of a Transpose",
        "through Identity",
        "Constant nodes",
    ],
)
def test_every_form_of_a_dense_layer_goes_into_torch_and_back(form: str, out: int, tmp_path: Path) -> None:
    nodes, tensors = dense_nodes(form, values(4, out), values(out, seed=2))
    path = model_of(nodes, tensors, (BATCH, 4), (BATCH, out), tmp_path / "m.onnx")
    module, x = torch.nn.Linear(4, out), values(BATCH, 4, seed=9)
    assert wp.convert(path, module).verdict == "exact"
    np.testing.assert_allclose(run_torch(module, x), run(path, x), atol=1e-5)
    other = torch.nn.Linear(4, out)
    wp.convert(other, tmp_path / "out.onnx", into=path)
    np.testing.assert_allclose(run(tmp_path / "out.onnx", x), run_torch(other, x), atol=1e-5)


def test_a_dense_layer_without_a_bias(tmp_path: Path) -> None:
    """What is added to a product that is used elsewhere too is no bias of the layer."""
    make = helper.make_node
    plain = model_of([make("MatMul", ["x", "w"], ["y_out"])], {"w": values(4, 3)}, (2, 4), (2, 3), tmp_path / "a.onnx")
    assert dict(only_layer(plain).tensors) == {"B": "w"}
    nodes = [make("MatMul", ["x", "w"], ["h"]), make("Add", ["h", "b"], ["i"]), make("Mul", ["h", "i"], ["y_out"])]
    twice = model_of(nodes, {"w": values(4, 3), "b": values(3)}, (2, 4), (2, 3), tmp_path / "b.onnx")
    assert dict(only_layer(twice).tensors) == {"B": "w"}
    assert structure_of(twice).unknown == {"b": "no kind covers Add (node 1), which uses it"}


# Exported modules


class Sequence(torch.nn.Module):  # type: ignore[misc]
    """Every layer that reads sequences, with a linear layer that is exported as MatMul and Add."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(11, 5)
        self.lstm = torch.nn.LSTM(5, 7, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = torch.nn.GRU(14, 6, batch_first=True)
        self.rnn = torch.nn.RNN(6, 4, batch_first=True, nonlinearity="relu")
        self.norm = torch.nn.LayerNorm(4)
        self.head = torch.nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        h, _ = self.lstm(self.embedding(x))
        h, _ = self.gru(h)
        h, _ = self.rnn(h)
        return self.head(self.norm(h))


class Image(torch.nn.Module):  # type: ignore[misc]
    """Every layer that reads images, with a linear layer that is exported as Gemm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(4, 6, (3, 2), padding=(1, 0), groups=2)
        self.norm = torch.nn.BatchNorm2d(6, eps=1e-3)
        self.body = torch.nn.Sequential(torch.nn.Conv2d(6, 6, 2, bias=False), torch.nn.ReLU(), torch.nn.BatchNorm2d(6))
        self.head = torch.nn.Linear(6, 2)

    def forward(self, x: Any) -> Any:
        return self.head(self.body(torch.relu(self.norm(torch.relu(self.conv(x))))).mean((2, 3)))


INPUTS = {Sequence: torch.randint(0, 11, (BATCH, TIME)), Image: torch.from_numpy(values(BATCH, 4, 9, 8))}


def trained(module: Any) -> Any:
    """The module with weights of its own: no two alike, none zero, variances positive."""
    generator = torch.Generator().manual_seed(3)
    for name, tensor in module.state_dict().items():
        if tensor.dtype.is_floating_point:
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.4)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)
    return module.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Exports a module by PyTorch's exporter that needs no other package."""

    def export(module: Any) -> Path:
        path = tmp_path_factory.mktemp("exported") / "m.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module.eval(), (INPUTS[type(module)],), str(path), dynamo=False)
        return path

    return export


def test_an_exported_module_has_the_names_of_its_modules(exported: Any) -> None:
    layers = {layer.name: layer for layer in structure_of(exported(Sequence())).layers}
    assert {name: layer.kinds[0] for name, layer in layers.items()} == {
        "embedding": "embedding",
        "lstm": "lstm",
        "lstm_1": "lstm",
        "gru": "gru",
        "rnn": "rnn",
        "norm": "layer_norm",
        "head": "dense",
    }
    assert layers["gru"].settings["reset"] == "after" and layers["rnn"].settings["activation"] == "relu"
    image = structure_of(exported(trained(Image())))
    assert [layer.name for layer in image.layers] == ["conv", "norm", "body.0", "body.2", "head"]
    assert {layer.name: layer.settings.get("epsilon") for layer in image.layers}["norm"] == 1e-3
    assert image.unknown == {}


@pytest.mark.parametrize("module_class", [Sequence, Image])
def test_an_exported_module_goes_back_into_torch(module_class: type, exported: Any) -> None:
    module, other = trained(module_class()), module_class()
    path, x = exported(module), INPUTS[module_class].numpy()
    report = wp.convert(path, other)
    assert report.verdict == "exact"
    if module_class is Sequence:
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in module.state_dict().items())
    np.testing.assert_allclose(run_torch(other, x), run(path, x), atol=1e-5)


@pytest.mark.parametrize("module_class", [Sequence, Image])
def test_a_trained_module_goes_into_the_export_of_an_untrained_one(
    module_class: type, exported: Any, tmp_path: Path
) -> None:
    """The untrained batch norms are full of equal tensors, which the exporter merges."""
    template, module = exported(module_class()), trained(module_class())
    out, x = tmp_path / "out.onnx", INPUTS[module_class].numpy()
    wp.convert(module, out, into=template)
    onnx.checker.check_model(str(out), full_check=True)
    np.testing.assert_allclose(run(out, x), run_torch(module, x), atol=1e-5)
    assert np.abs(run(template, x) - run_torch(module, x)).max() > 0.01
    assert "weightport" in wp.open(out).contents.metadata


def test_a_model_in_memory_takes_weights_and_gives_them(exported: Any, tmp_path: Path) -> None:
    module, x = trained(Image()), INPUTS[Image].numpy()
    model = onnx.load(exported(Image()))
    wp.convert(module, model)
    np.testing.assert_allclose(run(save(model, tmp_path / "m.onnx"), x), run_torch(module, x), atol=1e-5)
    other = Image()
    wp.convert(model, other)
    np.testing.assert_array_equal(run_torch(other, x), run_torch(module, x))


def test_another_dtype_than_the_graph_computes_with_is_refused(exported: Any, tmp_path: Path) -> None:
    template, module = exported(Sequence()), trained(Sequence()).double()
    with pytest.raises(RefusedError, match="computes with float32 there; --dtype float32 converts it"):
        wp.convert(module, tmp_path / "out.onnx", into=template)
    assert not list(tmp_path.iterdir())
    wp.convert(module, tmp_path / "out.onnx", into=template, dtype="float32")
    x = INPUTS[Sequence].numpy()
    np.testing.assert_allclose(run(tmp_path / "out.onnx", x), run_torch(module, x), atol=1e-5)


def test_an_exported_module_becomes_a_state_dict_file(exported: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    path, module, x = exported(trained(Image())), Image(), INPUTS[Image].numpy()
    wp.convert(path, tmp_path / "out.safetensors")
    module.load_state_dict(load_file(tmp_path / "out.safetensors"))
    np.testing.assert_allclose(run_torch(module, x), run(path, x), atol=1e-5)


@pytest.mark.parametrize("directions", [1, 2])
def test_a_recurrent_node_becomes_a_state_dict_file(directions: int, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    path, x = recurrent("LSTM", tmp_path / "m.onnx", directions=directions), values(TIME, BATCH, IN, seed=9)
    wp.convert(path, tmp_path / "out.safetensors")
    module = torch.nn.ModuleDict({"rec": torch.nn.LSTM(IN, HIDDEN, bidirectional=directions == 2)})
    module.load_state_dict(load_file(tmp_path / "out.safetensors"))
    np.testing.assert_allclose(run_torch(module["rec"], x), like_torch(run(path, x)), atol=1e-5)


def test_a_tied_tensor_takes_equal_values_only(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["e"], name="/emb/Gather"),
        helper.make_node("Gemm", ["e", "table"], ["y_out"], transB=1, name="/head/Gemm"),
    ]
    template = model_of(nodes, {"table": values(7, 5)}, (3,), (3, 7), tmp_path / "m.onnx", TensorProto.INT64)
    module = torch.nn.Module()
    module.emb, module.head = torch.nn.Embedding(7, 5), torch.nn.Linear(5, 7, bias=False)
    with pytest.raises(RefusedError, match="table is one tensor with two uses, and the source has two values for it"):
        wp.convert(module, tmp_path / "out.onnx", into=template)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    module.head.weight = module.emb.weight
    wp.convert(module, tmp_path / "out.onnx", into=template)
    x = np.array([2, 0, 6])
    expected = run_torch(torch.nn.Sequential(module.emb, module.head), x)
    np.testing.assert_allclose(run(tmp_path / "out.onnx", x), expected, atol=1e-5)


def test_onnx_to_onnx_carries_every_bit(exported: Any, tmp_path: Path) -> None:
    path, template = exported(trained(Image())), exported(Image())
    wp.convert(path, tmp_path / "same.onnx")
    wp.convert(path, tmp_path / "into.onnx", into=template)
    first, second = (wp.open(tmp_path / name).tensors for name in ("same.onnx", "into.onnx"))
    source = wp.open(path)
    for name, tensor in source.tensors.items():
        assert same_bits(np.array(first[name].read()), np.array(tensor.read()))
    for ours, theirs in zip(source.layers, wp.open(tmp_path / "into.onnx").layers, strict=True):
        for local, name in ours.tensors.items():
            assert same_bits(np.array(second[theirs.tensors[local]].read()), np.array(source.tensors[name].read()))


def test_there_is_no_graph_to_be_made_from_weights_alone(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="give a onnx file that does with --into TEMPLATE"):
        wp.convert(torch.nn.Linear(3, 2), tmp_path / "out.onnx")

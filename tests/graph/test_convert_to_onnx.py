"""``weightport convert model.keras model.onnx``: what the file is like, and what the command does and refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from keras import layers

import weightport as wp
from graph_checks import randomise, run_keras, run_onnx
from weightport.cli import cli
from weightport.formats import _onnx_build
from weightport.graph import onnx_registry

REAL = Path(__file__).parents[2] / "fixtures/keras/netra-transliterate/bi_gru_attention_khmer_transliterator.keras"
FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "onnxruntime")


def command(*arguments, status=0):
    result = CliRunner().invoke(cli, ["convert", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture
def model():
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(300, 6, name="embedding")(tokens)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="encoder")(x)
    return randomise(keras.Model(tokens, layers.Dense(3, activation="softmax", name="classes")(x)))


@pytest.fixture
def source(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_a_real_recurrent_model_is_converted_and_verified(tmp_path) -> None:
    output = command(REAL, tmp_path / "real.onnx", "--verify")
    assert "compute the same" in output
    operators = [node.op_type for node in onnx.load(tmp_path / "real.onnx").graph.node]
    assert operators.count("GRU") == 2
    assert len(operators) < 40


def test_a_model_that_computes_something_else_never_becomes_the_target(source, tmp_path, monkeypatch) -> None:
    def forgotten(context, operation):
        context.put(operation, context.get(operation))

    wp.convert(source, tmp_path / "right.onnx", dry_run=True)
    monkeypatch.setitem(onnx_registry.REGISTRY.emitters, "activation", forgotten)
    assert "DIFFER" in command(source, tmp_path / "wrong.onnx", "--verify", status=1)
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


def test_no_framework_is_loaded_to_build_a_model(tmp_path) -> None:
    code = (
        f"import sys, weightport as wp\nwp.convert({str(REAL)!r}, {str(tmp_path / 'real.onnx')!r})\n"
        f"print([name for name in {FRAMEWORKS!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert (tmp_path / "real.onnx").stat().st_size > 0


def test_names_follow_the_layers_and_free_sizes_have_names(source, tmp_path) -> None:
    command(source, tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert [node.name for node in graph.node if node.op_type in ("Gather", "LSTM", "MatMul")] == [
        "embedding/Gather",
        "encoder/LSTM",
        "classes/MatMul",
    ]
    weights = {"embedding.weight", "encoder.W", "encoder.R", "encoder.B", "classes.weight", "classes.bias"}
    assert weights <= {tensor.name for tensor in graph.initializer}
    assert [d.dim_param for d in graph.input[0].type.tensor_type.shape.dim] == ["batch", "tokens_time"]
    assert [output.name for output in graph.output] == ["classes"]


def test_our_own_reader_finds_the_same_layers_with_the_same_weights(source, tmp_path) -> None:
    command(source, tmp_path / "model.onnx")
    found = {layer.name: layer.kinds for layer in wp.open(tmp_path / "model.onnx").layers}
    assert found == {"embedding": ("embedding",), "encoder": ("lstm",), "classes": ("dense",)}
    wp.convert(tmp_path / "model.onnx", tmp_path / "back.keras", into=source)
    back = wp.open(tmp_path / "back.keras").tensors
    for name, tensor in wp.open(source).tensors.items():
        np.testing.assert_array_equal(back[name].read(), tensor.read())


def test_the_file_says_where_it_came_from(source, tmp_path) -> None:
    command(source, tmp_path / "model.onnx", "--opset", 18)
    written = onnx.load(tmp_path / "model.onnx")
    assert written.producer_name == "weightport"
    assert [(one.domain, one.version) for one in written.opset_import] == [("", 18)]
    about = json.loads({entry.key: entry.value for entry in written.metadata_props}["weightport"])
    assert about["source"] == "keras"
    assert about["layers"]["encoder"]["settings"]["direction"] == "bidirectional"


def test_the_report_lists_each_layer_and_nothing_is_written_by_a_dry_run(source, tmp_path) -> None:
    report = json.loads(command(source, tmp_path / "model.onnx", "--json", "--dry-run"))
    assert [layer["kind"] for layer in report["layers"]] == ["embedding", "lstm", "dense"]
    assert {layer["verdict"] for layer in report["layers"]} == {"exact"}
    assert not (tmp_path / "model.onnx").exists()


def test_weights_of_two_gigabytes_go_into_a_file_beside_the_model(model, source, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(_onnx_build, "INLINE_LIMIT", 1000)
    wp.convert(source, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx.data").stat().st_size > 1000
    onnx.checker.check_model(str(tmp_path / "model.onnx"), full_check=True)
    values = {"tokens": np.arange(6, dtype="int32").reshape(2, 3)}
    np.testing.assert_allclose(run_onnx(tmp_path / "model.onnx", values)[0], run_keras(model, values)[0], atol=1e-5)
    wp.convert(source, tmp_path / "model.onnx", overwrite=True)
    assert len(list(tmp_path.glob("*.data"))) == 1
    np.testing.assert_allclose(run_onnx(tmp_path / "model.onnx", values)[0], run_keras(model, values)[0], atol=1e-5)


def test_a_template_still_takes_weights_only(model, source, tmp_path) -> None:
    command(source, tmp_path / "template.onnx")
    output = command(source, tmp_path / "filled.onnx", "--into", tmp_path / "template.onnx")
    assert "name" in output
    ours, theirs = (onnx.load(tmp_path / name).graph for name in ("filled.onnx", "template.onnx"))
    assert [node.name for node in ours.node] == [node.name for node in theirs.node]


@keras.saving.register_keras_serializable("tests")
class Scaled(layers.Layer):
    """A user's own layer, of which only its name and config are in the file."""

    def __init__(self, factor=3.0, **more):
        super().__init__(**more)
        self.factor = factor

    def build(self, shape):
        self.shift = self.add_weight(shape=(shape[-1],), name="shift")

    def call(self, x):
        return self.factor * x + self.shift

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def test_a_registered_class_is_written_by_its_own_emitter(tmp_path) -> None:
    def emit(context, operation):
        (shift,) = operation.weights
        weight = context.weight(operation, context.turned(operation, shift, (0,)), "shift")
        scaled = context.node("Mul", [context.get(operation), context.number(operation.settings["factor"])])
        context.put(operation, context.node("Add", [scaled, weight]))

    inputs = keras.Input((4,), name="x")
    model = randomise(keras.Model(inputs, layers.Dense(2)(Scaled(2.5, name="scaled")(inputs))))
    model.save(tmp_path / "custom.keras")
    with pytest.raises(wp.RefusedError, match="scaled: what Scaled computes is not known"):
        wp.convert(tmp_path / "custom.keras", tmp_path / "custom.onnx")
    wp.register_layer("Scaled", emit)
    wp.convert(tmp_path / "custom.keras", tmp_path / "custom.onnx")
    values = {"x": np.random.default_rng(0).normal(size=(3, 4)).astype("float32")}
    np.testing.assert_allclose(run_onnx(tmp_path / "custom.onnx", values)[0], run_keras(model, values)[0], atol=1e-5)
    with pytest.raises(wp.UsageError, match="Scaled has an emitter for onnx already"):
        wp.register_layer("Scaled", emit)


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (("model.onnx", "--opset", "9"), 2, "opset 9 is not supported; known are 18 to 26"),
        (("model.onnx", "--dtype", "float16"), 2, "keeps the dtypes of its source"),
        (("model.onnx", "--verify", "--dry-run"), 2, "leave out --dry-run or --verify"),
        (("model.safetensors", "--opset", "18"), 2, "an opset is chosen for an ONNX model that is built"),
        (("model.py", "--opset", "18"), 2, "an opset is chosen for an ONNX model that is built"),
        (("model.onnx", "--channels-last"), 2, "the place of the channels is chosen for PyTorch source"),
        (("model.safetensors", "--channels-last"), 2, "the place of the channels is chosen for PyTorch source"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments, status, reason, source, tmp_path) -> None:
    target, *options = arguments
    assert reason in command(source, tmp_path / target, *options, status=status)
    assert not (tmp_path / target).exists()


def test_weights_without_a_model_need_a_template_as_before(model, source, tmp_path) -> None:
    wp.convert(source, tmp_path / "model.safetensors")
    assert "--into TEMPLATE" in command(tmp_path / "model.safetensors", tmp_path / "model.onnx", status=1)
    model.save_weights(tmp_path / "model.weights.h5")
    assert "weights only" in command(tmp_path / "model.weights.h5", tmp_path / "model.onnx", status=1)


def test_a_live_model_and_a_legacy_file_give_the_same(tmp_path) -> None:
    inputs = keras.Input((9, 8, 4), name="x")
    x = layers.DepthwiseConv2D(3)(layers.PReLU()(inputs))
    x = layers.GroupNormalization(2)(layers.Conv2DTranspose(4, 2)(layers.SeparableConv2D(3, 2)(x)))
    inner = keras.Sequential([keras.Input((7, 4)), layers.Bidirectional(layers.GRU(3))], name="inner")
    model = randomise(keras.Model(inputs, inner(layers.Reshape((7, 4))(layers.AveragePooling2D((1, 6))(x)))))
    model.save(tmp_path / "legacy.h5")
    values = {"x": np.random.default_rng(0).normal(size=(3, 9, 8, 4)).astype("float32")}
    for source in (model, tmp_path / "legacy.h5"):
        wp.convert(source, tmp_path / "model.onnx", overwrite=True)
        found = run_onnx(tmp_path / "model.onnx", values)[0]
        np.testing.assert_allclose(found, run_keras(model, values)[0], atol=1e-5)


@pytest.mark.parametrize("policy", ["float16", "mixed_float16"])
def test_precision_follows_the_policy_of_each_layer(policy, tmp_path) -> None:
    inputs = keras.Input((5, 4), name="x", dtype="float32")
    x = layers.Dense(3, activation="gelu", dtype=policy)(layers.LayerNormalization(dtype=policy)(inputs))
    model = randomise(keras.Model(inputs, layers.Dense(2, dtype="float32")(x)))
    model.save(tmp_path / "model.keras")
    report = wp.convert(tmp_path / "model.keras", tmp_path / "model.onnx")
    values = {"x": np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")}
    found = run_onnx(tmp_path / "model.onnx", values)[0]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, run_keras(model, values)[0], atol=5e-3)
    assert any("is computed in float32" in note for note in report.notes) == (policy != "float16")


def test_the_report_says_how_much_of_the_model_was_carried(source, model, tmp_path) -> None:
    carried = wp.convert(source, tmp_path / "model.onnx").coverage.carried
    assert carried.tensors == len(model.weights)
    assert carried.elements == model.count_params()

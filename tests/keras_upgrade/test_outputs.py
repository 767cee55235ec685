"""Older Keras models, upgraded on the command line, give in the real Keras 3 what the older Keras gave."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import weightport as wp
from old_keras import write_h5
from recordings import load_recording
from weightport.cli import cli

FIXTURES = Path(__file__).parents[2] / "fixtures"
FILES = sorted(
    path
    for folder in ("keras-1.2.2", "tf_keras")
    for path in (FIXTURES / "keras" / folder).iterdir()
    if path.suffix in (".h5", ".keras") and path.with_suffix(".npz").exists()
)
KERAS_1 = sorted((FIXTURES / "recordings" / "keras1").glob("*.npz"))
CLASSES = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}


def upgraded(keras, source, target):
    """The model that Keras 3 opens in safe mode, without any custom object."""
    result = CliRunner().invoke(cli, ["convert", str(source), str(target)])
    assert result.exit_code == 0, result.output
    return keras.saving.load_model(target)


def outputs_of(model, inputs):
    found = model(inputs if len(inputs) > 1 else inputs[0])
    named = found if isinstance(found, dict) else dict(enumerate(found if isinstance(found, list) else [found]))
    return {f"output/{name}": np.asarray(value) for name, value in named.items()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_model_of_keras_1_or_2_gives_the_same_outputs(keras, tmp_path, path):
    model = upgraded(keras, path, tmp_path / "new.keras")
    with np.load(path.with_suffix(".npz")) as recorded:
        inputs = [recorded[name] for name in recorded.files if name.startswith("input/")]
        expected = {name: recorded[name] for name in recorded.files if name.startswith("output/")}
    found = outputs_of(model, inputs)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_a_model_of_keras_2_12_gives_the_same_outputs(keras, tmp_path, suffix):
    folder = FIXTURES / "keras" / "keras-2.12"
    model = upgraded(keras, folder / f"model.{suffix}", tmp_path / "new.keras")
    with np.load(folder / "recorded.npz") as recorded:
        np.testing.assert_allclose(model(recorded["input"]), recorded["output"], rtol=1e-5)


@pytest.mark.parametrize("path", KERAS_1, ids=lambda path: path.stem)
def test_a_layer_of_keras_1_gives_the_same_outputs(keras, tmp_path, path):
    recording = load_recording(path)
    old = write_h5(tmp_path / "old.h5", *keras_1_model(recording), version=None)
    model = upgraded(keras, old, tmp_path / "new.keras")
    np.testing.assert_allclose(model(recording.inputs), recording.outputs, rtol=1e-4, atol=1e-6)


def keras_1_model(recording):
    """The Sequential model of that one layer, as Keras 1.2.2 describes it, and its weights."""
    table = recording.layout.partition(".")[2]
    settings, kind = recording.settings, table.removesuffix("_packed")
    inputs = [None, *recording.inputs.shape[1:]]
    said = {
        "name": "one",
        "trainable": True,
        "output_dim": next(values.shape[0] for name, values in recording.tensors.items() if "U" in name),
        "init": "glorot_uniform",
        "inner_init": "orthogonal",
        "activation": settings["activation"],
        "W_regularizer": None,
        "U_regularizer": {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.01},
        "b_regularizer": None,
        "dropout_W": 0.0,
        "dropout_U": 0.1,
        "return_sequences": True,
        "go_backwards": settings["direction"] == "backwards",
        "stateful": False,
        "unroll": False,
        "consume_less": "gpu" if table.endswith("_packed") else "cpu",
        "input_dim": inputs[-1],
        "input_length": None,
    }
    if kind != "rnn":
        said["inner_activation"] = settings["recurrent_activation"].removesuffix("_0.2")
    said |= {"forget_bias_init": "one"} if kind == "lstm" else {}
    one = {"class_name": CLASSES[kind], "config": said}
    if settings["direction"] == "bidirectional":
        one = {"class_name": "Bidirectional", "config": {"name": "one", "merge_mode": "concat", "layer": one}}
    one["config"] |= {"batch_input_shape": inputs, "input_dtype": "float32"}
    tensors = {name.replace("/", "_"): values for name, values in recording.tensors.items()}
    return {"class_name": "Sequential", "config": [one]}, {"one": tensors}


def test_the_older_hard_sigmoid_is_said_in_layers_of_keras_3_and_read_back_by_its_name(tmp_path):
    new = tmp_path / "new.keras"
    wp.convert(FIXTURES / "keras" / "tf_keras" / "recurrent.h5", new)
    layers = {layer.name: layer for layer in wp.open(new).layers}
    assert layers["lstm_square"].settings["recurrent_activation"] == "hard_sigmoid_0.2"
    assert layers["turned"].settings["activation"] == "hard_sigmoid_0.2"
    assert layers["lstm"].settings["recurrent_activation"] == "sigmoid"


def test_an_upgraded_file_says_what_keras_3_says_and_nothing_of_the_machine(tmp_path):
    new, again = tmp_path / "new.keras", tmp_path / "again.keras"
    for target in (new, again):
        wp.convert(FIXTURES / "keras" / "tf_keras" / "sequence.keras", target)
    assert new.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(new) as archive:
        assert archive.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
        config = json.loads(archive.read("config.json"))
    first = config["config"]["layers"][0]
    assert (first["class_name"], first["config"]["batch_shape"]) == ("InputLayer", [None, 5, 4])
    assert "time_major" not in json.dumps(config)


def test_a_legacy_file_that_keras_3_wrote_becomes_a_keras_file(keras, tmp_path):
    layers = keras.layers
    inputs, inner_inputs = keras.Input((5, 4)), keras.Input((5, 4))
    sequence = keras.Sequential([keras.Input((5, 4)), layers.Dense(4)], name="sequence")
    inner = keras.Model(inner_inputs, [layers.Dense(3)(inner_inputs), layers.GRU(2)(inner_inputs)], name="inner")
    steps, last = inner(sequence(inputs))
    outputs = [layers.LSTM(3, recurrent_activation="hard_sigmoid")(steps), last, inner(inputs)[0]]
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "old.h5")
    values = np.random.default_rng(3).normal(size=(3, 5, 4)).astype("float32")
    new = upgraded(keras, tmp_path / "old.h5", tmp_path / "new.keras")
    for found, expected in zip(new(values), model(values), strict=True):
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def test_a_file_of_keras_3_is_copied_and_not_upgraded(tmp_path):
    source = next((FIXTURES / "keras" / "netra-transliterate").glob("*.keras"))
    report = wp.convert(source, tmp_path / "new.keras")
    assert not report.layers
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(tmp_path / "new.keras") as new:
        assert old.read("config.json") == new.read("config.json")

"""Weights in one file and ``model.to_json()`` in another, as most models of Keras 1 and 2 were kept, are one model."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import weightport as wp
from old_keras import call, functional, input_layer, layer, write_h5
from weightport.cli import cli

KERAS = Path(__file__).parents[2] / "fixtures" / "keras"
WEIGHTS, ARCHITECTURE = KERAS / "keras-1.2.2" / "sequence-weights.h5", KERAS / "keras-1.2.2" / "sequence.json"


def run(*arguments):
    result = CliRunner().invoke(cli, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.output


def test_both_files_of_keras_1_become_a_model_of_keras_3(keras, tmp_path):
    run("convert", WEIGHTS, tmp_path / "new.keras", "--architecture", ARCHITECTURE)
    with np.load(KERAS / "keras-1.2.2" / "sequence.npz") as recorded:
        found = keras.saving.load_model(tmp_path / "new.keras")(recorded["input/0"])
        np.testing.assert_allclose(found, recorded["output/0"], rtol=1e-5, atol=1e-6)


def test_both_files_of_keras_2_become_an_onnx_model(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = KERAS / "keras-2.12"
    with zipfile.ZipFile(folder / "model.keras") as archive:
        config = json.loads(archive.read("config.json"))
    (tmp_path / "model.json").write_text(json.dumps({**config, "keras_version": "2.12.0", "backend": "tensorflow"}))
    wp.convert(folder / "model.weights.h5", tmp_path / "model.onnx", architecture=tmp_path / "model.json")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    with np.load(folder / "recorded.npz") as recorded:
        (found,) = session.run(None, {session.get_inputs()[0].name: recorded["input"]})
        np.testing.assert_allclose(found, recorded["output"], rtol=1e-5)


def test_the_architecture_says_what_names_and_shapes_do_not():
    assert "hard_sigmoid" not in run("inspect", WEIGHTS)
    assert "recurrent_activation hard_sigmoid_0.2" in run("inspect", WEIGHTS, "--architecture", ARCHITECTURE)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (KERAS / "keras-1.2.2" / "sequence.h5", "says itself what its model is; leave out the architecture"),
        (
            KERAS / "netra-transliterate" / "bi_gru_attention_khmer_transliterator.keras",
            "says itself what its model is",
        ),
    ],
)
def test_an_architecture_that_is_not_needed_is_wrong_usage(tmp_path, source, message):
    with pytest.raises(wp.UsageError, match=message):
        wp.convert(source, tmp_path / "new.keras", architecture=ARCHITECTURE)


def test_an_architecture_for_weights_of_another_framework_is_wrong_usage(tmp_path):
    wp.convert(KERAS / "keras-2.12" / "model.keras", tmp_path / "m.pt")
    with pytest.raises(wp.UsageError, match="has no Keras weights"):
        wp.open(tmp_path / "m.pt", architecture=ARCHITECTURE)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("{", "not readable as JSON"),
        ("[]", "a JSON object was expected"),
        (json.dumps({"vocabulary": 7}), "no config of a Keras model, as model.to_json"),
    ],
)
def test_a_file_that_is_no_architecture_of_the_weights_is_one_line(tmp_path, said, message):
    (tmp_path / "model.json").write_text(said)
    with pytest.raises(wp.CheckpointError, match=message):
        wp.open(WEIGHTS, architecture=tmp_path / "model.json")


def test_an_architecture_of_another_keras_than_the_weights_is_refused(tmp_path):
    import h5py

    model = functional([input_layer("x", 4), layer("Dense", "dense", call("x"), units=3)], ["dense"])
    weights = {"dense": {"kernel:0": np.ones((4, 3), "float32"), "bias:0": np.ones(3, "float32")}}
    old = write_h5(tmp_path / "old.h5", model, weights, version="2.2.4")
    with h5py.File(old, "r+") as file:
        del file.attrs["model_config"]
    (tmp_path / "model.json").write_text(json.dumps({**model, "keras_version": "1.2.2"}))
    with pytest.raises(wp.CheckpointError, match=r"it is of Keras 1\.2\.2, and the weights are of Keras 2\.2\.4"):
        wp.open(old, architecture=tmp_path / "model.json")

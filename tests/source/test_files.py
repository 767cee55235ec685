"""``weightport convert model.keras model.py``: what it writes, what it refuses, and that PyTorch can export it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from keras import layers

import weightport as wp
from graph_checks import randomise, run_keras, values_for
from source_checks import assert_clean, loaded, run_source
from weightport.cli import cli

FIXTURES = Path(__file__).parents[2] / "fixtures" / "keras"
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
def recogniser():
    """A convolutional and recurrent model."""
    image = keras.Input((12, 9, 3), name="image")
    x = layers.MaxPooling2D()(layers.Conv2D(6, 3, padding="same", activation="relu", name="strokes")(image))
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Reshape((6, -1), name="columns")(x)
    x = layers.Bidirectional(layers.LSTM(5, return_sequences=True), name="reader")(x)
    return randomise(keras.Model(image, layers.Dense(4, activation="softmax", name="letters")(x), name="recogniser"))


def convert(*arguments, status=0):
    result = CliRunner().invoke(cli, ["convert", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result.output


def test_the_command_line_writes_a_module_and_its_weights(recogniser, tmp_path):
    recogniser.save(tmp_path / "model.keras")
    convert(tmp_path / "model.keras", tmp_path / "recogniser.py")
    assert {path.name for path in tmp_path.iterdir()} == {"model.keras", "recogniser.py", "recogniser.safetensors"}
    values = values_for(recogniser)
    found = run_source(tmp_path / "recogniser.py", recogniser, values)
    np.testing.assert_allclose(found[0], run_keras(recogniser, values)[0], rtol=0, atol=1e-5)
    assert {layer.name for layer in wp.open(tmp_path / "recogniser.safetensors").layers} >= {"strokes", "reader"}


def test_the_module_needs_torch_alone(recogniser, tmp_path):
    recogniser.save(tmp_path / "model.keras")
    convert(tmp_path / "model.keras", tmp_path / "recogniser.py")
    code = (
        "import sys, torch, recogniser; model = recogniser.load(); print(model(torch.zeros(2, 12, 9, 3)).shape);"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'weightport', 'keras', 'safetensors'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["torch.Size([2, 6, 4])", "[]"]


def test_a_dry_run_writes_nothing_and_an_existing_file_is_kept(recogniser, tmp_path):
    recogniser.save(tmp_path / "model.keras")
    convert(tmp_path / "model.keras", tmp_path / "model.py", "--dry-run")
    assert not (tmp_path / "model.py").exists()
    (tmp_path / "model.safetensors").write_text("precious")
    convert(tmp_path / "model.keras", tmp_path / "model.py")
    convert(tmp_path / "model.keras", tmp_path / "model.py", status=1)
    convert(tmp_path / "model.keras", tmp_path / "model.py", "--overwrite")
    assert (tmp_path / "model.safetensors").read_text() == "precious"
    (weights,) = (path.name for path in tmp_path.glob("model.*.safetensors"))
    assert weights in (tmp_path / "model.py").read_text()
    assert loaded(tmp_path / "model.py").load().letters.weight.isfinite().all()


def test_weights_without_a_model_and_source_as_a_source_are_refused(recogniser, tmp_path):
    recogniser.save_weights(tmp_path / "model.weights.h5")
    assert "weights only" in convert(tmp_path / "model.weights.h5", tmp_path / "model.py", status=1)
    (tmp_path / "other.py").write_text("import os")
    convert(tmp_path / "other.py", tmp_path / "model.pt", status=1)


@pytest.mark.parametrize("strict", [True, False])
def test_pytorch_exports_the_module_with_a_free_batch(recogniser, tmp_path, strict):
    recogniser.save(tmp_path / "model.keras")
    convert(tmp_path / "model.keras", tmp_path / "model.py")
    model = loaded(tmp_path / "model.py").load()
    values = torch.from_numpy(values_for(recogniser)["image"])
    program = torch.export.export(model, (values,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=strict)
    other = torch.from_numpy(values_for(recogniser, batch=5)["image"])
    torch.testing.assert_close(program.module()(other), model(other))


def test_pytorch_exports_a_recurrent_layer_that_it_does_not_have(tmp_path):
    steps = keras.Input((6, 4), name="steps")
    model = randomise(keras.Model(steps, layers.GRU(5, reset_after=False)(layers.Masking()(steps)), name="before"))
    model.save(tmp_path / "model.keras")
    convert(tmp_path / "model.keras", tmp_path / "model.py")
    emitted = loaded(tmp_path / "model.py").load()
    values = torch.from_numpy(values_for(model)["steps"])
    program = torch.export.export(emitted, (values,))
    torch.testing.assert_close(program.module()(values), emitted(values))
    compiled = torch.compile(emitted, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(values), emitted(values))


def test_the_real_transliterator_becomes_source_that_computes_the_same(tmp_path):
    source = next((FIXTURES / "netra-transliterate").glob("*.keras"))
    convert(source, tmp_path / "transliterator.py")
    model = keras.saving.load_model(source)
    random = np.random.default_rng(4)
    values = [random.integers(1, size, (3, time)) for size, time in ((28, 7), (81, 5))]
    expected = np.asarray(model([value.astype("float32") for value in values]))
    with torch.no_grad():
        found = loaded(tmp_path / "transliterator.py").load()(*map(torch.from_numpy, values))
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-5)
    assert_clean(tmp_path / "transliterator.py")
    assert (tmp_path / "transliterator.py").read_text() == (EXAMPLE / "transliterator.py").read_text()


def test_the_report_says_what_was_done_with_each_layer(recogniser, tmp_path):
    recogniser.save(tmp_path / "model.keras")
    result = CliRunner().invoke(cli, ["convert", str(tmp_path / "model.keras"), str(tmp_path / "m.py"), "--json"])
    report = json.loads(result.stdout)
    assert report["written"] and report["target_framework"] == "torch_source"
    assert [layer["sources"] for layer in report["layers"]] == [["strokes"], ["norm"], ["reader"], ["letters"]]

"""PyTorch source in ``convert --verify`` and ``verify``: it is run beside the model that it was made of."""

from __future__ import annotations

import keras
import pytest
from click.testing import CliRunner
from keras import layers

import weightport as wp
from graph_checks import randomise
from weightport.cli import cli
from weightport.graph import torch_registry


@pytest.fixture
def source(tmp_path):
    """A model with a convolution, and recurrent layers that ``nn.LSTM`` and ``nn.GRU`` cannot run."""
    sound = keras.Input((None, 4), name="sound")
    x = layers.Conv1D(6, 3, strides=2, padding="same", activation="relu", name="strokes")(sound)
    x = layers.LSTM(5, recurrent_activation="hard_sigmoid", return_sequences=True, name="reader")(x)
    x = layers.GRU(4, activation="relu", name="summary")(x)
    model = randomise(keras.Model(sound, layers.Dense(3, name="classes")(x), name="recogniser"))
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def command(*arguments, status=0):
    result = CliRunner().invoke(cli, [*map(str, arguments)])
    assert result.exit_code == status, result.output
    return result.output


def test_source_is_verified_before_it_becomes_the_target(source, tmp_path) -> None:
    output = command("convert", source, tmp_path / "recogniser.py", "--verify")
    assert "compute the same" in output
    assert "model: agrees" in output
    assert {path.name for path in tmp_path.iterdir()} == {"model.keras", "recogniser.py", "recogniser.safetensors"}


def test_source_that_computes_something_else_never_becomes_the_target(source, tmp_path, monkeypatch) -> None:
    def forgotten(context, operation):
        context.put(operation, context.get(operation))

    monkeypatch.setitem(torch_registry.REGISTRY.emitters, "activation", forgotten)
    assert "DIFFER" in command("convert", source, tmp_path / "wrong.py", "--verify", status=1)
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


def test_a_file_of_source_is_compared_layer_by_layer(source, tmp_path) -> None:
    wp.convert(source, tmp_path / "recogniser.py")
    parity = wp.verify(source, tmp_path / "recogniser.py")
    assert parity.passed
    assert {layer.name for layer in parity.layers} == {"strokes", "reader", "summary", "classes"}
    assert parity.other == str(tmp_path / "recogniser.py")


def test_a_change_in_the_source_is_found(source, tmp_path) -> None:
    path = tmp_path / "recogniser.py"
    wp.convert(source, path)
    path.write_text(path.read_text().replace("torch.relu(", "torch.tanh("))
    assert "DIFFER" in command("verify", source, path, status=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_that_name", "its load() gives no model: ModuleNotFoundError: No module named"),
        ("x = 1", "its load() gives no model: AttributeError"),
        (None, "no such file"),
    ],
)
def test_source_that_gives_no_model_is_one_line(text, message, source, tmp_path) -> None:
    if text is not None:
        (tmp_path / "broken.py").write_text(text)
    output = command("verify", source, tmp_path / "broken.py", status=2)
    assert message in output
    assert output.count("\n") == 1

"""The end of every report: how much was carried, folded, left behind and left as it was, and which settings differ."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

import weightport as wp

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")


def keras_lstm(tmp_path):
    model = keras.Sequential(
        [keras.Input((4, 3)), keras.layers.LSTM(5, name="rnn"), keras.layers.Dense(2, name="head")]
    )
    model.save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


def counts(coverage):
    return {how: (share["tensors"], share["elements"]) for how, share in asdict(coverage).items() if share["tensors"]}


def test_every_tensor_and_value_of_the_target_is_counted_once(tmp_path):
    report = wp.convert(keras_lstm(tmp_path), tmp_path / "m.pt")
    sizes = {"carried": 20 * 3 + 20 * 5 + 20 + 2 * 5 + 2, "constant": 20}
    assert counts(report.coverage) == {"carried": (5, sizes["carried"]), "constant": (1, sizes["constant"])}
    made = torch.load(tmp_path / "m.pt", weights_only=True)
    assert sum(tensor.numel() for tensor in made.values()) == sum(sizes.values())


def test_summed_biases_are_folded(tmp_path):
    into = keras_lstm(tmp_path)
    module = torch.nn.ModuleDict({"rnn": torch.nn.LSTM(3, 5, batch_first=True), "head": torch.nn.Linear(5, 2)})
    torch.save(module.state_dict(), tmp_path / "m.pt")
    report = wp.convert(tmp_path / "m.pt", tmp_path / "out.keras", into=into)
    assert counts(report.coverage) == {"carried": (4, 60 + 100 + 12), "folded": (1, 20)}


def test_what_is_left_behind_and_what_is_left_as_it_was(tmp_path, weightport):
    torch.save({"a.weight": torch.ones(3, 4), "extra.weight": torch.ones(7, 2)}, tmp_path / "a.pt")
    torch.save({"a.weight": torch.zeros(3, 4), "more.bias": torch.zeros(6)}, tmp_path / "b.pt")
    allowed = ("--allow-unused", "extra.*", "--allow-missing", "more.*")
    arguments = ("convert", tmp_path / "a.pt", tmp_path / "out.pt", "--into", tmp_path / "b.pt", *allowed)
    text = weightport(*arguments, "--dry-run").output
    assert (
        text.splitlines()[-1]
        == "Coverage: 1 tensors with 12 values carried, 0 (0) folded, 1 (14) unused, 1 (6) unfilled"
    )
    found = json.loads(weightport(*arguments, "--json").stdout)["coverage"]
    assert found["unused"] == {"tensors": 1, "elements": 14}
    assert found["unfilled"] == {"tensors": 1, "elements": 6}


def strided(padding, epsilon):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 7, 3)),
            layers.Conv2D(4, 3, strides=2, padding=padding, name="conv"),
            layers.BatchNormalization(epsilon=epsilon, name="norm"),
        ]
    )
    module = torch.nn.ModuleDict(
        {"conv": torch.nn.Conv2d(3, 4, 3, stride=2, padding=1), "norm": torch.nn.BatchNorm2d(4)}
    )
    return model, module


def test_settings_that_must_agree_and_do_not_are_listed_with_what_to_do(capsys):
    from weightport.show import console, show_report

    report = wp.convert(*strided("same", 1e-3))
    assert [line.split(":")[0] for line in report.disagreements] == ["conv", "norm", "norm"]
    padding, epsilon, momentum = report.disagreements
    assert "padding is same in the source, 1 in the target: the two pad differently" in padding
    assert "epsilon is 0.001 in the source, 1e-05 in the target: set it to one number in both models" in epsilon
    assert "momentum is 0.99 in the source" in momentum
    show_report(console(), report)
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("Settings that must agree between the two models and do not:")
    assert "conv: padding is same" in lines[at + 1]
    assert lines[-1].startswith("Coverage: ")


def test_padding_that_differs_makes_other_outputs_and_equal_settings_are_not_listed():
    """The difference that the report names is one that can be seen."""
    model, module = strided("same", 1e-5)
    report = wp.convert(model, module)
    assert not any("epsilon" in line for line in report.disagreements)
    inputs = np.random.default_rng(1).normal(size=(3, 8, 7, 3)).astype("float32")
    ours = np.asarray(model.get_layer("conv")(inputs))
    with torch.no_grad():
        theirs = module["conv"](torch.from_numpy(inputs).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() > 1e-2

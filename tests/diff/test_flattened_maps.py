"""Feature maps that are flattened: turned between channels-last and channels-first models, and told where not."""

from __future__ import annotations

import numpy as np
import pytest

import weightport as wp
from live_cases import randomise

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

HEIGHT, WIDTH, CHANNELS = 5, 4, 6


def models(seed=1):
    """A convolution whose map is flattened, a batch norm and a dense layer over it; and the same in PyTorch."""
    layers, nn = keras.layers, torch.nn
    model = keras.Sequential(
        [
            keras.Input((HEIGHT, WIDTH, 3)),
            layers.Conv2D(CHANNELS, (2, 3), name="conv"),
            layers.Flatten(),
            layers.BatchNormalization(name="norm"),
            layers.Dense(7, name="hidden"),
        ]
    )
    randomise(model.weights, seed)
    rows = int(model.get_layer("hidden").kernel.shape[0])
    twin = nn.Sequential()
    for name, module in (
        ("conv", nn.Conv2d(3, CHANNELS, (2, 3))),
        ("norm", nn.BatchNorm1d(rows, eps=1e-3)),
        ("hidden", nn.Linear(rows, 7)),
    ):
        twin.add_module(name, module)
    wp.convert(model, twin)
    return model, twin


def layer(found, name):
    return next(layer for layer in found.layers if layer.name == name)


def test_rows_that_were_turned_are_the_same():
    model, twin = models()
    found = wp.diff(model, twin)
    assert found.same, found
    assert "turned from channels last to channels first" in layer(found, "hidden").notes[0]
    other = np.array(twin.state_dict()["hidden.weight"])
    assert not np.array_equal(other, np.asarray(model.get_layer("hidden").kernel).T)


def test_rows_that_were_not_turned_are_said_to_be():
    model, twin = models()
    state = twin.state_dict()
    state["hidden.weight"] = torch.from_numpy(np.asarray(model.get_layer("hidden").kernel).T.copy())
    twin.load_state_dict(state)
    found = layer(wp.diff(model, twin), "hidden")
    assert found.diagnosis == (
        "equal if the flattened feature map of 8 places and 6 channels that in runs over was not turned from channels "
        "last to channels first",
    )
    assert {place.axes for role in found.roles for place in role.places} == {("out", "in_place", "in")}


def test_files_that_do_not_tell_are_not_the_same_until_a_mapping_file_tells(tmp_path):
    """Weights alone say nothing of what was flattened: equal numbers can mean different things."""
    model, twin = models()
    model.save_weights(tmp_path / "m.weights.h5")
    torch.save(twin.state_dict(), tmp_path / "m.pt")
    files = tmp_path / "m.weights.h5", tmp_path / "m.pt"
    assert not wp.diff(*files).same

    (tmp_path / "names.toml").write_text('[flatten]\n"norm" = [4, 2, 6]\n"hidden" = [4, 2, 6]\n')
    assert wp.diff(*files, mapping=tmp_path / "names.toml").same

    state = twin.state_dict()
    for name, array in {
        "hidden.weight": np.asarray(model.get_layer("hidden").kernel).T,
        "norm.weight": np.asarray(model.get_layer("norm").gamma),
        "norm.bias": np.asarray(model.get_layer("norm").beta),
        "norm.running_mean": np.asarray(model.get_layer("norm").moving_mean),
        "norm.running_var": np.asarray(model.get_layer("norm").moving_variance),
    }.items():
        state[name] = torch.from_numpy(array.copy())
    torch.save(state, tmp_path / "m.pt")
    found = wp.diff(*files)
    assert found.verdict == "incomplete"
    assert "neither file says whether they are a flattened map" in layer(found, "hidden").doubt
    assert layer(wp.diff(*files, mapping=tmp_path / "names.toml"), "hidden").verdict == "differing"

"""Where one side holds as one layer what the other splits: stacks of recurrent layers, nested models, groups."""

from __future__ import annotations

import numpy as np
import pytest

from live_cases import randomise

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

IN, UNIT, LAYERS = 4, 6, 3


def keras_stack(seed, *, bidirectional):
    """Three recurrent layers, one after the other."""
    layers = [keras.layers.GRU(UNIT, return_sequences=True) for _ in range(LAYERS)]
    if bidirectional:
        layers = [keras.layers.Bidirectional(layer) for layer in layers]
    model = keras.Sequential([keras.Input((None, IN)), *layers])
    randomise(model.weights, seed)
    return model


def torch_stack(*, bidirectional):
    """One module of three stacked layers."""
    module = torch.nn.Module()
    module.rnn = torch.nn.GRU(IN, UNIT, num_layers=LAYERS, batch_first=True, bidirectional=bidirectional)
    return module


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_stack_of_keras_layers_fills_one_torch_module_and_comes_back(bidirectional, tmp_path, weightport):
    model, module = keras_stack(1, bidirectional=bidirectional), torch_stack(bidirectional=bidirectional)
    model.save(tmp_path / "m.keras")
    torch.save(module.state_dict(), tmp_path / "twin.pt")
    weightport("convert", tmp_path / "m.keras", tmp_path / "m.pt", "--into", tmp_path / "twin.pt")
    module.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))

    inputs = np.random.default_rng(4).normal(size=(3, 5, IN)).astype("float32")
    with torch.no_grad():
        ours = module.rnn(torch.from_numpy(inputs))[0].numpy()
    np.testing.assert_allclose(ours, np.asarray(model(inputs)), rtol=0, atol=1e-5)

    keras_stack(2, bidirectional=bidirectional).save(tmp_path / "untrained.keras")
    weightport("convert", tmp_path / "m.pt", tmp_path / "back.keras", "--into", tmp_path / "untrained.keras")
    back = keras.saving.load_model(tmp_path / "back.keras")
    for one, other in zip(model.weights, back.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other), err_msg=one.path)


def test_layers_that_could_go_two_ways_are_an_error_that_names_them(tmp_path, weightport):
    """Two dense layers of one shape in files whose order is an alphabet: neither name nor shape tells them apart."""
    from safetensors.torch import save_file

    save_file({f"{name}.weight": torch.ones(4, 4) for name in ("left", "right")}, tmp_path / "m.safetensors")
    save_file({f"{name}.weight": torch.ones(4, 4) for name in ("one", "two")}, tmp_path / "twin.safetensors")
    output = weightport(
        "convert", tmp_path / "m.safetensors", tmp_path / "out.pt", "--into", tmp_path / "twin.safetensors", status=1
    )
    for name in ("left", "right", "one", "two", "--map"):
        assert name in output
    assert not (tmp_path / "out.pt").exists()


def test_a_nested_model_joins_names_with_dots(tmp_path, weightport):
    inner = keras.Sequential([keras.Input((8,)), keras.layers.Dense(6, name="first")], name="inner")
    outer = keras.Sequential([keras.Input((8,)), inner, keras.layers.Dense(5, name="head")])
    randomise(outer.weights, 3)
    outer.save(tmp_path / "m.keras")
    weightport("convert", tmp_path / "m.keras", tmp_path / "m.pt")
    state = torch.load(tmp_path / "m.pt", weights_only=True)
    assert list(state) == ["inner.first.weight", "inner.first.bias", "head.weight", "head.bias"]

"""Keras and PyTorch, both ways, by the command line: the converted layer computes what the original does."""

from __future__ import annotations

import numpy as np
import pytest

from live_cases import CASES, keras_model, run_keras, run_torch, tolerance, torch_module

pytest.importorskip("keras")
torch = pytest.importorskip("torch")

case_of = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def save_keras(model, path):
    """Save in the format that the suffix names; legacy files and weights have their own calls."""
    model.save_weights(path) if path.name.endswith(".weights.h5") else model.save(path)


def load_torch(path):
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, weights_only=True)


@case_of
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("source", "target"), [("m.keras", "m.safetensors"), ("m.h5", "m.pt")])
def test_keras_becomes_torch_without_a_template(case, dtype, source, target, tmp_path, weightport):
    model, twin = keras_model(case, dtype), torch_module(case, dtype)
    save_keras(model, tmp_path / source)
    if case.name == "rnn-stacked-cells":
        twin_file = tmp_path / "twin.pt"
        torch.save(twin.state_dict(), twin_file)
        weightport("convert", tmp_path / source, tmp_path / target, "--into", twin_file)
    else:
        weightport("convert", tmp_path / source, tmp_path / target)
    twin.load_state_dict(load_torch(tmp_path / target))
    inputs = case.input(dtype)
    np.testing.assert_allclose(run_torch(case, twin, inputs), run_keras(model, inputs), rtol=0, atol=tolerance(dtype))


@case_of
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("source", "target"), [("m.safetensors", "m.keras"), ("m.pt", "m.weights.h5"), ("m.pt", "m.h5")]
)
def test_torch_becomes_keras_into_an_untrained_model(case, dtype, source, target, tmp_path, weightport):
    import keras
    from safetensors.torch import save_file

    twin, model = torch_module(case, dtype), keras_model(case, dtype)
    save_file(twin.state_dict(), tmp_path / source) if source.endswith("safetensors") else torch.save(
        twin.state_dict(), tmp_path / source
    )
    template = tmp_path / f"untrained.{target.split('.', maxsplit=1)[1]}"
    save_keras(model, template)
    weightport("convert", tmp_path / source, tmp_path / target, "--into", template)
    fresh = keras_model(case, dtype, seed=5)
    if target.endswith(".weights.h5"):
        fresh.load_weights(tmp_path / target)
    else:
        fresh = keras.saving.load_model(tmp_path / target)
    inputs = case.input(dtype)
    np.testing.assert_allclose(run_keras(fresh, inputs), run_torch(case, twin, inputs), rtol=0, atol=tolerance(dtype))


@case_of
def test_keras_to_torch_and_back_into_the_original_is_bit_equal(case, tmp_path, weightport):
    model = keras_model(case)
    model.save(tmp_path / "m.keras")
    keras_model(case, seed=9).save(tmp_path / "other.keras")
    into = ()
    if case.name == "rnn-stacked-cells":
        torch.save(torch_module(case).state_dict(), tmp_path / "twin.pt")
        into = ("--into", tmp_path / "twin.pt")
    weightport("convert", tmp_path / "m.keras", tmp_path / "m.safetensors", *into)
    weightport("convert", tmp_path / "m.safetensors", tmp_path / "back.keras", "--into", tmp_path / "other.keras")
    import keras

    back = keras.saving.load_model(tmp_path / "back.keras")
    for ours, theirs in zip(model.weights, back.weights, strict=True):
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes(), ours.path


@case_of
def test_live_models_convert_in_place_both_ways(case):
    import weightport as wp

    model, twin = keras_model(case), torch_module(case)
    inputs = case.input("float32")
    before = run_torch(case, twin, inputs)
    wp.convert(model, twin)
    after = run_torch(case, twin, inputs)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, run_keras(model, inputs), rtol=0, atol=1e-5)
    other = keras_model(case, seed=11)
    wp.convert(twin, other)
    np.testing.assert_allclose(run_keras(other, inputs), after, rtol=0, atol=1e-5)

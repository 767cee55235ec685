"""Depthwise, separable and transposed convolutions, PReLU and EinsumDense, every way between the real frameworks."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import weightport as wp
from layer_cases import CONVOLUTIONS, OTHERS
from live_cases import keras_model, run_keras, run_torch, torch_module

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

CASES = [*CONVOLUTIONS, *OTHERS]
case_of = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
LIMIT = 1e-5


def assert_close(ours, theirs):
    """Of one shape, not all alike, and equal to float32's rounding."""
    assert ours.shape == theirs.shape
    assert theirs.std() > 1e-2
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=LIMIT * max(1.0, float(np.abs(theirs).max())))


def export(case, module, path):
    """The module as a graph that PyTorch's exporter makes."""
    inputs = case.turn_in(torch.from_numpy(case.input("float32"))).contiguous()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (inputs,), path, dynamo=False, input_names=["x"], output_names=["y"])


def run_onnx(case, path):
    """The graph's output, in Keras' order of axes."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = case.turn_in(torch.from_numpy(case.input("float32"))).contiguous().numpy()
    return case.turn_out(torch.from_numpy(session.run(None, {"x": inputs})[0])).numpy()


OLD_FORMAT = [case for case in CONVOLUTIONS if case.name in ("depthwise-1d", "separable-2d", "transposed-2d-same")]
FILES = [*((case, ".keras") for case in CASES), *((case, ".h5") for case in OLD_FORMAT)]


@pytest.mark.parametrize(("case", "suffix"), FILES, ids=lambda value: getattr(value, "name", value))
def test_keras_becomes_torch_without_a_template_and_comes_back_bit_equal(case, suffix, tmp_path, weightport):
    model, twin = keras_model(case), torch_module(case)
    model.save(tmp_path / f"m{suffix}")
    weightport("convert", tmp_path / f"m{suffix}", tmp_path / "m.pt")
    twin.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
    inputs = case.input("float32")
    assert_close(run_torch(case, twin, inputs), run_keras(model, inputs))

    keras_model(case, seed=9).save(tmp_path / f"other{suffix}")
    weightport("convert", tmp_path / "m.pt", tmp_path / f"back{suffix}", "--into", tmp_path / f"other{suffix}")
    back = keras.saving.load_model(tmp_path / f"back{suffix}")
    for ours, theirs in zip(model.weights, back.weights, strict=True):
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes(), ours.path


@case_of
def test_live_models_convert_in_place_both_ways(case):
    model, twin = keras_model(case), torch_module(case)
    inputs = case.input("float32")
    wp.convert(model, twin)
    assert_close(run_torch(case, twin, inputs), run_keras(model, inputs))
    twin, other = torch_module(case, seed=7), keras_model(case, seed=11)
    wp.convert(twin, other)
    assert_close(run_keras(other, inputs), run_torch(case, twin, inputs))


@case_of
def test_keras_becomes_onnx_and_onnx_becomes_keras(case, tmp_path, weightport):
    import onnx

    model = keras_model(case)
    model.save(tmp_path / "m.keras")
    export(case, torch_module(case), tmp_path / "untrained.onnx")
    weightport("convert", tmp_path / "m.keras", tmp_path / "m.onnx", "--into", tmp_path / "untrained.onnx")
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)
    assert_close(run_onnx(case, tmp_path / "m.onnx"), run_keras(model, case.input("float32")))

    keras_model(case, seed=5).save(tmp_path / "other.keras")
    weightport("convert", tmp_path / "m.onnx", tmp_path / "back.keras", "--into", tmp_path / "other.keras")
    back = keras.saving.load_model(tmp_path / "back.keras")
    for ours, theirs in zip(model.weights, back.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs), err_msg=ours.path)


@case_of
def test_torch_becomes_onnx_and_onnx_becomes_torch(case, tmp_path, weightport):
    twin = torch_module(case, seed=6)
    torch.save(twin.state_dict(), tmp_path / "m.pt")
    export(case, torch_module(case, seed=3), tmp_path / "untrained.onnx")
    weightport("convert", tmp_path / "m.pt", tmp_path / "m.onnx", "--into", tmp_path / "untrained.onnx")
    assert_close(run_onnx(case, tmp_path / "m.onnx"), run_torch(case, twin, case.input("float32")))

    torch.save(torch_module(case, seed=8).state_dict(), tmp_path / "other.pt")
    weightport("convert", tmp_path / "m.onnx", tmp_path / "back.pt", "--into", tmp_path / "other.pt")
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    for name, tensor in twin.state_dict().items():
        assert torch.equal(back[name], tensor), name

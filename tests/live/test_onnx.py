"""ONNX on either end, by the command line, run in ONNX Runtime. Graphs come from PyTorch's exporter, which renames and
packs the weights."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from live_cases import CASES, keras_model, run_keras, run_torch, torch_module

pytest.importorskip("keras")
torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

# ONNX splits what these hold as one: a convolution's graph is the same, a batch norm's layer has no counter.
case_of = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def export(case, module, path):
    """The module as an ONNX file, by PyTorch's exporter that needs nothing but PyTorch."""
    inputs = case.turn_in(torch.from_numpy(case.input("float32"))).contiguous()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (inputs,), path, dynamo=False, input_names=["x"], output_names=["y"])


def run_onnx(case, path):
    """The graph's output, in Keras' order of axes."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = case.turn_in(torch.from_numpy(case.input("float32"))).contiguous().numpy()
    return case.turn_out(torch.from_numpy(session.run(None, {"x": inputs})[0])).numpy()


@case_of
def test_keras_becomes_onnx_into_an_exported_graph(case, tmp_path, weightport):
    import onnx

    model = keras_model(case)
    model.save(tmp_path / "m.keras")
    export(case, torch_module(case), tmp_path / "untrained.onnx")
    weightport("convert", tmp_path / "m.keras", tmp_path / "m.onnx", "--into", tmp_path / "untrained.onnx")
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)
    expected = run_keras(model, case.input("float32"))
    np.testing.assert_allclose(run_onnx(case, tmp_path / "m.onnx"), expected, rtol=0, atol=1e-5)


@case_of
def test_onnx_becomes_torch_into_a_state_dict(case, tmp_path, weightport):
    export(case, torch_module(case, seed=4), tmp_path / "m.onnx")
    twin = torch_module(case, seed=8)
    torch.save(twin.state_dict(), tmp_path / "untrained.pt")
    missing = ("--allow-missing", "*num_batches_tracked") if case.name == "batch_norm" else ()
    weightport("convert", tmp_path / "m.onnx", tmp_path / "m.pt", "--into", tmp_path / "untrained.pt", *missing)
    twin.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
    expected = run_onnx(case, tmp_path / "m.onnx")
    np.testing.assert_allclose(run_torch(case, twin, case.input("float32")), expected, rtol=0, atol=1e-5)


@case_of
def test_torch_becomes_onnx_into_an_exported_graph(case, tmp_path, weightport):
    twin = torch_module(case, seed=6)
    torch.save(twin.state_dict(), tmp_path / "m.pt")
    export(case, torch_module(case, seed=3), tmp_path / "untrained.onnx")
    weightport("convert", tmp_path / "m.pt", tmp_path / "m.onnx", "--into", tmp_path / "untrained.onnx")
    expected = run_torch(case, twin, case.input("float32"))
    np.testing.assert_allclose(run_onnx(case, tmp_path / "m.onnx"), expected, rtol=0, atol=1e-5)


@case_of
def test_onnx_becomes_keras_into_an_untrained_model(case, tmp_path, weightport):
    import keras

    export(case, torch_module(case, seed=4), tmp_path / "m.onnx")
    keras_model(case, seed=5).save(tmp_path / "untrained.keras")
    weightport("convert", tmp_path / "m.onnx", tmp_path / "m.keras", "--into", tmp_path / "untrained.keras")
    model = keras.saving.load_model(tmp_path / "m.keras")
    expected = run_onnx(case, tmp_path / "m.onnx")
    np.testing.assert_allclose(run_keras(model, case.input("float32")), expected, rtol=0, atol=1e-5)

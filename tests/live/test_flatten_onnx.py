"""Flattened feature maps in ONNX graphs: the graph says what is flattened, and in which order, run in ONNX Runtime."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from flatten_models import MODELS, ChannelsLast, classifier, fill, inputs_of, run_torch
from live_cases import randomise, run_keras
from weightport import RefusedError, convert
from weightport import open as open_checkpoint

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
onnxruntime = pytest.importorskip("onnxruntime")

# A batch norm of PyTorch counts its batches, ONNX does not.
COUNTER = "*num_batches_tracked"


def export(module, model, path):
    """The twin of a Keras model as an ONNX file, whose batch is free."""
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "batch"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), (torch.from_numpy(inputs_of(model)),), path, dynamo=False, **names)


def run_onnx(path, inputs):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": inputs})[0]


def turned(report):
    return [layer for layer in report.layers if any("flattened map" in note for note in layer.notes)]


@pytest.mark.parametrize("name", MODELS)
def test_a_keras_model_fills_its_channels_first_graph_and_comes_back(name, tmp_path):
    model, module = MODELS[name][0]()
    randomise(model.weights, 1)
    model.save(tmp_path / "m.keras")
    export(fill(module), model, tmp_path / "untrained.onnx")
    report = convert(tmp_path / "m.keras", tmp_path / "m.onnx", into=tmp_path / "untrained.onnx")
    assert bool(turned(report)) == bool(MODELS[name][1])
    inputs = inputs_of(model)
    np.testing.assert_allclose(run_onnx(tmp_path / "m.onnx", inputs), run_keras(model, inputs), rtol=1e-5, atol=1e-5)

    MODELS[name][0]()[0].save(tmp_path / "untrained.keras")
    convert(tmp_path / "m.onnx", tmp_path / "back.keras", into=tmp_path / "untrained.keras")
    back = keras.saving.load_model(tmp_path / "back.keras")
    for ours, theirs in zip(back.weights, model.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs), err_msg=ours.path)


def test_a_graph_that_turns_its_axes_before_it_flattens_has_its_rows_as_keras_has(tmp_path):
    model, _ = classifier(9, 7, 4)
    randomise(model.weights, 2)
    model.save(tmp_path / "m.keras")
    export(fill(ChannelsLast(4, 36)), model, tmp_path / "untrained.onnx")
    report = convert(tmp_path / "m.keras", tmp_path / "m.onnx", into=tmp_path / "untrained.onnx")
    assert turned(report) == []
    inputs = inputs_of(model)
    np.testing.assert_allclose(run_onnx(tmp_path / "m.onnx", inputs), run_keras(model, inputs), rtol=1e-5, atol=1e-5)


def test_such_a_graph_into_a_channels_first_module_turns(tmp_path):
    model, module = classifier(8, 7, 9)
    export(fill(ChannelsLast(9, 81), seed=3), model, tmp_path / "m.onnx")
    report = convert(open_checkpoint(tmp_path / "m.onnx").contents.origin, module, allow_missing=[COUNTER])
    assert {layer.targets for layer in turned(report)} == {("norm",), ("hidden",)}
    inputs = inputs_of(model)
    np.testing.assert_allclose(run_torch(module, inputs), run_onnx(tmp_path / "m.onnx", inputs), rtol=1e-5, atol=1e-5)


def test_an_exported_graph_goes_back_into_its_module_untouched(tmp_path):
    model, module = classifier(9, 7, 4)
    export(fill(module), model, tmp_path / "m.onnx")
    other = fill(classifier(9, 7, 4)[1], seed=8)
    assert turned(convert(tmp_path / "m.onnx", other, allow_missing=[COUNTER])) == []
    for name, tensor in module.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_a_graph_that_flattens_in_no_order_is_refused_where_the_other_side_has_another(tmp_path):
    class Halfway(ChannelsLast):
        def forward(self, x):
            x = torch.nn.functional.max_pool2d(torch.relu(self.conv(x.permute(0, 3, 1, 2))), 2)
            return self.head(self.hidden(self.norm(x.permute(0, 2, 1, 3).flatten(1))))

    model, _ = classifier(9, 7, 4)
    export(fill(Halfway(4, 36)), model, tmp_path / "m.onnx")
    with pytest.raises(RefusedError, match="whose channels stand between its places"):
        convert(tmp_path / "m.onnx", model)

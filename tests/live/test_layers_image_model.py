"""An image model of every kind of convolution, and its twin as someone else wrote it: other names, channels first."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from live_cases import randomise

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

SHAPE = (12, 10, 3)


def keras_image_model(seed):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(8, 3, name="stem"),
            layers.BatchNormalization(name="stem_norm", epsilon=1e-5),
            layers.PReLU(shared_axes=(1, 2), name="stem_act"),
            layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="spread"),
            layers.Conv2D(8, 1, name="squeeze"),
            layers.SeparableConv2D(6, (3, 2), name="mix"),
            layers.Conv2DTranspose(8, 2, strides=2, name="grow"),
            layers.Conv2D(5, 3, name="sharpen"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, name="head"),
        ]
    )
    randomise(model.weights, seed)
    return model


class ImageModel(torch.nn.Module):
    """The twin."""

    def __init__(self):
        super().__init__()
        nn = torch.nn
        self.entry = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(8))
        self.body = nn.Sequential(nn.Conv2d(8, 16, 3, groups=8, bias=False), nn.Conv2d(16, 8, 1))
        self.dw = nn.Conv2d(8, 8, (3, 2), groups=8, bias=False)
        self.pw = nn.Conv2d(8, 6, 1)
        self.up = nn.ConvTranspose2d(6, 8, 2, stride=2)
        self.last = nn.Conv2d(8, 5, 3)
        self.classifier = nn.Linear(5, 4)

    def forward(self, x):
        x = self.last(self.up(self.pw(self.dw(self.body(self.entry(x))))))
        return self.classifier(x.mean(dim=(2, 3)))


def torch_image_model(seed):
    torch.manual_seed(seed)
    module = ImageModel().eval()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.uniform_(0.2, 0.6) if "var" in name else tensor.uniform_(-0.6, 0.6)
    return module


def images():
    return np.random.default_rng(8).normal(size=(3, *SHAPE)).astype("float32")


def run_torch(module):
    with torch.no_grad():
        return module(torch.from_numpy(images()).movedim(-1, 1).contiguous()).numpy()


def assert_close(ours, theirs):
    assert theirs.std() > 1e-2
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1.0, float(np.abs(theirs).max())))


def test_keras_goes_into_the_hand_written_module(tmp_path, weightport):
    model, module = keras_image_model(1), torch_image_model(2)
    model.save(tmp_path / "m.keras")
    torch.save(module.state_dict(), tmp_path / "twin.pt")
    weightport("convert", tmp_path / "m.keras", tmp_path / "m.pt", "--into", tmp_path / "twin.pt")
    module.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
    assert_close(run_torch(module), np.asarray(model(images(), training=False)))


def test_the_hand_written_module_goes_into_keras(tmp_path, weightport):
    module = torch_image_model(3)
    torch.save(module.state_dict(), tmp_path / "m.pt")
    keras_image_model(4).save(tmp_path / "untrained.keras")
    weightport("convert", tmp_path / "m.pt", tmp_path / "m.keras", "--into", tmp_path / "untrained.keras")
    model = keras.saving.load_model(tmp_path / "m.keras")
    assert_close(np.asarray(model(images(), training=False)), run_torch(module))


def test_keras_goes_into_the_graph_that_pytorch_exports(tmp_path, weightport):
    model = keras_image_model(5)
    model.save(tmp_path / "m.keras")
    inputs = torch.from_numpy(images()).movedim(-1, 1).contiguous()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"do_constant_folding": False, "training": torch.onnx.TrainingMode.PRESERVE}
        torch.onnx.export(
            torch_image_model(6), (inputs,), tmp_path / "t.onnx", dynamo=False, input_names=["x"], **options
        )
    weightport("convert", tmp_path / "m.keras", tmp_path / "m.onnx", "--into", tmp_path / "t.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    assert_close(session.run(None, {"x": inputs.numpy()})[0], np.asarray(model(images(), training=False)))

"""What is right is the same, over many random models; what is wrong in an unusual way is explained by nothing."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import weightport as wp
from live_cases import CASES, keras_model, randomise, torch_module

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

TIME = 5
NOTHING = ("no usual mistake explains it",)


def random_keras_model(seed):
    """Up to five layers of random kinds and sizes; sizes of neighbours are often equal."""
    generator = np.random.default_rng(seed)
    layers = keras.layers

    def recurrent():
        kind = generator.choice([layers.LSTM, layers.GRU, layers.SimpleRNN])
        options = {"use_bias": bool(generator.integers(4))}
        layer = kind(int(generator.integers(2, 5)), return_sequences=True, **options)
        return layers.Bidirectional(layer) if generator.integers(2) else layer

    makers = [
        recurrent,
        recurrent,
        lambda: layers.Dense(int(generator.integers(2, 5)), use_bias=bool(generator.integers(3))),
        lambda: layers.Conv1D(int(generator.integers(2, 5)), int(generator.integers(1, 4)), padding="same"),
        layers.BatchNormalization,
        layers.LayerNormalization,
    ]
    chosen = [makers[generator.integers(len(makers))]() for _ in range(generator.integers(1, 6))]
    model = keras.Sequential([keras.Input((TIME, 4)), *chosen])
    randomise(model.weights, seed)
    return model


class Chain(torch.nn.Module):
    """Layers one after the other, channels last between them."""

    def __init__(self, seed):
        super().__init__()
        generator = np.random.default_rng(seed)
        self.layers, size = torch.nn.ModuleList(), 4
        for _ in range(generator.integers(1, 5)):
            made = int(generator.integers(2, 5))
            kind = generator.integers(6)
            both = bool(generator.integers(2))
            if kind < 3:
                recurrent = (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN)[kind]
                layers = int(generator.integers(1, 3))
                self.layers.append(recurrent(size, made, layers, batch_first=True, bidirectional=both))
                size = made * (1 + both)
            elif kind == 3:
                self.layers.append(torch.nn.Linear(size, made, bias=both))
                size = made
            else:
                self.layers.append(torch.nn.Conv1d(size, made, 3) if kind == 4 else torch.nn.LayerNorm(size))
                size = made if kind == 4 else size
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_()

    def forward(self, x):
        for layer in self.layers:
            if isinstance(layer, torch.nn.RNNBase):
                x = layer(x)[0]
            else:
                x = layer(x.transpose(1, 2)).transpose(1, 2) if isinstance(layer, torch.nn.Conv1d) else layer(x)
        return x


@pytest.mark.parametrize("first", range(0, 40, 20))
def test_a_converted_keras_model_is_the_same_as_the_original(first, tmp_path):
    for seed in range(first, first + 20):
        model = random_keras_model(seed)
        model.save(tmp_path / "m.keras")
        wp.convert(tmp_path / "m.keras", tmp_path / "m.safetensors", overwrite=True)
        for a, b in ((model, tmp_path / "m.safetensors"), (tmp_path / "m.safetensors", tmp_path / "m.keras")):
            found = wp.diff(a, b)
            assert found.same, (seed, found)
            assert sum(layer.elements for layer in found.layers) > 0
            assert not any(layer.settings for layer in found.layers if layer.kind != "batch_norm"), (seed, found)


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_what_the_exporter_of_pytorch_wrote_is_the_same_as_the_module(first, tmp_path):
    """No conversion of ours: PyTorch's own exporter renames, transposes and packs the weights."""
    for seed in range(first, first + 20):
        module = Chain(seed).eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module, (torch.zeros(3, 12, 4),), tmp_path / "m.onnx", dynamo=False)
        found = wp.diff(module, tmp_path / "m.onnx")
        assert found.same, (seed, found)
        assert not any(layer.settings for layer in found.layers), (seed, found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_other_weights_are_explained_by_no_usual_mistake(case):
    model = keras_model(case)
    for seed in range(3):
        (layer,) = wp.diff(model, torch_module(case, seed=seed)).layers
        assert layer.verdict == "differing"
        assert layer.diagnosis == NOTHING, seed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("spoil", ["one value", "a little noise", "two rows exchanged"])
def test_near_misses_are_explained_by_no_usual_mistake(case, spoil):
    """One value changed, a step of training, two rows in each other's place."""
    model, twin = keras_model(case), torch_module(case)
    wp.convert(model, twin)
    generator = np.random.default_rng(1)
    with torch.no_grad():
        name, tensor = max(twin.named_parameters(), key=lambda item: item[1].numel())
        array = tensor.numpy().copy()
        if spoil == "one value":
            array.reshape(-1)[3] += 0.25
        elif spoil == "a little noise":
            array += generator.normal(size=array.shape) * 1e-3
        else:
            array[[0, 1]] = array[[1, 0]]
        assert not np.array_equal(array, tensor.numpy()), name
        tensor.copy_(torch.from_numpy(array))
    (layer,) = wp.diff(model, twin).layers
    assert layer.verdict == "differing"
    assert layer.diagnosis == NOTHING


def test_layers_in_each_others_place_are_named(tmp_path):
    model = keras.Sequential([keras.Input((6,)), *[keras.layers.Dense(6, name=f"block{i}") for i in range(4)]])
    randomise(model.weights, 3)
    model.save(tmp_path / "m.keras")
    wp.convert(tmp_path / "m.keras", tmp_path / "m.pt")
    state = torch.load(tmp_path / "m.pt", weights_only=True)
    for name in ("weight", "bias"):
        state[f"block1.{name}"], state[f"block2.{name}"] = state[f"block2.{name}"], state[f"block1.{name}"]
        state[f"block3.{name}"] = state[f"block0.{name}"]
    torch.save(state, tmp_path / "spoilt.pt")
    said = {layer.name: layer.diagnosis for layer in wp.diff(tmp_path / "m.keras", tmp_path / "spoilt.pt").layers}
    assert said == {
        "block0": (),
        "block1": ("equal if the layers block1 and block2 of B are exchanged",),
        "block2": ("equal if the layers block2 and block1 of B are exchanged",),
        "block3": ("block3 of B holds block0 of A, which belongs into block0",),
    }


@pytest.mark.parametrize(
    ("shape", "spoil", "words"),
    [
        (
            (6, 24),
            lambda w: w.reshape(6, 6, 4).transpose(0, 2, 1).reshape(6, 24),
            "equal if in (24 values) follows (6, 4)",
        ),
        ((12, 12), lambda w: w.T, "equal if weight is transposed (out and in are exchanged)"),
        ((12, 12), lambda w: w[:, ::-1], "equal if in is reversed"),
        ((6, 24), lambda w: w + 1e-3 * np.cos(w), "no usual mistake explains it"),
    ],
)
def test_of_a_large_layer_the_first_rows_are_looked_at(shape, spoil, words, tmp_path, monkeypatch):
    monkeypatch.setattr("weightport.diagnosis.LARGEST", 100)
    weight = np.random.default_rng(4).normal(size=shape).astype("float32")
    bias = np.arange(shape[0], dtype="float32")
    torch.save({"x.weight": torch.from_numpy(weight), "x.bias": torch.from_numpy(bias)}, tmp_path / "a.pt")
    spoilt = torch.from_numpy(np.ascontiguousarray(spoil(weight)).astype("float32"))
    torch.save({"x.weight": spoilt, "x.bias": torch.from_numpy(bias)}, tmp_path / "b.pt")
    (layer,) = wp.diff(tmp_path / "a.pt", tmp_path / "b.pt").layers
    (said,) = layer.diagnosis
    assert said.startswith(words)
    assert "; only the first" in said
    assert said.endswith("was looked at")

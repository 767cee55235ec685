"""Tied tensors, one under two names: filled once under both, one source for two places, and never with two values."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from live_cases import randomise
from weightport import RefusedError, convert

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
nn = torch.nn


class Speaker(nn.Module):
    """The output matrix is the embedding's, as language models have it."""

    def __init__(self, *, tied=True):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.head = nn.Linear(6, 11, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, x):
        return self.head(torch.tanh(self.embed(x)))


def tied_keras():
    source = keras.Input((None,), dtype="int32")
    embedding = keras.layers.ReversibleEmbedding(11, 6, tie_weights=True, name="words")
    model = keras.Model(source, embedding(keras.ops.tanh(embedding(source)), reverse=True))
    randomise(model.weights, 1)
    return model


def untied_keras(*, equal):
    source = keras.Input((None,), dtype="int32")
    hidden = keras.layers.Activation("tanh")(keras.layers.Embedding(11, 6, name="words")(source))
    model = keras.Model(source, keras.layers.Dense(11, use_bias=False, name="vocabulary")(hidden))
    randomise(model.weights, 2)
    if equal:
        model.get_layer("vocabulary").kernel.assign(np.asarray(model.get_layer("words").embeddings).T)
    return model


def outputs(model, module):
    tokens = np.random.default_rng(4).integers(0, 11, (3, 5))
    with torch.no_grad():
        return np.asarray(model(tokens)), module.eval()(torch.from_numpy(tokens)).numpy()


def assert_alike(model, module):
    ours, theirs = outputs(model, module)
    assert ours.std() > 1e-3
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [tied_keras, lambda: untied_keras(equal=True)], ids=["tied", "apart-but-equal"])
def test_a_tied_module_is_filled_and_stays_tied(make):
    model, module = make(), Speaker()
    convert(model, module)
    assert module.head.weight is module.embed.weight
    assert_alike(model, module)


def test_a_tied_file_is_filled_under_both_names(tmp_path):
    model, module = tied_keras(), Speaker()
    model.save(tmp_path / "m.keras")
    torch.save(Speaker().state_dict(), tmp_path / "twin.pt")
    convert(tmp_path / "m.keras", tmp_path / "m.pt", into=tmp_path / "twin.pt")
    state = torch.load(tmp_path / "m.pt", weights_only=True)
    assert set(state) == {"embed.weight", "head.weight"}
    module.load_state_dict(state)
    assert_alike(model, module)


@pytest.mark.parametrize("make", [tied_keras, lambda: untied_keras(equal=False)], ids=["tied", "apart"])
def test_a_tied_source_fills_one_layer_or_two(make, tmp_path):
    model, module = make(), Speaker()
    torch.save(module.state_dict(), tmp_path / "m.pt")
    model.save(tmp_path / "untrained.keras")
    convert(tmp_path / "m.pt", tmp_path / "out.keras", into=tmp_path / "untrained.keras")
    assert_alike(keras.saving.load_model(tmp_path / "out.keras"), module)


def test_two_values_for_one_tensor_are_refused():
    model, module = untied_keras(equal=False), Speaker()
    before = module.embed.weight.detach().clone()
    with pytest.raises(RefusedError, match=r"embed\.weight and head\.weight are one tensor, and the source has two"):
        convert(model, module)
    assert torch.equal(module.embed.weight, before)


def test_two_values_for_one_initializer_are_refused(tmp_path):
    path = tmp_path / "tied.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Speaker(), (torch.zeros(3, 5, dtype=torch.int64),), path, dynamo=False, do_constant_folding=False
        )
    torch.save(Speaker(tied=False).state_dict(), tmp_path / "apart.pt")
    with pytest.raises(RefusedError, match="one tensor"):
        convert(tmp_path / "apart.pt", tmp_path / "out.onnx", into=path)
    torch.save(Speaker().state_dict(), tmp_path / "tied.pt")
    convert(tmp_path / "tied.pt", tmp_path / "out.onnx", into=path)

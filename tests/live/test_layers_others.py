"""Layers that one framework has and another spells otherwise: cells, bags, reversible embeddings, grouped kernels."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import weightport as wp
from live_cases import BATCH, IN, TIME, UNIT, randomise
from weightport import RefusedError

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

RECURRENT = {"LSTM": "LSTMCell", "GRU": "GRUCell", "SimpleRNN": "RNNCell"}
TOKENS, FEATURES = 9, 6


def values(*shape):
    return np.random.default_rng(7).normal(size=shape).astype("float32")


def one_layer(layer, shape, dtype="float32", seed=1):
    """A Keras model of one layer called ``layer``."""
    layer.name = "layer"
    model = keras.Sequential([keras.Input(shape, dtype=dtype), layer])
    randomise(model.weights, seed)
    return model


def holder(child, seed=2):
    """A module with one child called ``layer``, random biases included."""
    torch.manual_seed(seed)
    module = torch.nn.Module()
    module.layer = child
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-0.6, 0.6)
    return module.eval()


def step_by_step(cell, inputs):
    """What a cell gives out over a sequence, from zeros on."""
    state, outputs = None, []
    for step in inputs.unbind(1):
        state = cell(step, state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("kind", list(RECURRENT))
def test_a_cell_that_a_loop_calls_is_a_keras_layer_and_back(kind, tmp_path, weightport):
    model = one_layer(getattr(keras.layers, kind)(UNIT, return_sequences=True), (TIME, IN))
    module = holder(getattr(torch.nn, RECURRENT[kind])(IN, UNIT))
    inputs = values(BATCH, TIME, IN)
    wp.convert(model, module)
    with torch.no_grad():
        found = step_by_step(module.layer, torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(found, np.asarray(model(inputs)), rtol=0, atol=1e-5)

    torch.save(module.state_dict(), tmp_path / "m.pt")
    one_layer(getattr(keras.layers, kind)(UNIT, return_sequences=True), (TIME, IN), seed=5).save(tmp_path / "t.keras")
    weightport("convert", tmp_path / "m.pt", tmp_path / "m.keras", "--into", tmp_path / "t.keras")
    back = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(np.asarray(back(inputs)), found, rtol=0, atol=1e-5)


def test_a_projected_lstm_is_carried_in_pytorch_and_refused_where_there_is_no_place(tmp_path, weightport):
    module = holder(torch.nn.LSTM(IN, UNIT, proj_size=2, batch_first=True))
    torch.save(module.state_dict(), tmp_path / "m.pt")
    other = holder(torch.nn.LSTM(IN, UNIT, proj_size=2, batch_first=True), seed=3)
    torch.save({f"rnn.{name}": tensor for name, tensor in other.layer.state_dict().items()}, tmp_path / "t.pt")
    weightport("convert", tmp_path / "m.pt", tmp_path / "out.pt", "--into", tmp_path / "t.pt")
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    for name, tensor in module.layer.state_dict().items():
        assert torch.equal(found[f"rnn.{name}"], tensor), name
    one_layer(keras.layers.LSTM(UNIT), (TIME, IN)).save(tmp_path / "t.keras")
    output = weightport("convert", tmp_path / "m.pt", tmp_path / "m.keras", "--into", tmp_path / "t.keras", status=1)
    assert "hidden" in output or "projection" in output


def test_a_bag_goes_into_an_embedding_only_where_the_user_combines_its_rows(tmp_path):
    bag = holder(torch.nn.EmbeddingBag(TOKENS, FEATURES, mode="mean"))
    model = one_layer(keras.layers.Embedding(TOKENS, FEATURES), (TIME,), "int32")
    with pytest.raises(RefusedError, match=r"combine is mean, and keras\.embedding can only be none; --allow combine"):
        wp.convert(bag, model)
    wp.convert(bag, model, allow=["combine"])
    tokens = np.random.default_rng(3).integers(0, TOKENS, (BATCH, TIME))
    with torch.no_grad():
        expected = bag.layer(torch.from_numpy(tokens)).numpy()
    np.testing.assert_allclose(np.asarray(model(tokens)).mean(axis=1), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("tied", [True, False])
def test_a_reversible_embedding_is_an_embedding_and_where_it_is_not_tied_a_dense_layer(tied, tmp_path, weightport):
    layer = keras.layers.ReversibleEmbedding(TOKENS, FEATURES, tie_weights=tied)
    model = one_layer(layer, (TIME,), "int32")
    model.save(tmp_path / "m.keras")
    weightport("convert", tmp_path / "m.keras", tmp_path / "m.pt")
    state = torch.load(tmp_path / "m.pt", weights_only=True)
    assert list(state) == ["layer.weight", *([] if tied else ["layer.reverse.weight"])]

    tokens, rows = np.random.default_rng(3).integers(0, TOKENS, (BATCH, TIME)), values(BATCH, TIME, FEATURES)
    embedded = torch.nn.functional.embedding(torch.from_numpy(tokens), state["layer.weight"])
    np.testing.assert_allclose(embedded, np.asarray(model(tokens)), rtol=0, atol=1e-6)
    back_weight = state["layer.weight" if tied else "layer.reverse.weight"]
    projected = torch.nn.functional.linear(torch.from_numpy(rows), back_weight)
    np.testing.assert_allclose(projected, np.asarray(layer(rows, reverse=True)), rtol=0, atol=1e-5)

    other = one_layer(keras.layers.ReversibleEmbedding(TOKENS, FEATURES, tie_weights=tied), (TIME,), "int32", seed=4)
    other.save(tmp_path / "t.keras")
    weightport("convert", tmp_path / "m.pt", tmp_path / "back.keras", "--into", tmp_path / "t.keras")
    back = keras.saving.load_model(tmp_path / "back.keras")
    for ours, theirs in zip(model.weights, back.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs), err_msg=ours.path)


@pytest.mark.parametrize("groups", [2, 4])
def test_grouped_transposed_convolutions_go_to_onnx_and_back(groups, tmp_path, weightport):
    def module(seed):
        return holder(torch.nn.ConvTranspose2d(4, 8, (3, 2), stride=2, padding=1, groups=groups), seed)

    source, inputs = module(1), torch.from_numpy(values(BATCH, 4, 5, 6))
    torch.save(source.state_dict(), tmp_path / "m.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module(2).layer, (inputs,), tmp_path / "t.onnx", dynamo=False, input_names=["x"])
    weightport("convert", tmp_path / "m.pt", tmp_path / "m.onnx", "--into", tmp_path / "t.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = source.layer(inputs).numpy()
    np.testing.assert_allclose(session.run(None, {"x": inputs.numpy()})[0], expected, rtol=0, atol=1e-5)
    torch.save(module(3).state_dict(), tmp_path / "other.pt")
    weightport("convert", tmp_path / "m.onnx", tmp_path / "back.pt", "--into", tmp_path / "other.pt")
    for name, tensor in torch.load(tmp_path / "back.pt", weights_only=True).items():
        assert torch.equal(tensor, source.state_dict()[name]), name


def test_a_grouped_transposed_convolution_is_refused_where_there_are_no_groups(tmp_path):
    model = one_layer(keras.layers.Conv2DTranspose(4, 3), (5, 6, 4))
    with pytest.raises(RefusedError):
        wp.convert(holder(torch.nn.ConvTranspose2d(4, 4, 3, groups=2)), model)


def test_a_bilinear_module_fills_another_of_other_names(tmp_path, weightport):
    source, target = holder(torch.nn.Bilinear(3, 4, 5), 1), holder(torch.nn.Bilinear(3, 4, 5), 2)
    torch.save(source.state_dict(), tmp_path / "m.pt")
    torch.save({f"score.{name}": tensor for name, tensor in target.layer.state_dict().items()}, tmp_path / "t.pt")
    weightport("convert", tmp_path / "m.pt", tmp_path / "out.pt", "--into", tmp_path / "t.pt")
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    assert torch.equal(found["score.weight"], source.layer.weight)
    assert torch.equal(found["score.bias"], source.layer.bias)


def test_a_slope_at_every_place_is_refused_by_a_module_of_one_a_channel(tmp_path):
    model = one_layer(keras.layers.PReLU(), (5, 3, 4))
    with pytest.raises(RefusedError, match="layer"):
        wp.convert(model, holder(torch.nn.PReLU(4)))


def test_a_convolutional_lstm_has_no_module_in_pytorch_and_is_refused_by_name(tmp_path, weightport):
    one_layer(keras.layers.ConvLSTM2D(3, 2), (TIME, 6, 5, 4)).save(tmp_path / "m.keras")
    output = weightport("convert", tmp_path / "m.keras", tmp_path / "m.pt", status=1)
    assert "layer: torch has no layer of the kind conv_lstm" in output

"""Whole Keras models against hand-written PyTorch twins: a mistake in one layer is named there and nowhere else.

The twins have other names, another grouping and channels first; the mistake is planted in the twin's state dict.
"""

from __future__ import annotations

import pytest

import weightport as wp
from hand_written import TWINS
from live_cases import randomise
from mistakes import each_block, every, gates, swapped

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

PLANTED = {
    "rows of the first dense layer not turned": (
        "classifier",
        "head.0.",
        every(lambda array: array.reshape(9, 8, 10).swapaxes(1, 2).reshape(9, 80), "weight"),
        {"dense": "equal if the flattened feature map of 10 places and 8 channels that in runs over was not turned"},
    ),
    "mean and variance exchanged": (
        "classifier",
        "body.1.norm.",
        swapped("running_mean", "running_var"),
        {"batch_normalization_1": "equal if running_mean and running_variance are exchanged"},
    ),
    "colours of the first convolution": (
        "classifier",
        "body.0.filter.",
        every(lambda array: array[:, ::-1]),
        {"conv2d": "equal if in is reversed (RGB on one side, BGR on the other)"},
    ),
    "gates of the second of two stacked layers": (
        "speech",
        "rnn.",
        gates([0, 1, 3, 2], only="_l1"),
        {"bidirectional + bidirectional_1": "equal if gates candidate and output are swapped, in layer 1 only"},
    ),
    "directions of a stack": (
        "speech",
        "rnn.",
        swapped("l0_reverse", "l0"),
        {
            "bidirectional + bidirectional_1": "equal if directions forward and backward are swapped, in layer 0 only",
        },
    ),
    "encoder and decoder exchanged": (
        "translator",
        "",
        swapped("encoder.lstm", "decoder.lstm"),
        {
            "encoder_lstm": "equal if the layers encoder.lstm and decoder.lstm of B are exchanged",
            "decoder_lstm": "equal if the layers decoder.lstm and encoder.lstm of B are exchanged",
        },
    ),
    "context and state joined in the other order": (
        "translator",
        "mix.",
        gates([1, 0], only="weight", axis=1),
        {"combine": "equal if the first 6 values along in come last in B: two parts that are joined"},
    ),
    "bias halves of a shared layer": (
        "siamese",
        "shared.gru.",
        swapped("bias_ih", "bias_hh"),
        {"tower.reader": "equal if sides input and recurrent of bias are swapped"},
    ),
    "update gate turned": (
        "siamese",
        "shared.gru.",
        every(each_block(3, lambda index, block: -block if index == 1 else block)),
        {"tower.reader": "equal if the sign of gate update is turned"},
    ),
    "queries and keys of one block": (
        "transformer",
        "layers.1.attn.",
        gates([1, 0, 2], only="in_proj"),
        {"block_1_attention": "equal if query_weight and key_weight, query_bias and key_bias are exchanged"},
    ),
    "blocks exchanged": (
        "transformer",
        "",
        swapped("layers.0.mlp.up", "layers.2.mlp.up"),
        {
            "block_0_mlp_up": "equal if the layers layers.0.mlp.up and layers.2.mlp.up of B are exchanged",
            "block_2_mlp_up": "equal if the layers layers.2.mlp.up and layers.0.mlp.up of B are exchanged",
        },
    ),
}


def right(name):
    """A Keras model and its twin with the same weights."""
    keras.utils.clear_session()
    twins = TWINS[name]
    model, twin = twins.keras(), twins.torch().eval()
    randomise(model.weights, 1)
    wp.convert(model, twin)
    return model, twin


@pytest.mark.parametrize("name", TWINS)
def test_a_model_and_its_twin_are_the_same_as_files_and_live(name, tmp_path):
    model, twin = right(name)
    model.save(tmp_path / "m.keras")
    torch.save(twin.state_dict(), tmp_path / "m.pt")
    for a, b in ((model, twin), (tmp_path / "m.keras", tmp_path / "m.pt"), (twin, tmp_path / "m.keras")):
        found = wp.diff(a, b)
        assert found.same, found
        assert sum(layer.elements for layer in found.layers) > 300


@pytest.mark.parametrize("planted", PLANTED)
def test_a_mistake_in_one_layer_is_named_there_and_nowhere_else(planted, tmp_path):
    name, prefix, mistake, expected = PLANTED[planted]
    model, twin = right(name)
    state = {key: tensor.numpy().copy() for key, tensor in twin.state_dict().items()}
    own = {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}
    mistake(own)
    state |= {prefix + key: array for key, array in own.items()}
    model.save(tmp_path / "m.keras")
    torch.save({key: torch.from_numpy(array) for key, array in state.items()}, tmp_path / "spoilt.pt")
    said = {layer.a: layer.diagnosis for layer in wp.diff(tmp_path / "m.keras", tmp_path / "spoilt.pt").layers}
    assert {layer for layer, sentences in said.items() if sentences} == set(expected)
    for layer, words in expected.items():
        assert len(said[layer]) == 1, said[layer]
        assert said[layer][0].startswith(words), said[layer]

"""Recurrent layers as PyTorch source against Keras: every cell, direction, merge mode, output, mask and activation."""

from __future__ import annotations

import re
from itertools import cycle

import keras
import numpy as np
import pytest
from keras import layers

from graph_checks import randomise
from source_checks import assert_same_source

CELLS = {
    "lstm": layers.LSTM,
    "gru-after": lambda units, **more: layers.GRU(units, reset_after=True, **more),
    "gru-before": lambda units, **more: layers.GRU(units, reset_after=False, **more),
    "rnn": layers.SimpleRNN,
}
OUTPUTS = {
    "last": {},
    "sequences": {"return_sequences": True},
    "states": {"return_sequences": True, "return_state": True},
}
MERGE_MODES = ("concat", "sum", "ave", "mul", None)
ACTIVATIONS = ("tanh", "sigmoid", "relu", "hard_sigmoid", "linear", "elu", "softsign", "softplus", "silu")
GATES = ("sigmoid", "hard_sigmoid", "tanh", "softsign")
TIME, IN, UNITS = 6, 4, 5


def steps(masked):
    """Sequences of which some steps are zeros, which Masking masks: at the end, at the start, between, and all."""
    values = np.random.default_rng(3).normal(size=(5, TIME, IN)).astype("float32")
    if masked:
        for row, places in enumerate([[4, 5], [0], [1, 3, 5], []]):
            values[row, places] = 0
    return values


def directions(cell, outputs):
    """The cell forwards, backwards, and both ways in every merge mode."""
    yield cell(UNITS, **outputs)
    yield cell(UNITS, go_backwards=True, use_bias=False, **outputs)
    for mode in MERGE_MODES:
        yield layers.Bidirectional(cell(UNITS, **outputs), merge_mode=mode)


@pytest.mark.parametrize("masked", [False, True], ids=["no-mask", "mask"])
@pytest.mark.parametrize("cell", CELLS)
def test_every_direction_merge_mode_and_output_is_that_of_keras(cell, masked, tmp_path):
    inputs = keras.Input((None, IN), name="x")
    x = layers.Masking()(inputs) if masked else inputs
    results = [layer(x) for outputs in OUTPUTS.values() for layer in directions(CELLS[cell], outputs)]
    model = randomise(keras.Model(inputs, keras.tree.flatten(results)))
    source = assert_same_source(model, tmp_path, {"x": steps(masked)}).read_text()
    name = {"lstm": "LSTM", "rnn": "RNN", "gru-before": "GRUResetBefore"}.get(cell, "GRU")
    is_own = cell == "gru-before" or masked
    assert len(re.findall(rf"self\.\w+ = nn\.{name}\(", source)) == (0 if is_own else len(results))
    assert len(re.findall(rf"[ (]{name}\(", source)) >= (len(results) if is_own else 0)


@pytest.mark.parametrize("cell", CELLS)
def test_every_activation_is_that_of_keras(cell, tmp_path):
    inputs = keras.Input((TIME, IN), name="x")
    results = []
    for activation, gate in zip(ACTIVATIONS, cycle(GATES), strict=False):
        more = {"activation": activation} | ({} if cell == "rnn" else {"recurrent_activation": gate})
        results.append(CELLS[cell](UNITS, return_sequences=True, **more)(inputs))
        results.append(layers.Bidirectional(CELLS[cell](UNITS, **more))(inputs))
    model = randomise(keras.Model(inputs, results))
    assert_same_source(model, tmp_path, {"x": 0.3 * steps(masked=False)})


def test_zeros_for_masked_steps_are_given_where_they_are_wanted(tmp_path):
    inputs = keras.Input((None, IN), name="x")
    x = layers.Masking()(inputs)
    results = [
        cell(UNITS, zero_output_for_mask=True, return_sequences=sequences)(x)
        for cell in CELLS.values()
        for sequences in (False, True)
    ]
    assert_same_source(randomise(keras.Model(inputs, results)), tmp_path, {"x": steps(masked=True)})


@pytest.mark.parametrize("cell", CELLS)
def test_initial_states_come_from_another_layer(cell, tmp_path):
    encoder = keras.Input((None, IN), name="x")
    _, *states = CELLS[cell](UNITS, return_state=True)(encoder)
    decoder = keras.Input((None, 3), name="y")
    one = CELLS[cell](UNITS, return_sequences=True)(decoder, initial_state=states)
    both = layers.Bidirectional(CELLS[cell](UNITS, return_sequences=True))(decoder, initial_state=[*states, *states])
    model = randomise(keras.Model([encoder, decoder], [one, both]))
    values = {"x": steps(masked=False), "y": steps(masked=False)[:, :4, :3]}
    assert_same_source(model, tmp_path, values)


def test_stacks_of_cells_and_layers_that_are_no_pair_run_one_after_the_other(tmp_path):
    inputs = keras.Input((None, IN), name="x")
    x = layers.RNN([layers.LSTMCell(6), layers.GRUCell(5)], return_sequences=True)(inputs)
    x = layers.Dropout(0.5)(layers.TimeDistributed(layers.Dense(7, activation="relu"))(x))
    forward = layers.LSTM(UNITS, return_sequences=True)
    backward = layers.GRU(UNITS, return_sequences=True, go_backwards=True)
    x = layers.Bidirectional(forward, backward_layer=backward)(x)
    assert_same_source(randomise(keras.Model(inputs, x)), tmp_path, {"x": steps(masked=False)})


@pytest.mark.parametrize("rank", [1, 2])
def test_frames_go_through_a_convolutional_lstm(rank, tmp_path):
    sizes = (7, 6)[:rank]
    inputs = keras.Input((4, *sizes, 3), name="x")
    layer = {1: layers.ConvLSTM1D, 2: layers.ConvLSTM2D}[rank]
    results = [
        layer(5, 2, padding="same", return_sequences=True, recurrent_activation="hard_sigmoid")(inputs),
        layer(4, 3, strides=2, padding="valid", activation="relu")(inputs),
    ]
    assert_same_source(randomise(keras.Model(inputs, results)), tmp_path)

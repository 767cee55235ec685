"""Recurrent layers as PyTorch source against Keras: the recurrent matrix, and what it does not hold."""

from __future__ import annotations

import re

import keras
import pytest
from keras import layers

from graph_checks import randomise
from recurrent_matrix import CELLS, IN, MASKS, UNITS, every_activation, every_form, steps
from source_checks import assert_same_source


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("cell", CELLS)
def test_every_direction_merge_mode_and_output_is_that_of_keras(cell, mask, tmp_path):
    model, count = every_form(cell, mask)
    source = assert_same_source(model, tmp_path, {"x": steps(mask)}).read_text()
    name = {"lstm": "LSTM", "rnn": "RNN", "gru-before": "GRUResetBefore"}.get(cell, "GRU")
    is_own = cell == "gru-before" or mask != "no-mask"
    assert len(re.findall(rf"self\.\w+ = nn\.{name}\(", source)) == (0 if is_own else count)
    assert len(re.findall(rf"[ (]{name}\(", source)) >= (count if is_own else 0)


@pytest.mark.parametrize("cell", CELLS)
def test_every_activation_is_that_of_keras(cell, tmp_path):
    model, _ = every_activation(cell)
    assert_same_source(model, tmp_path, {"x": steps("mask")})


@pytest.mark.parametrize("cell", CELLS)
def test_initial_states_come_from_another_layer(cell, tmp_path):
    encoder = keras.Input((None, IN), name="x")
    _, *states = CELLS[cell](UNITS, return_state=True)(encoder)
    decoder = keras.Input((None, 3), name="y")
    one = CELLS[cell](UNITS, return_sequences=True)(decoder, initial_state=states)
    both = layers.Bidirectional(CELLS[cell](UNITS, return_sequences=True))(decoder, initial_state=[*states, *states])
    model = randomise(keras.Model([encoder, decoder], [one, both]))
    values = {"x": steps(), "y": steps()[:, :4, :3]}
    assert_same_source(model, tmp_path, values)


def test_stacks_of_cells_and_layers_that_are_no_pair_run_one_after_the_other(tmp_path):
    inputs = keras.Input((None, IN), name="x")
    x = layers.RNN([layers.LSTMCell(6), layers.GRUCell(5)], return_sequences=True)(inputs)
    x = layers.Dropout(0.5)(layers.TimeDistributed(layers.Dense(7, activation="relu"))(x))
    forward = layers.LSTM(UNITS, return_sequences=True)
    backward = layers.GRU(UNITS, return_sequences=True, go_backwards=True)
    x = layers.Bidirectional(forward, backward_layer=backward)(x)
    assert_same_source(randomise(keras.Model(inputs, x)), tmp_path, {"x": steps()})


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

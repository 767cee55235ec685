"""Recurrent layers in ONNX Runtime against Keras: the recurrent matrix, and what it does not hold."""

from __future__ import annotations

import keras
import numpy as np
import onnx
import pytest
from keras import layers

import weightport as wp
from graph_checks import assert_same, randomise, to_onnx
from recurrent_matrix import CELLS, IN, MASKS, TIME, UNITS, every_activation, every_form, steps


def operators(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def native(path):
    """How many nodes are ONNX' own recurrent operators."""
    return sum(operator in ("LSTM", "GRU", "RNN") for operator in operators(path))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("cell", CELLS)
def test_every_direction_merge_mode_and_output_is_that_of_keras(cell, mask, tmp_path) -> None:
    model, count = every_form(cell, mask)
    path = assert_same(model, tmp_path, {"x": steps(mask)})
    assert not {"Loop", "Scan"} & set(operators(path))
    assert native(path) == count  # one node for both directions


@pytest.mark.parametrize("cell", CELLS)
def test_every_activation_is_that_of_keras(cell, tmp_path) -> None:
    model, count = every_activation(cell)
    path = assert_same(model, tmp_path, {"x": steps("mask")})
    assert native(path) == count
    assert "Scan" in operators(path)


@pytest.mark.parametrize("masked", [False, True], ids=["no-mask", "mask"])
def test_a_sequence_of_which_no_step_counts_gives_what_keras_gives(masked, tmp_path) -> None:
    inputs = keras.Input((None, IN), name="x")
    x = layers.Masking()(inputs)
    results = [layers.LSTM(UNITS, return_sequences=True)(x), layers.Bidirectional(layers.GRU(UNITS))(x)]
    values = steps("mask" if masked else "no-mask")
    values[2] = 0
    assert_same(randomise(keras.Model(inputs, results)), tmp_path, {"x": values})


@pytest.mark.parametrize("cell", CELLS)
def test_initial_states_come_from_another_layer(cell, tmp_path) -> None:
    encoder = keras.Input((None, IN), name="x")
    _, *states = CELLS[cell](UNITS, return_state=True)(encoder)
    decoder = keras.Input((None, 3), name="y")
    one = CELLS[cell](UNITS, return_sequences=True)(decoder, initial_state=states)
    both = layers.Bidirectional(CELLS[cell](UNITS, return_sequences=True))(decoder, initial_state=[*states, *states])
    model = randomise(keras.Model([encoder, decoder], [one, both]))
    values = {"x": steps(), "y": steps()[:, :4, :3]}
    assert_same(model, tmp_path, values)


def test_stacks_of_cells_and_layers_stay_with_the_time_first(tmp_path) -> None:
    inputs = keras.Input((None, IN), name="x")
    x = layers.RNN([layers.LSTMCell(6), layers.GRUCell(5)], return_sequences=True)(inputs)
    x = layers.Bidirectional(layers.GRU(4, return_sequences=True))(x)
    x = layers.Dropout(0.5)(layers.TimeDistributed(layers.Dense(7, activation="relu"))(x))
    x = layers.LSTM(3, return_sequences=True)(x)
    path = assert_same(randomise(keras.Model(inputs, x)), tmp_path, {"x": steps()})
    turned = [n for n in onnx.load(path).graph.node if n.op_type == "Transpose" and len(n.attribute[0].ints) == 3]
    assert len(turned) == 2  # at the two borders, nowhere between


def test_a_stateful_layer_goes_on_where_it_stopped(tmp_path) -> None:
    inputs = keras.Input(batch_shape=(5, 3, IN), name="x")
    y = layers.LSTM(UNITS, stateful=True, name="memory")(inputs)
    model = randomise(keras.Model(inputs, y))
    model.get_layer("memory").reset_state()
    values = steps()
    expected = [np.asarray(model(values[:, :3])), np.asarray(model(values[:, 3:]))]
    import onnxruntime

    session = onnxruntime.InferenceSession(str(to_onnx(model, tmp_path)))
    states = {f"memory.{name}": np.zeros((5, UNITS), "float32") for name in ("hidden", "cell")}
    for part, wanted in zip((values[:, :3], values[:, 3:]), expected, strict=True):
        found, hidden, cell = session.run(None, {"x": part, **states})
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        states = {"memory.hidden": hidden, "memory.cell": cell}


def test_two_layers_that_are_no_pair_run_apart(tmp_path) -> None:
    inputs = keras.Input((None, IN), name="x")
    forward = layers.LSTM(UNITS, return_sequences=True)
    backward = layers.GRU(UNITS, return_sequences=True, go_backwards=True)
    y = layers.Bidirectional(forward, backward_layer=backward)(inputs)
    assert_same(randomise(keras.Model(inputs, y)), tmp_path, {"x": steps()})


def test_an_activation_that_no_cell_can_have_is_refused_by_name(tmp_path) -> None:
    inputs = keras.Input((TIME, IN))
    model = keras.Model(inputs, layers.LSTM(UNITS, activation="glu", name="odd")(inputs))
    with pytest.raises(wp.RefusedError, match="odd: the activation glu"):
        to_onnx(model, tmp_path)

"""Recurrent layers in ONNX Runtime against Keras: every cell, direction, merge mode, output, mask and activation."""

from __future__ import annotations

from itertools import cycle

import keras
import numpy as np
import onnx
import pytest
from keras import layers

import weightport as wp
from graph_checks import assert_same, randomise, to_onnx

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
ACTIVATIONS = ("tanh", "sigmoid", "relu", "hard_sigmoid", "linear", "elu", "softsign", "softplus", "leaky_relu")
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
    yield cell(UNITS, go_backwards=True, **outputs)
    for mode in MERGE_MODES:
        yield layers.Bidirectional(cell(UNITS, **outputs), merge_mode=mode)


@pytest.mark.parametrize("masked", [False, True], ids=["no-mask", "mask"])
@pytest.mark.parametrize("cell", CELLS)
def test_every_direction_merge_mode_and_output_is_that_of_keras(cell, masked, tmp_path) -> None:
    inputs = keras.Input((None, IN), name="x")
    x = layers.Masking()(inputs) if masked else inputs
    results = [layer(x) for outputs in OUTPUTS.values() for layer in directions(CELLS[cell], outputs)]
    model = randomise(keras.Model(inputs, keras.tree.flatten(results)))
    path = assert_same(model, tmp_path, {"x": steps(masked)})
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert "Loop" not in operators and "Scan" not in operators
    assert sum(operator in ("LSTM", "GRU", "RNN") for operator in operators) == len(results)


@pytest.mark.parametrize("cell", CELLS)
def test_every_activation_is_that_of_keras(cell, tmp_path) -> None:
    inputs = keras.Input((TIME, IN), name="x")
    results = []
    for activation, gate in zip(ACTIVATIONS, cycle(GATES), strict=False):
        more = {"activation": activation} | ({} if cell == "rnn" else {"recurrent_activation": gate})
        results.append(CELLS[cell](UNITS, return_sequences=True, **more)(inputs))
        results.append(layers.Bidirectional(CELLS[cell](UNITS, **more))(inputs))
    model = randomise(keras.Model(inputs, results))
    assert_same(model, tmp_path, {"x": 0.3 * steps(masked=False)})


@pytest.mark.parametrize("masked", [False, True], ids=["no-mask", "mask"])
def test_a_sequence_of_which_no_step_counts_gives_what_keras_gives(masked, tmp_path) -> None:
    inputs = keras.Input((None, IN), name="x")
    x = layers.Masking()(inputs)
    results = [layers.LSTM(UNITS, return_sequences=True)(x), layers.Bidirectional(layers.GRU(UNITS))(x)]
    values = steps(masked)
    values[2] = 0
    assert_same(randomise(keras.Model(inputs, results)), tmp_path, {"x": values})


def test_zeros_for_masked_steps_are_given_where_they_are_wanted(tmp_path) -> None:
    inputs = keras.Input((None, IN), name="x")
    x = layers.Masking()(inputs)
    results = [
        cell(UNITS, zero_output_for_mask=True, return_sequences=sequences)(x)
        for cell in CELLS.values()
        for sequences in (False, True)
    ]
    assert_same(randomise(keras.Model(inputs, results)), tmp_path, {"x": steps(masked=True)})


@pytest.mark.parametrize("cell", CELLS)
def test_initial_states_come_from_another_layer(cell, tmp_path) -> None:
    encoder = keras.Input((None, IN), name="x")
    _, *states = CELLS[cell](UNITS, return_state=True)(encoder)
    decoder = keras.Input((None, 3), name="y")
    one = CELLS[cell](UNITS, return_sequences=True)(decoder, initial_state=states)
    both = layers.Bidirectional(CELLS[cell](UNITS, return_sequences=True))(decoder, initial_state=[*states, *states])
    model = randomise(keras.Model([encoder, decoder], [one, both]))
    values = {"x": steps(masked=False), "y": steps(masked=False)[:, :4, :3]}
    assert_same(model, tmp_path, values)


def test_stacks_of_cells_and_layers_stay_with_the_time_first(tmp_path) -> None:
    inputs = keras.Input((None, IN), name="x")
    x = layers.RNN([layers.LSTMCell(6), layers.GRUCell(5)], return_sequences=True)(inputs)
    x = layers.Bidirectional(layers.GRU(4, return_sequences=True))(x)
    x = layers.Dropout(0.5)(layers.TimeDistributed(layers.Dense(7, activation="relu"))(x))
    x = layers.LSTM(3, return_sequences=True)(x)
    path = assert_same(randomise(keras.Model(inputs, x)), tmp_path, {"x": steps(masked=False)})
    turned = [n for n in onnx.load(path).graph.node if n.op_type == "Transpose" and len(n.attribute[0].ints) == 3]
    assert len(turned) == 2  # at the two borders, nowhere between


def test_a_stateful_layer_goes_on_where_it_stopped(tmp_path) -> None:
    inputs = keras.Input(batch_shape=(5, 3, IN), name="x")
    y = layers.LSTM(UNITS, stateful=True, name="memory")(inputs)
    model = randomise(keras.Model(inputs, y))
    model.get_layer("memory").reset_state()
    values = steps(masked=False)
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
    assert_same(randomise(keras.Model(inputs, y)), tmp_path, {"x": steps(masked=False)})


def test_an_activation_that_onnx_lacks_is_refused_by_name(tmp_path) -> None:
    inputs = keras.Input((TIME, IN))
    model = keras.Model(inputs, layers.LSTM(UNITS, activation="gelu", name="odd")(inputs))
    with pytest.raises(wp.RefusedError, match="odd: ONNX' LSTM has no activation gelu; it has elu, hard_sigmoid"):
        to_onnx(model, tmp_path)

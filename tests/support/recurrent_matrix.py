"""The recurrent matrix: every cell, direction, merge mode, output, mask and activation, as models of many layers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from keras import layers

from graph_checks import randomise

CELLS: Mapping[str, Callable[..., Any]] = {
    "lstm": layers.LSTM,
    "gru-after": lambda units, **more: layers.GRU(units, reset_after=True, **more),
    "gru-before": lambda units, **more: layers.GRU(units, reset_after=False, **more),
    "rnn": layers.SimpleRNN,
}
OUTPUTS: Mapping[str, Mapping[str, bool]] = {
    "last": {},
    "sequences": {"return_sequences": True},
    "states": {"return_sequences": True, "return_state": True},
}
DIRECTIONS = ("forward", "backwards", "concat", "sum", "ave", "mul", "both")
"""One direction, or both in a merge mode."""
MASKS = ("no-mask", "mask", "zeros-for-mask")
ACTIVATIONS = (
    *("tanh", "sigmoid", "relu", "hard_sigmoid", "linear", "elu", "softsign", "softplus", "leaky_relu"),
    *("silu", "gelu", "selu", "mish", "relu6", "hard_tanh", "hard_silu", "celu", "log_sigmoid"),
    *("softmax", "log_softmax", "soft_shrink", "hard_shrink", "tanh_shrink", "squareplus", "sparse_plus"),
    "sparse_sigmoid",
)
"""All that Keras has, except glu, which gives half of the features, and exponential, whose states have no bound."""
NATIVE = frozenset((*ACTIVATIONS[:9], "sparse_sigmoid"))
"""Those that ONNX' own operators have."""
GATES = ("sigmoid", "hard_sigmoid", "sparse_sigmoid", "softsign", "hard_tanh")
TIME, IN, UNITS = 6, 4, 5


def steps(mask: str = "no-mask") -> np.ndarray:
    """Sequences of which some steps are zeros, which Masking masks: at the end, at the start, between, and none."""
    values = np.random.default_rng(3).normal(size=(5, TIME, IN)).astype("float32")
    if mask != "no-mask":
        for row, places in enumerate([[4, 5], [0], [1, 3, 5], []]):
            values[row, places] = 0
    return values


def directed(direction: str, cell: Callable[..., Any], **settings: Any) -> Any:
    """A layer of the cell in one direction or both."""
    if direction in ("forward", "backwards"):
        return cell(UNITS, go_backwards=direction == "backwards", **settings)
    return layers.Bidirectional(cell(UNITS, **settings), merge_mode=None if direction == "both" else direction)


def every_form(cell: str, mask: str) -> tuple[keras.Model, int]:
    """A model of every direction and output of a cell, with bias and without; and how many layers it has."""
    inputs = keras.Input((None, IN), name="x")
    x = inputs if mask == "no-mask" else layers.Masking()(inputs)
    more = {"zero_output_for_mask": True} if mask == "zeros-for-mask" else {}
    made = [
        directed(direction, CELLS[cell], use_bias=index % 4 != 1, **outputs, **more)
        for index, (outputs, direction) in enumerate(product(OUTPUTS.values(), DIRECTIONS))
    ]
    results = [layer(x) for layer in made]
    return randomise(keras.Model(inputs, keras.tree.flatten(results))), len(made)


def every_activation(cell: str) -> tuple[keras.Model, int]:
    """A model of every activation, each with some gate, direction and output, every other pair of them over masked
    steps; and how many are native in ONNX."""
    inputs = keras.Input((TIME, IN), name="x")
    given = [inputs, layers.Masking()(inputs)]
    results, native = [], 0
    for index, activation in enumerate(ACTIVATIONS):
        gate, direction = GATES[index % len(GATES)], DIRECTIONS[index % len(DIRECTIONS)]
        settings = {"activation": activation} | ({} if cell == "rnn" else {"recurrent_activation": gate})
        native += {activation, *([] if cell == "rnn" else [gate])} <= NATIVE
        made = directed(direction, CELLS[cell], return_sequences=index % 2 == 0, **settings)
        results.append(made(given[index // 2 % 2]))
    return calmed(randomise(keras.Model(inputs, keras.tree.flatten(results)))), native


def calmed(model: keras.Model) -> keras.Model:
    """Weights so small that no state explodes, whatever the activation."""
    for variable in model.variables:
        if variable.name.endswith("kernel"):
            variable.assign((0.1 if variable.name.startswith("recurrent") else 0.6) * variable)
    return model

"""Small Keras models, each with the layers that its checkpoint must be found to have.

Every element of every variable has a value of its own, so that a tensor in a wrong place cannot look right.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

VARIABLES = {
    "lstm": ("kernel", "recurrent_kernel", "bias"),
    "gru": ("kernel", "recurrent_kernel", "bias"),
    "rnn": ("kernel", "recurrent_kernel", "bias"),
    "conv_lstm": ("kernel", "recurrent_kernel", "bias"),
    "dense": ("kernel", "bias"),
    "conv": ("kernel", "bias"),
    "batch_norm": ("gamma", "beta", "moving_mean", "moving_variance"),
    "layer_norm": ("gamma", "beta"),
    "embedding": ("embeddings",),
}
TIME, IN = 5, 4


@dataclass(frozen=True)
class Expected:
    """A layer by name and kind, and the live objects that own its variables, by the prefix of their names."""

    name: str
    kind: str
    owners: dict[str, Any]

    def values(self) -> dict[str, np.ndarray]:
        """Its variables' values by the names of the layout."""
        return {
            prefix + variable: np.array(getattr(owner, variable))
            for prefix, owner in self.owners.items()
            for variable in VARIABLES[self.kind]
            if getattr(owner, variable, None) is not None
        }


def expect(name: str, kind: str, owner: Any, backward: Any = None) -> Expected:
    """A layer of one owner, or of the two that a Bidirectional has."""
    owners = {"": owner} if backward is None else {"forward_layer/": owner, "backward_layer/": backward}
    return Expected(name, kind, owners)


def number(model: Any) -> None:
    """A value of its own for every element of every variable; none is zero, all are exact in float32."""
    start = 1
    for variable in model.weights:
        size = int(np.prod(variable.shape))
        variable.assign(np.arange(start, start + size).reshape(variable.shape) / 64)
        start += size


def sequential(keras: Any) -> tuple[Any, list[Expected]]:
    """Recurrent layers one after the other, some without bias, one renamed."""
    layers = keras.layers
    parts = [
        layers.Embedding(7, IN, mask_zero=True, name="words"),
        layers.LSTM(3, return_sequences=True, use_bias=False),
        layers.LSTM(3, return_sequences=True, dropout=0.2, name="second"),
        layers.GRU(3, return_sequences=True, reset_after=False),
        layers.GRU(2, return_sequences=True, go_backwards=True, recurrent_dropout=0.1),
        layers.SimpleRNN(2),
        layers.Dense(2, use_bias=False),
    ]
    model = keras.Sequential([keras.Input((TIME,), dtype="int32"), *parts])
    kinds = ["embedding", "lstm", "lstm", "gru", "gru", "rnn", "dense"]
    found = [expect(p.name, k, getattr(p, "cell", p)) for p, k in zip(parts, kinds, strict=True)]
    return model, found


def shared(keras: Any) -> tuple[Any, list[Expected]]:
    """A functional model: one layer used twice, one in a nested model too, operations between, twelve of one class."""
    layers = keras.layers
    left, right = keras.Input((IN,), name="left"), keras.Input((IN,), name="right")
    twice, both = layers.Dense(3, name="twice"), layers.Dense(3, name="both")
    inner_input = keras.Input((3,))
    nested = keras.Model(inner_input, both(inner_input), name="nested")
    x = layers.Add()([twice(left), twice(right)])
    x = keras.ops.add(both(nested(x)), 1.0)
    many = [layers.Dense(3, name=f"{'bdac'[index % 4]}{index}") for index in range(12)]
    for layer in many:
        x = layers.Dropout(0.1)(layer(x))
    model = keras.Model([left, right], x)
    layers_in_order = [layer for layer in model.layers if layer is twice or layer is nested or layer in many]
    found = [
        expect("nested.both", "dense", both) if layer is nested else expect(layer.name, "dense", layer)
        for layer in layers_in_order
    ]
    return model, found


def nested(keras: Any, freeze: str = "nothing") -> tuple[Any, list[Expected]]:
    """Models in models, with variables that are not trained between others, and layers that are frozen or not."""
    layers = keras.layers
    conv, norm, dense = layers.Conv1D(3, 2), layers.BatchNormalization(), layers.Dense(4, name="head")
    both_ways = layers.Bidirectional(layers.LSTM(2, return_sequences=True))
    deep_norm, deep = layers.BatchNormalization(name="deep_norm"), layers.Dense(3)
    innermost = keras.Sequential([keras.Input((TIME - 1, 4)), deep_norm, deep], name="innermost")
    parts = [conv, norm, layers.Dropout(0.5), both_ways, innermost, dense]
    inner = keras.Sequential([keras.Input((TIME, IN)), *parts], name="inner")
    steps_norm, steps_dense = layers.BatchNormalization(), layers.Dense(2)
    steps = keras.Sequential([keras.Input((4,)), steps_norm, steps_dense])
    every_step = layers.TimeDistributed(steps, name="every_step")
    last = layers.Dense(1)
    inputs = keras.Input((TIME, IN))
    model = keras.Model(inputs, last(every_step(inner(inputs))))
    frozen = {"norm": [norm], "some": [conv, deep_norm, both_ways], "innermost": [innermost], "inner": [inner]}
    for layer in frozen.get(freeze, []):
        layer.trainable = False
    if freeze == "all but one":
        inner.trainable = False
        dense.trainable = True
    found = [
        expect(f"inner.{conv.name}", "conv", conv),
        expect(f"inner.{norm.name}", "batch_norm", norm),
        expect(f"inner.{both_ways.name}", "lstm", both_ways.forward_layer.cell, both_ways.backward_layer.cell),
        expect("inner.innermost.deep_norm", "batch_norm", deep_norm),
        expect(f"inner.innermost.{deep.name}", "dense", deep),
        expect("inner.head", "dense", dense),
        expect(f"every_step.{steps_norm.name}", "batch_norm", steps_norm),
        expect(f"every_step.{steps_dense.name}", "dense", steps_dense),
        expect(last.name, "dense", last),
    ]
    return model, found


def wrapped(keras: Any) -> tuple[Any, list[Expected]]:
    """Wrappers, cells and stacks of cells."""
    layers = keras.layers
    lstm = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="two_lstm")
    gru = layers.Bidirectional(layers.GRU(3, return_sequences=True, reset_after=False), merge_mode="sum")
    steps = layers.TimeDistributed(layers.Dense(4), name="steps")
    cell = layers.RNN(layers.LSTMCell(3), return_sequences=True, name="one_cell")
    cells = layers.RNN([layers.LSTMCell(3), layers.GRUCell(4), layers.LSTMCell(2)], return_sequences=True, name="stack")
    both = layers.Bidirectional(layers.RNN([layers.GRUCell(2), layers.GRUCell(3)], return_sequences=True), name="both")
    uneven = layers.Bidirectional(
        layers.LSTM(3, return_sequences=True),
        backward_layer=layers.GRU(3, return_sequences=True, go_backwards=True),
        name="uneven",
    )
    parts = [lstm, gru, steps, cell, cells, both, uneven]
    model = keras.Sequential([keras.Input((TIME, IN)), *parts])
    stacks = {
        "stack": cells.cell.cells,
        "both.forward_layer": both.forward_layer.cell.cells,
        "both.backward_layer": both.backward_layer.cell.cells,
    }
    in_stacks = [
        expect(f"{name}.{member.name}", "lstm" if "lstm" in member.name else "gru", member)
        for name, members in stacks.items()
        for member in members
    ]
    found = [
        expect("two_lstm", "lstm", lstm.forward_layer.cell, lstm.backward_layer.cell),
        expect(gru.name, "gru", gru.forward_layer.cell, gru.backward_layer.cell),
        expect("steps", "dense", steps.layer),
        expect("one_cell", "lstm", cell.cell),
        *in_stacks,
        expect("uneven.forward_layer", "lstm", uneven.forward_layer.cell),
        expect("uneven.backward_layer", "gru", uneven.backward_layer.cell),
    ]
    return model, found


def convolutions(keras: Any) -> tuple[Any, list[Expected]]:
    """Convolutions of every rank, normalisations with and without their parts, a convolutional LSTM."""
    layers = keras.layers
    one, two, three = (
        layers.Conv1D(6, 3, groups=2, name="one"),
        layers.Conv2D(4, (3, 2), strides=(2, 1), use_bias=False, name="two"),
        layers.Conv3D(3, (2, 1, 2), name="three"),
    )
    plain, no_scale, no_center = (
        layers.BatchNormalization(),
        layers.BatchNormalization(scale=False, name="no_scale"),
        layers.LayerNormalization(center=False, name="no_center"),
    )
    norm, recurrent = layers.LayerNormalization(), layers.ConvLSTM2D(2, (2, 3), name="recurrent")
    flat, image, volume = keras.Input((8, 4)), keras.Input((7, 5, 3)), keras.Input((3, 4, 5, 2))
    outputs = [
        no_scale(plain(one(flat))),
        no_center(two(image)),
        recurrent(norm(three(volume))),
    ]
    model = keras.Model([flat, image, volume], outputs)
    kinds = {one: "conv", two: "conv", three: "conv", plain: "batch_norm", no_scale: "batch_norm"}
    kinds |= {no_center: "layer_norm", norm: "layer_norm", recurrent: "conv_lstm"}
    members = [layer for layer in model.layers if layer in kinds]
    return model, [expect(layer.name, kinds[layer], getattr(layer, "cell", layer)) for layer in members]


MODELS: dict[str, Callable[[Any], tuple[Any, list[Expected]]]] = {
    "sequential": sequential,
    "shared": shared,
    "nested": nested,
    "wrapped": wrapped,
    "convolutions": convolutions,
}


def subclassed(keras: Any) -> tuple[Any, list[Expected]]:
    """A user's class whose config lists no layers."""
    layers = keras.layers

    class Block(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="block")
            self.recurrent = layers.LSTM(3, return_sequences=True)
            self.scale = self.add_weight(shape=(3,), name="scale")
            self.blocks = [layers.Dense(3), layers.Dense(3, name="renamed")]

        def call(self, x: Any) -> Any:
            for dense in self.blocks:
                x = dense(self.recurrent(x) * self.scale if dense is self.blocks[0] else x)
            return x

    class Tagger(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="tagger")
            self.words = layers.Embedding(7, IN)
            self.block = Block()
            self.both = layers.Bidirectional(layers.GRU(3, return_sequences=True), name="both")
            self.norm = layers.BatchNormalization()
            self.answer = layers.Dense(2, name="out")

        def call(self, x: Any) -> Any:
            return self.answer(self.norm(self.both(self.block(self.words(x)))))

    model = Tagger()
    model(np.zeros((2, TIME), "int32"))
    block, both = model.block, model.both
    found = [
        expect(model.words.name, "embedding", model.words),
        expect(f"block.{block.recurrent.name}", "lstm", block.recurrent.cell),
        expect(f"block.{block.blocks[0].name}", "dense", block.blocks[0]),
        expect("block.renamed", "dense", block.blocks[1]),
        expect("both", "gru", both.forward_layer.cell, both.backward_layer.cell),
        expect(model.norm.name, "batch_norm", model.norm),
        expect("out", "dense", model.answer),
    ]
    return model, found

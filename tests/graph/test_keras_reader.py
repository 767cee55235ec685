"""The neutral graph of a Keras model: every layer's shape is the one that Keras infers; what is unknown is named."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
from keras import layers

import weightport as wp
from weightport.graph.keras_reader import read_keras


def image_model(size):
    x = inputs = keras.Input((size, size, 3), name="image")
    x = layers.ZeroPadding2D(((1, 2), (0, 3)))(x)
    x = layers.Conv2D(6, (3, 2), strides=2, padding="same", activation="relu")(x)
    x = layers.SeparableConv2D(8, 3, dilation_rate=2, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2DTranspose(5, 3, strides=2, padding="valid")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    x = layers.UpSampling2D((2, 3))(x)
    x = layers.Cropping2D(((1, 0), (2, 1)))(x)
    x = layers.DepthwiseConv2D(2, depth_multiplier=2)(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D(keepdims=True)(x))


def sequence_model():
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(11, 6, mask_zero=True)(tokens)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True), merge_mode="concat")(x)
    x, *states = layers.LSTM(5, return_sequences=True, return_state=True)(x)
    x = layers.GRU(5, return_sequences=True)(x, initial_state=states[0])
    x = layers.TimeDistributed(keras.Sequential([layers.Dense(6, "tanh"), layers.Dense(7)]))(x)
    y = layers.MultiHeadAttention(2, 3)(x, x)
    z = layers.Concatenate()([x, keras.ops.multiply(y, 0.5), y[:, :, 1:3]])
    return keras.Model(tokens, layers.RepeatVector(4)(layers.SimpleRNN(3)(z)))


@pytest.mark.parametrize(
    "make", [lambda: image_model(17), lambda: image_model(None), sequence_model], ids=["fixed", "free", "sequence"]
)
def test_every_layer_has_the_shape_that_keras_infers(make, tmp_path) -> None:
    model = make()
    model.save(tmp_path / "model.keras")
    graph = read_keras(wp.open(tmp_path / "model.keras"))
    made = [(operation.layer, operation.outputs[0]) for operation in graph.operations]
    last = {layer: value.shape for layer, value in made if value.dtype.startswith("float")}
    compared = [layer for layer in model.layers if layer.name in last and not isinstance(layer.output, list)]
    assert len(compared) >= 8
    for layer in compared:
        assert last[layer.name] == tuple(layer.output.shape), layer.name
    assert [value.name for value in graph.inputs] == [one.name for one in model.inputs]
    assert all(operation.inputs or operation.kind == "constant" for operation in graph.operations)


def test_a_layer_that_is_called_twice_gives_two_operations_with_the_same_weights(tmp_path) -> None:
    one, other = keras.Input((3,)), keras.Input((3,))
    shared = layers.Dense(4, name="shared")
    keras.Model([one, other], layers.Add()([shared(one), shared(other)])).save(tmp_path / "model.keras")
    graph = read_keras(wp.open(tmp_path / "model.keras"))
    calls = [operation for operation in graph.operations if operation.kind == "dense"]
    assert [call.layer for call in calls] == ["shared", "shared"]
    assert calls[0].weights == calls[1].weights
    assert calls[0].name != calls[1].name


@keras.saving.register_keras_serializable("mine")
class Doubled(layers.Layer):
    def call(self, x):
        return 2 * x


@pytest.mark.parametrize(
    ("layer", "shape", "reason"),
    [
        (lambda: layers.Lambda(lambda x: x + 1, name="secret"), (3,), "secret: a Lambda holds code"),
        (lambda: Doubled(name="mine"), (3,), r"mine: what Doubled computes is not known; weightport.register_layer"),
        (lambda: layers.CategoryEncoding(num_tokens=4, name="coded"), (3,), "coded: CategoryEncoding: a preprocessing"),
    ],
)
def test_what_the_file_does_not_say_is_refused_by_name(layer, shape, reason, tmp_path) -> None:
    inputs = keras.Input(shape)
    keras.Model(inputs, layer()(inputs)).save(tmp_path / "model.keras")
    with pytest.raises(wp.RefusedError, match=reason):
        read_keras(wp.open(tmp_path / "model.keras"))


def test_a_file_of_weights_only_holds_no_model(tmp_path) -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(
        wp.RefusedError, match="weights only: it does not say what the model computes; --architecture takes"
    ):
        read_keras(wp.open(tmp_path / "model.weights.h5"))


def test_a_stateful_layer_has_its_states_as_inputs_and_results(tmp_path) -> None:
    inputs = keras.Input(batch_shape=(3, None, 4))
    keras.Model(inputs, layers.LSTM(5, stateful=True, name="memory")(inputs)).save(tmp_path / "model.keras")
    graph = read_keras(wp.open(tmp_path / "model.keras"))
    assert [value.name for value in graph.inputs][1:] == ["memory.hidden", "memory.cell"]
    assert [result.name for result in graph.results][1:] == ["memory.last_hidden", "memory.last_cell"]
    assert graph.values["memory.hidden"].shape == (3, 5)
    assert np.any(["memory is stateful" in note for note in graph.notes])

"""Every other layer as PyTorch source against Keras, with every padding and over free sizes."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from keras import layers, ops

import weightport as wp
from graph_checks import randomise, values_for
from source_checks import assert_same_source, to_source

ACTIVATIONS = [
    *("relu", "sigmoid", "tanh", "softmax", "elu", "selu", "gelu", "silu", "softplus", "softsign", "exponential"),
    *("hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu", "mish", "log_sigmoid", "relu6", "log_softmax", "celu"),
    *("hard_shrink", "soft_shrink", "tanh_shrink", "squareplus", "sparse_plus", "sparse_sigmoid", "glu"),
]


def model_of(shape, make, **more):
    """A model of parallel branches from one input."""
    inputs = keras.Input(shape, name="inputs", **more)
    return randomise(keras.Model(inputs, keras.tree.flatten(list(make(inputs))), name="branches"))


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size", [(9, 8), (None, None)], ids=["fixed", "free"])
def test_convolutions_of_maps(padding, size, tmp_path):
    def make(x):
        yield layers.Conv2D(5, 3, padding=padding)(x)
        yield layers.Conv2D(5, (2, 3), strides=2, padding=padding, activation="relu")(x)
        yield layers.Conv2D(6, 3, dilation_rate=2, padding=padding, use_bias=False)(x)
        yield layers.DepthwiseConv2D(3, strides=2, padding=padding, depth_multiplier=2)(x)
        yield layers.SeparableConv2D(5, 3, padding=padding)(x)
        yield layers.Conv2DTranspose(5, 3, strides=2, padding=padding)(x)
        yield layers.Conv2DTranspose(5, (2, 4), strides=(1, 3), padding=padding, activation="tanh")(x)
        yield layers.MaxPooling2D(3, strides=2, padding=padding)(x)
        yield layers.AveragePooling2D((2, 3), padding=padding)(x)

    model = model_of((*size, 4), make)
    assert_same_source(model, tmp_path, values_for(model, free=9))


@pytest.mark.parametrize("length", [11, None], ids=["fixed", "free"])
def test_convolutions_of_signals_and_volumes(length, tmp_path):
    def make(x):
        yield layers.Conv1D(6, 3, padding="causal", dilation_rate=2)(x)
        yield layers.Conv1D(6, 2, strides=3, padding="same")(x)
        yield layers.Conv1D(6, 4, groups=2)(x)
        yield layers.SeparableConv1D(3, 4, strides=2, padding="same")(x)
        yield layers.Conv1DTranspose(3, 4, strides=3, padding="same")(x)
        yield layers.AveragePooling1D(3, strides=2, padding="same")(x)
        yield layers.GlobalAveragePooling1D()(layers.Masking()(x))
        yield layers.GlobalMaxPooling1D(keepdims=True)(x)
        if length is not None:
            volume = layers.Reshape((11, 2, 2, 1))(x)
            yield layers.Conv3D(2, 2, strides=2, padding="same")(volume)
            yield layers.MaxPooling3D((2, 1, 2))(volume)

    model = model_of((length, 4), make)
    assert_same_source(model, tmp_path)


def test_normalisation(tmp_path):
    def make(x):
        yield layers.BatchNormalization()(x)
        yield layers.BatchNormalization(axis=1, scale=False)(x)
        yield layers.BatchNormalization(center=False, scale=False)(layers.Flatten()(x))
        yield layers.LayerNormalization()(x)
        yield layers.LayerNormalization(axis=(1, 2), center=False)(x)
        yield layers.RMSNormalization()(x)
        yield layers.GroupNormalization(2)(layers.Conv2D(4, 2)(x))
        yield layers.UnitNormalization()(x)

    assert_same_source(model_of((5, 6, 4), make), tmp_path)


def test_activations_and_their_layers(tmp_path):
    def make(x):
        for activation in ACTIVATIONS:
            yield layers.Activation(activation)(x)
        yield layers.ReLU(max_value=0.8, negative_slope=0.2, threshold=0.1)(x)
        yield layers.ReLU(max_value=0.8)(x)
        yield layers.LeakyReLU(0.1)(x)
        yield layers.PReLU(shared_axes=[1])(x)
        yield layers.ELU(0.7)(x)
        yield layers.Softmax(axis=1)(layers.Conv1D(3, 2)(x))

    assert_same_source(model_of((5, 4), make), tmp_path)


def test_shapes_borders_and_sizes(tmp_path):
    def make(x):
        map_ = layers.Conv2D(5, 2)(x)
        yield layers.Dense(3)(layers.Flatten()(map_))
        yield layers.Activation("tanh")(layers.Flatten()(map_))
        yield layers.Reshape((-1, 2))(map_)
        yield layers.Permute((3, 1, 2))(map_)
        yield layers.Dense(2)(layers.Permute((3, 1, 2))(map_))
        yield layers.ZeroPadding2D(((1, 2), (0, 1)))(map_)
        yield layers.Cropping2D(((1, 0), (0, 2)))(x)
        yield layers.UpSampling2D((2, 3))(map_)
        yield layers.UpSampling2D(2, interpolation="bilinear")(x)
        yield layers.Resizing(7, 9)(x)
        yield layers.Rescaling(0.5, offset=1.0)(map_)
        yield layers.GlobalAveragePooling2D()(map_)
        yield layers.GlobalMaxPooling2D(keepdims=True)(map_)
        yield layers.RepeatVector(3)(layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))
        yield layers.TimeDistributed(layers.Conv1D(3, 2))(x)

    assert_same_source(model_of((6, 5, 4), make), tmp_path)


@pytest.mark.parametrize("size", [(6, 5), (None, None)], ids=["fixed", "free"])
@pytest.mark.parametrize("interpolation", ["bicubic", "lanczos3", "lanczos5"])
def test_pixels_between_pixels_are_those_of_keras(interpolation, size, tmp_path):
    def make(x):
        yield layers.UpSampling2D((3, 2), interpolation=interpolation)(x)
        yield layers.Resizing(8, 9, interpolation=interpolation)(layers.Conv2D(2, 3, padding="same")(x))
        yield layers.Resizing(4, 3, interpolation=interpolation)(x)

    model = model_of((*size, 4), make)
    assert_same_source(model, tmp_path, values_for(model, free=11))


def test_merging_values_that_are_held_in_several_orders(tmp_path):
    def make(x):
        one, other = layers.Conv2D(4, 3, padding="same")(x), layers.Dense(4)(x)
        for layer in (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum):
            yield layer()([one, other])
        yield layers.Concatenate()([one, other, x])
        yield layers.Concatenate(axis=1)([other, one])
        yield layers.Multiply()([one, layers.Dense(4)(layers.GlobalAveragePooling2D(keepdims=True)(one))])
        flat = layers.Reshape((-1, 4))(x)
        yield layers.Dot(axes=(2, 2))([flat, flat])
        yield layers.Dot(axes=1, normalize=True)([flat, flat])

    assert_same_source(model_of((5, 6, 3 + 1), make), tmp_path)


def test_operations_of_keras_ops(tmp_path):
    def make(x):
        yield ops.exp(x) + 2.0 * x
        yield ops.mean(x, axis=1, keepdims=True) - ops.max(x, axis=(1, 2))[:, None, None]
        yield ops.concatenate([x[:, 1:, :2], x[:, :-1, -2:]], axis=-1)
        yield ops.where(x > 0.1, x, -x)
        yield ops.matmul(x, ops.transpose(x, (0, 2, 1)))
        yield ops.clip(x, -0.5, 0.5) / (1.0 + ops.square(x))
        yield ops.stack([x, ops.flip(x, 1)], axis=2)
        yield ops.einsum("btf,bsf->bts", x, x)
        yield ops.split(x, 2, axis=-1)
        yield ops.prod(x, axis=(1, 2)), ops.prod(x, axis=(1, 2), keepdims=True)
        yield x[:, ::-1]
        yield x[:, 3:0:-2, ::-1] + x[:, -2::-2, 9:-9:-1]

    assert_same_source(model_of((5, 4), make), tmp_path)


ATTENTION = {
    "heads": lambda *both: layers.MultiHeadAttention(2, 3, value_dim=5)(*both, use_causal_mask=False),
    "heads-of-themselves": lambda x, other: layers.MultiHeadAttention(2, 3, use_bias=False, output_shape=7)(
        other, x, use_causal_mask=True
    ),
    "scores": lambda x, other: layers.MultiHeadAttention(2, 3)(other, x, return_attention_scores=True),
    "products": lambda x, other: layers.Attention(use_scale=True)([x, other]),
    "values": lambda x, other: layers.Attention()([other, x]),
    "gated-heads": lambda x, other: layers.MultiHeadAttention(2, 3, value_dim=5, use_gate=True)(
        other, x, return_attention_scores=True
    ),
    "heads-with-dropout": lambda x, other: layers.MultiHeadAttention(2, 3, dropout=0.2)(query=x, value=other),
    "grouped-heads": lambda x, other: layers.GroupQueryAttention(3, 4, 2)(other, x, use_causal_mask=True),
    "grouped-and-gated-heads": lambda x, other: layers.GroupQueryAttention(3, 6, 2, use_bias=False, use_gate=True)(
        x, other, return_attention_scores=True
    ),
    "sums": lambda x, other: layers.AdditiveAttention()([other, x]),
    "sums-without-a-scale": lambda x, other: layers.AdditiveAttention(use_scale=False)([other, x]),
    "sums-with-a-factor": lambda x, other: layers.Attention(score_mode="concat")([other, x]),
    "scaled-sums": lambda x, other: layers.Attention(use_scale=True, score_mode="concat")([x, other]),
}


@pytest.mark.parametrize("masked", [False, True], ids=["no-mask", "mask"])
@pytest.mark.parametrize("kind", ATTENTION)
def test_attention(kind, masked, tmp_path):
    tokens = keras.Input((6,), name="tokens", dtype="int32")
    other = keras.Input((5, 8), name="other")
    x = layers.Embedding(9, 8, mask_zero=masked)(tokens)
    model = keras.Model([tokens, other], keras.tree.flatten(ATTENTION[kind](x, other)), name="attention")
    assert_same_source(randomise(model), tmp_path)


def test_a_layer_that_is_used_twice_is_one_module(tmp_path):
    shared, inputs = layers.Dense(4, activation="tanh", name="shared"), keras.Input((5, 4), name="inputs")
    inner_in = keras.Input((5, 4))
    inner = keras.Model(inner_in, layers.LSTM(4, return_sequences=True, name="memory")(inner_in), name="inner")
    x = inner(shared(shared(inputs)))
    model = randomise(keras.Model(inputs, [inner(x), layers.Add()([x, inputs])], name="twice"))
    source = assert_same_source(model, tmp_path).read_text()
    assert source.count("self.shared = ") == source.count("self.inner_memory = ") == 1
    assert source.count("self.shared(") == source.count("self.inner_memory(") == 2


def encoder(name, **more):
    """A nested model with a way around."""
    inputs = keras.Input((None, 6))
    x = layers.MultiHeadAttention(2, 3, name="attention")(inputs, inputs, **more)
    x = layers.LayerNormalization(name="norm")(layers.Add()([inputs, x]))
    return keras.Model(inputs, layers.Dense(6, activation="gelu", name="dense")(x), name=name)


def test_a_nested_model_is_a_module_and_those_that_are_alike_have_one_class(tmp_path):
    one, other = keras.Input((None, 6), name="one"), keras.Input((None, 6), name="other")
    first, second, looks_back = encoder("encoder_1"), encoder("encoder_2"), encoder("decoder", use_causal_mask=True)
    x, y = second(first(one)), second(first(other))
    model = randomise(keras.Model([one, other], [looks_back(x), layers.Dense(2, name="head")(y)], name="pair"))
    path = assert_same_source(model, tmp_path)
    source = path.read_text()
    assert re.findall(r"class (\w+)\(nn.Module\)", source) == ["MultiHeadAttention", "Encoder", "Decoder", "Pair"]
    assert "self.encoder_1 = Encoder()\n        self.encoder_2 = Encoder()\n        self.decoder = Decoder()" in source
    assert source.count("self.encoder_1(") == source.count("self.encoder_2(") == 2
    names = wp.open(path.with_suffix(".safetensors")).tensors
    assert {"encoder_2.attention.query.weight", "decoder.norm.bias", "head.weight"} <= names.keys()


@pytest.mark.parametrize("channels_last", [False, True])
def test_maps_go_through_nested_models_as_they_are_held(channels_last, tmp_path):
    inner_input = keras.Input((7, 8, 4))
    y = layers.Conv2D(4, 3, padding="same", name="conv")(inner_input)
    inner = keras.Model(inner_input, [layers.Add()([inner_input, layers.ReLU()(y)]), y], name="block")
    image = keras.Input((7, 8, 4), name="image")
    x, y = inner(layers.Conv2D(4, 3, padding="same")(image))
    x, _ = inner(layers.Multiply()([x, y]))
    model = randomise(keras.Model(image, [layers.Dense(3)(layers.Flatten()(x)), x]))
    source = assert_same_source(model, tmp_path, channels_last=channels_last).read_text()
    assert source.count("permute") == (0 if channels_last else 2)


def test_a_nested_model_that_shares_a_layer_or_is_called_in_two_ways_is_taken_apart(tmp_path):
    shared = layers.Dense(4, activation="tanh", name="shared")
    inner_input = keras.Input((None, 4))
    x = layers.LayerNormalization(name="norm")(shared(inner_input))
    inner = keras.Model(inner_input, layers.Dense(4, activation="relu", name="out")(x), name="inner")
    masked_input = keras.Input((None, 4))
    x = layers.GRU(4, return_sequences=True, name="memory")(layers.Dense(4, activation="relu")(masked_input))
    either = keras.Model(masked_input, layers.Dense(4, activation="tanh")(x), name="either")
    inputs = keras.Input((None, 4), name="inputs")
    results = [inner(shared(inputs)), either(inputs), either(layers.Masking()(inputs))]
    source = assert_same_source(randomise(keras.Model(inputs, results, name="whole")), tmp_path).read_text()
    assert "self.shared = " in source
    assert source.count("self.inner_norm = ") == source.count("self.inner_out = ") == 1


def test_names_that_python_or_pytorch_keep_for_themselves_get_another(tmp_path):
    inputs = keras.Input((4,), name="lambda")
    x = layers.Dense(3, name="forward")(inputs)
    x = layers.Dense(3, name="2nd layer")(layers.Dense(3, name="class")(x))
    model = randomise(keras.Model(inputs, layers.Dense(2, name="train")(x), name="3 words: a b"))
    values = {"lambda": np.random.default_rng(1).normal(size=(3, 4)).astype("float32")}
    path = assert_same_source(model, tmp_path, values)
    assert "self.layer_2nd_layer = nn.Linear(3, 3)" in path.read_text()


def test_what_cannot_be_written_is_refused_by_name_all_at_once(tmp_path):
    inputs = keras.Input((6, 6, 3))
    x = layers.GRU(3, activation="glu", return_sequences=True, name="even")(layers.Reshape((-1, 3))(inputs))
    x = layers.LSTM(3, activation="glu", name="odd")(x)
    model = keras.Model(inputs, x)
    with pytest.raises(wp.RefusedError) as caught:
        to_source(model, tmp_path)
    assert {problem.split(":")[0] for problem in caught.value.problems} == {"even", "odd"}
    assert not (tmp_path / "model.py").exists()

"""Cases for the layers of a whole model: functions of one input, by family and by the shape that they take."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from keras import layers

from graph_checks import randomise

Case = Callable[[Any], Any]
WINDOWS = ((1, 1), (2, 1), (3, 1), (1, 2), (1, 3))
"""Strides and dilations, which Keras does not combine."""
ACTIVATIONS = (
    *("celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh"),
    *("leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu"),
    *("soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "tanh"),
    "tanh_shrink",
)


def windowed(make: Callable[..., Any], paddings: tuple[str, ...] = ("valid", "same"), **more: Any) -> list[Case]:
    """The layer with every padding, stride and dilation."""
    return [
        make(strides=stride, dilation_rate=dilation, padding=padding, **more)
        for padding in paddings
        for stride, dilation in WINDOWS
    ]


def transposed() -> Iterator[Case]:
    """Transposed convolutions whose windows are smaller, as large and larger than their strides."""
    for padding in ("valid", "same"):
        for size in (1, 2, 3, 4):
            for stride in (1, 2, 3):
                yield layers.Conv1DTranspose(3, size, strides=stride, padding=padding)
        yield layers.Conv1DTranspose(3, 3, strides=2, padding=padding, output_padding=1)


def pools(rank: int) -> Iterator[Case]:
    """Windows and whole maps of that many spatial axes."""
    for function in ("Max", "Average"):
        pool = getattr(layers, f"{function}Pooling{rank}D")
        for padding in ("valid", "same"):
            for size, stride in ((2, None), (3, 1), (3, 2), (2, 3)):
                yield pool(size, strides=stride, padding=padding)
        for keepdims in (False, True):
            yield getattr(layers, f"Global{function}Pooling{rank}D")(keepdims=keepdims)


def side_by_side(cases: Sequence[Case], shape: Sequence[int | None]) -> keras.Model:
    """A model of all the cases on one input."""
    inputs = keras.Input(shape, name="x")
    return randomise(keras.Model(inputs, [renamed(case, index)(inputs) for index, case in enumerate(cases)]))


def renamed(case: Case, index: int) -> Case:
    """The layer anew under a name that no other has: the names that Keras counts begin again in every session."""
    if not isinstance(case, layers.Layer):
        return case
    return type(case).from_config({**case.get_config(), "name": f"case_{index}"})


def numbers(shape: Sequence[int]) -> dict[str, np.ndarray]:
    """Three samples of that shape for the model's input."""
    return {"x": np.random.default_rng(2).normal(size=(3, *shape)).astype("float32")}


def dense(x: Any) -> Any:
    """Another value of the same shape."""
    return layers.Dense(x.shape[-1])(x)


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], list[Case]]] = {
    "conv1d": ((13, 4), windowed(layers.Conv1D, ("valid", "same", "causal"), filters=5, kernel_size=4)),
    "conv2d": ((13, 11, 4), windowed(layers.Conv2D, filters=6, kernel_size=(3, 2), groups=2)),
    "conv3d": ((7, 8, 9, 2), windowed(layers.Conv3D, filters=6, kernel_size=(3, 2, 2))),
    "depthwise1d": ((13, 4), windowed(layers.DepthwiseConv1D, kernel_size=3, depth_multiplier=3)),
    "depthwise2d": ((13, 11, 4), windowed(layers.DepthwiseConv2D, kernel_size=3, depth_multiplier=2)),
    "separable1d": ((13, 4), windowed(layers.SeparableConv1D, filters=5, kernel_size=3, depth_multiplier=2)),
    "separable2d": ((13, 11, 4), windowed(layers.SeparableConv2D, filters=5, kernel_size=3)),
    "transposed1d": ((5, 4), list(transposed())),
    "transposed2d": (
        (5, 6, 4),
        [layers.Conv2DTranspose(3, (3, 2), strides=(2, 3), padding=padding) for padding in ("valid", "same")],
    ),
    "transposed3d": ((4, 5, 3, 2), [layers.Conv3DTranspose(3, (3, 2, 4), strides=2, padding="same")]),
    "pool1d": ((13, 4), list(pools(1))),
    "pool2d": ((13, 10, 4), list(pools(2))),
    "pool3d": ((7, 10, 6, 4), list(pools(3))),
}

OTHERS: dict[str, tuple[tuple[int, ...], list[Case]]] = {
    "activations": (
        (5, 4),
        [
            *(layers.Activation(name) for name in ACTIVATIONS),
            layers.ReLU(max_value=1.5, negative_slope=0.1, threshold=0.3),
            layers.LeakyReLU(0.1),
            layers.ELU(0.7),
            layers.PReLU(),
            layers.PReLU(shared_axes=[1]),
            layers.Softmax(axis=1),
            layers.Dense(6, activation=layers.LeakyReLU(0.3)),
        ],
    ),
    "normalisation": (
        (5, 6, 8),
        [
            layers.BatchNormalization(),
            layers.BatchNormalization(scale=False, center=False, epsilon=0.1),
            layers.BatchNormalization(axis=1),
            layers.LayerNormalization(),
            layers.LayerNormalization(axis=(2, 3), center=False),
            layers.LayerNormalization(axis=1, scale=False),
            layers.GroupNormalization(4),
            layers.GroupNormalization(-1, center=False),
            layers.GroupNormalization(2, axis=2),
            layers.RMSNormalization(),
            layers.UnitNormalization(axis=(1, 2)),
            layers.Normalization(mean=0.3, variance=2.0),
            layers.Normalization(mean=np.arange(8) * 0.3, variance=np.arange(8) + 1.0),
            layers.Rescaling([0.1 * n for n in range(1, 9)], offset=[1.0 * n for n in range(8)]),
        ],
    ),
    "vectors": (
        (6,),
        [
            layers.BatchNormalization(),
            layers.LayerNormalization(),
            layers.Rescaling(1 / 3, offset=-1),
            layers.RepeatVector(3),
            layers.Reshape((2, 3)),
            layers.Reshape((-1, 2)),
            layers.Dense(4, use_bias=False),
        ],
    ),
    "steps": (
        (6, 4),
        [
            layers.Reshape((3, -1)),
            layers.Permute((2, 1)),
            layers.Cropping1D((1, 2)),
            layers.ZeroPadding1D((1, 2)),
            layers.UpSampling1D(3),
            layers.EinsumDense("abc,cd->abd", (None, 7), bias_axes="d"),
            lambda x: layers.Conv1D(3, 2)(layers.Permute((2, 1))(x)),
            lambda x: layers.Dense(3)(layers.Flatten()(layers.Conv1D(3, 2)(x))),
        ],
    ),
    "maps": (
        (6, 5, 4),
        [
            layers.Reshape((3, -1)),
            lambda x: layers.Permute((3, 1, 2))(layers.Conv2D(3, 2)(x)),
            layers.Cropping2D(((1, 2), (0, 1))),
            layers.ZeroPadding2D(((1, 2), (0, 3))),
            layers.UpSampling2D((3, 2)),
            layers.UpSampling2D((3, 2), interpolation="bilinear"),
            layers.Resizing(7, 9),
            layers.Resizing(4, 3),
            layers.Resizing(4, 9, interpolation="nearest"),
            lambda x: layers.Dense(3)(layers.Flatten()(layers.Conv2D(3, 2)(x))),
            layers.TimeDistributed(layers.Conv1D(3, 2)),
            layers.TimeDistributed(layers.Dense(3, activation="relu")),
            layers.TimeDistributed(layers.LSTM(3)),
            layers.AdaptiveAveragePooling2D((3, 5)),
            layers.AdaptiveAveragePooling2D((4, 3)),
            layers.AdaptiveMaxPooling2D((5, 2)),
            layers.CenterCrop(3, 4),
        ],
    ),
    "volumes": (
        (4, 5, 3, 2),
        [
            layers.Cropping3D(1),
            layers.ZeroPadding3D((1, 2, 3)),
            layers.UpSampling3D((2, 1, 3)),
            layers.TimeDistributed(layers.Conv2D(3, 2, padding="same")),
            layers.ConvLSTM2D(2, 2, padding="same", return_sequences=True),
            layers.ConvLSTM2D(3, (3, 2), strides=2, go_backwards=True, recurrent_activation="hard_sigmoid"),
            lambda x: layers.ConvLSTM2D(3, 2, dilation_rate=2, return_state=True)(x)[2],
        ],
    ),
    "merging": (
        (6, 4),
        [
            lambda x: layers.Add()([x, dense(x), dense(x)]),
            lambda x: layers.Subtract()([x, dense(x)]),
            lambda x: layers.Multiply()([x, dense(x)]),
            lambda x: layers.Average()([x, dense(x), dense(x)]),
            lambda x: layers.Maximum()([x, dense(x), dense(x)]),
            lambda x: layers.Minimum()([x, dense(x)]),
            lambda x: layers.Concatenate()([x, dense(x)]),
            lambda x: layers.Concatenate(axis=1)([x, dense(x)]),
            lambda x: layers.Dot(2)([x, dense(x)]),
            lambda x: layers.Dot((1, 1))([x, dense(x)]),
            lambda x: layers.Dot(2, normalize=True)([x, dense(x)]),
            lambda x: layers.Dot(1)([layers.GlobalMaxPooling1D()(x), layers.GlobalAveragePooling1D()(x)]),
            lambda x: layers.Multiply()([x, layers.GlobalMaxPooling1D()(x)]),
        ],
    ),
    "attention": (
        (6, 4),
        [
            lambda x: layers.Attention()([x, dense(x)]),
            lambda x: layers.Attention(use_scale=True, score_mode="concat")([x, x, dense(x)]),
            lambda x: layers.Attention(use_scale=True)([x, x], use_causal_mask=True),
            lambda x: layers.Attention()([x, dense(x)], return_attention_scores=True)[1],
            lambda x: layers.AdditiveAttention()([x, dense(x)]),
            lambda x: layers.MultiHeadAttention(2, 3, value_dim=5, output_shape=6)(x, x, dense(x)),
            lambda x: layers.MultiHeadAttention(2, 3, use_bias=False)(x, x, use_causal_mask=True),
            lambda x: layers.MultiHeadAttention(2, 3)(x, x, return_attention_scores=True)[1],
            lambda x: layers.GroupQueryAttention(2, 4, 2)(x, x),
        ],
    ),
    "operations": (
        (6, 4),
        [
            lambda x: x * 2.0 - 1.0,
            lambda x: 1.0 / (keras.ops.square(x) + 1.0),
            lambda x: keras.ops.where(x > 0, x, keras.ops.exp(x) - 1.0),
            lambda x: keras.ops.mean(x, axis=1, keepdims=True),
            lambda x: keras.ops.std(x, axis=(1, 2)),
            lambda x: keras.ops.max(keras.ops.abs(x), axis=-1),
            lambda x: keras.ops.matmul(x, keras.ops.transpose(x, (0, 2, 1))),
            lambda x: keras.ops.einsum("bij,bkj->bik", x, x),
            lambda x: keras.ops.concatenate([x[:, ::2], x[:, 1:4]], axis=1),
            lambda x: keras.ops.stack([x[:, 0], x[:, -1]], axis=1),
            lambda x: x[:, 1:-1, None, ..., 2],
            lambda x: x[:, ::-1, ::-2],
            lambda x: x[:, 4:0:-2, 2::-1],
            lambda x: keras.ops.split(x, 2, axis=1)[1],
            lambda x: keras.ops.reshape(x, (-1, 3, 8)),
            lambda x: keras.ops.expand_dims(keras.ops.squeeze(x[:, :1], 1), -1),
            lambda x: keras.ops.clip(x, -0.5, 0.7),
            lambda x: keras.ops.cast(x > 0, "float32"),
            lambda x: keras.ops.flip(x, axis=1),
            lambda x: keras.ops.cumsum(x, axis=1),
            lambda x: keras.ops.repeat(keras.ops.tile(x, (1, 2, 1)), 3, axis=2),
            lambda x: keras.ops.take(x, [2, 0, 2], axis=1),
            lambda x: keras.ops.pad(x, ((0, 0), (1, 2), (0, 1))),
            lambda x: keras.ops.pad(x, ((0, 0), (2, 1), (0, 0)), mode="reflect"),
            lambda x: keras.ops.pad(keras.ops.expand_dims(x, 2), ((0, 0), (2, 1), (0, 0), (1, 3)), mode="reflect"),
            lambda x: keras.ops.argmax(x, axis=-1),
            lambda x: keras.ops.softmax(x, axis=1),
            lambda x: keras.ops.maximum(x, 0.1) ** 1.5,
            lambda x: keras.ops.floor(x * 3) % 2 + x // 2,
            lambda x: keras.ops.logsumexp(keras.ops.swapaxes(x, 1, 2), axis=1),
            lambda x: keras.ops.relu(x) + keras.ops.gelu(x) + keras.ops.silu(x),
            lambda x: keras.ops.tanh(x) + keras.ops.ones_like(x),
        ],
    ),
}

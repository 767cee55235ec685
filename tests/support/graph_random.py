"""Random models: layers drawn with their settings for whatever shape has come about, branches that meet again."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from keras import layers

ACTIVATIONS = ("relu", "tanh", "sigmoid", "elu", "gelu", "silu", "hard_sigmoid", "softplus", "leaky_relu", None)
Draw = Callable[[np.random.Generator, Any], Any]


def random_model(seed: int) -> keras.Model:
    """A model of five to nine random layers on a vector, a sequence or an image."""
    random = np.random.default_rng(seed)
    shape = [(9,), (8, 5), (10, 9, 4)][seed % 3]
    free = seed % 3 == 1 and random.random() < 0.5
    x = inputs = keras.Input((None, *shape[1:]) if free else shape, name="x")
    for _ in range(random.integers(5, 10)):
        drawn = _layers_for(x)
        x = drawn[random.integers(len(drawn))](random, x)
    return keras.Model(inputs, layers.Dense(3)(x))


def _layers_for(x: Any) -> list[Draw]:
    """What can come after a value of this shape."""
    every: list[Draw] = [_dense, _normalisation, _activation, _residual, _gate, _dropout]
    by_rank: dict[int, list[Draw]] = {
        2: [_repeat, _unfold],
        3: [_recurrent, _both_ways, _conv1d, _pool1d, _attention, _steps, _last_axis],
        4: [_conv2d, _conv2d, _depthwise, _separable, _transposed, _pool2d, _resize, _border, _rows],
    }
    small = x.shape[1:-1] and any(size is not None and size < 4 for size in x.shape[1:-1])
    chosen = by_rank[len(x.shape)]
    if small:
        chosen = [_dense, _to_vector] if len(x.shape) == 4 else [_recurrent, _dense]
    return [*every, *chosen]


def _pick(random: np.random.Generator, values: Any) -> Any:
    return values[random.integers(len(values))]


def _units(random: np.random.Generator) -> int:
    return int(random.integers(2, 8))


def _window(random: np.random.Generator) -> dict[str, Any]:
    stride = int(random.integers(1, 3))
    return {
        "padding": _pick(random, ("same", "valid")),
        "strides": stride,
        "dilation_rate": 1 if stride > 1 else int(random.integers(1, 3)),
        "activation": _pick(random, ACTIVATIONS),
        "use_bias": bool(random.random() < 0.8),
    }


def _dense(random: np.random.Generator, x: Any) -> Any:
    return layers.Dense(_units(random), activation=_pick(random, ACTIVATIONS), use_bias=bool(random.random() < 0.8))(x)


def _normalisation(random: np.random.Generator, x: Any) -> Any:
    scale, center = bool(random.random() < 0.7), bool(random.random() < 0.7)
    if random.random() < 0.5:
        return layers.BatchNormalization(scale=scale, center=center, epsilon=_pick(random, (1e-3, 1e-2)))(x)
    return layers.LayerNormalization(scale=scale, center=center, epsilon=_pick(random, (1e-3, 1e-2)))(x)


def _activation(random: np.random.Generator, x: Any) -> Any:
    return layers.Activation(_pick(random, ACTIVATIONS[:-1]))(x)


def _dropout(random: np.random.Generator, x: Any) -> Any:
    return layers.GaussianNoise(0.2)(layers.Dropout(0.4)(x))


def _residual(random: np.random.Generator, x: Any) -> Any:
    other = layers.Dense(x.shape[-1], activation="tanh")(x)
    merged: Any = _pick(random, (layers.Add, layers.Average, layers.Maximum, layers.Concatenate))()([x, other])
    return merged


def _gate(random: np.random.Generator, x: Any) -> Any:
    return x * keras.ops.sigmoid(layers.Dense(x.shape[-1])(x)) + float(random.uniform(0.1, 1))


def _repeat(random: np.random.Generator, x: Any) -> Any:
    return layers.RepeatVector(int(random.integers(4, 7)))(x)


def _unfold(random: np.random.Generator, x: Any) -> Any:
    return layers.Reshape((6, -1))(layers.Dense(6 * _units(random))(x))


def _cell(random: np.random.Generator, sequences: bool) -> Any:
    kind = _pick(random, (layers.LSTM, layers.GRU, layers.SimpleRNN))
    more = {"reset_after": bool(random.random() < 0.5)} if kind is layers.GRU else {}
    return kind(
        _units(random), return_sequences=sequences, activation=_pick(random, ("tanh", "sigmoid", "relu")), **more
    )


def _recurrent(random: np.random.Generator, x: Any) -> Any:
    layer = _cell(random, bool(random.random() < 0.7))
    layer.go_backwards = bool(random.random() < 0.3)
    return layer(x)


def _both_ways(random: np.random.Generator, x: Any) -> Any:
    cell = _cell(random, bool(random.random() < 0.7))
    return layers.Bidirectional(cell, merge_mode=_pick(random, ("concat", "sum", "ave", "mul")))(x)


def _conv1d(random: np.random.Generator, x: Any) -> Any:
    more = _window(random)
    more["padding"] = "same" if x.shape[1] is None else _pick(random, ("same", "valid", "causal"))
    return layers.Conv1D(_units(random), int(random.integers(2, 4)), **more)(x)


def _pool1d(random: np.random.Generator, x: Any) -> Any:
    pool = _pick(random, (layers.MaxPooling1D, layers.AveragePooling1D))
    return pool(2, strides=_pick(random, (1, 2)), padding="same")(x)


def _attention(random: np.random.Generator, x: Any) -> Any:
    return layers.MultiHeadAttention(int(random.integers(1, 4)), 3)(x, x, use_causal_mask=bool(random.random() < 0.5))


def _steps(random: np.random.Generator, x: Any) -> Any:
    inner = keras.Sequential([layers.Dense(_units(random), activation="tanh"), layers.Dense(_units(random))])
    return layers.TimeDistributed(inner)(x)


def _last_axis(random: np.random.Generator, x: Any) -> Any:
    return _pick(random, (layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D))()(x)


def _conv2d(random: np.random.Generator, x: Any) -> Any:
    return layers.Conv2D(_units(random), int(random.integers(1, 4)), **_window(random))(x)


def _depthwise(random: np.random.Generator, x: Any) -> Any:
    return layers.DepthwiseConv2D(2, depth_multiplier=int(random.integers(1, 3)), **_window(random))(x)


def _separable(random: np.random.Generator, x: Any) -> Any:
    return layers.SeparableConv2D(_units(random), 2, **_window(random))(x)


def _transposed(random: np.random.Generator, x: Any) -> Any:
    more = {**_window(random), "dilation_rate": 1}
    return layers.Conv2DTranspose(_units(random), int(random.integers(1, 4)), **more)(x)


def _pool2d(random: np.random.Generator, x: Any) -> Any:
    pool = _pick(random, (layers.MaxPooling2D, layers.AveragePooling2D))
    return pool(_pick(random, (2, (2, 1))), strides=_pick(random, (1, 2)), padding=_pick(random, ("same", "valid")))(x)


def _resize(random: np.random.Generator, x: Any) -> Any:
    return layers.UpSampling2D((2, 1), interpolation=_pick(random, ("nearest", "bilinear")))(x)


def _border(random: np.random.Generator, x: Any) -> Any:
    return layers.ZeroPadding2D(((0, 1), (2, 1)))(layers.Cropping2D(((1, 0), (0, 1)))(x))


def _rows(random: np.random.Generator, x: Any) -> Any:
    turned = layers.Permute((2, 1, 3))(x) if random.random() < 0.5 else x
    return layers.TimeDistributed(layers.Conv1D(_units(random), 2))(turned)


def _to_vector(random: np.random.Generator, x: Any) -> Any:
    return layers.Flatten()(x) if random.random() < 0.5 else layers.GlobalAveragePooling2D()(x)

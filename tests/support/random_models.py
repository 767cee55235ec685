"""Random models, each in Keras and as the PyTorch twin that a person would write, layer by layer under one name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from live_cases import randomise

ACTIVATIONS = ("linear", "relu", "tanh", "sigmoid", "softplus", "elu", "gelu")
RECURRENT = {"LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU, "SimpleRNN": torch.nn.RNN}


class Twin(torch.nn.Module):
    """Steps in a row; what has weights is a child of the step's name."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Callable[[Any], Any]] = []

    def step(self, name: str, module: Any, run: Callable[[Any, Any], Any]) -> None:
        """Add a module, and how it is run on what the step before gave."""
        self.add_module(name, module)
        self.steps.append(lambda x: run(self.get_submodule(name), x))

    def forward(self, x: Any) -> Any:
        for step in self.steps:
            x = step(x)
        return x


def _apply(name: str) -> Callable[[Any], Any]:
    functions = {"linear": lambda x: x, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}
    return functions.get(name) or getattr(torch.nn.functional, name)


def _with_channels_second(module: Any, x: Any) -> Any:
    return module(x.transpose(1, 2)).transpose(1, 2) if x.ndim == 3 else module(x)


class Maker:
    """One random model in the making: the Keras layers, the twin, and what is known of the shape so far."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.layers: list[Any] = []
        self.twin = Twin()
        self.width = int(self.random.integers(2, 9))
        self.count = 0

    def one_of(self, values: Any) -> Any:
        """A random one of these."""
        return values[int(self.random.integers(len(values)))]

    def size(self) -> int:
        """A random width; now and then the one before, for square kernels."""
        return self.width if self.random.random() < 0.25 else int(self.random.integers(2, 17))

    def name(self, kind: str) -> str:
        """A name that no other layer has."""
        self.count += 1
        return f"{kind}_{self.count}"

    def dense(self, keras: Any) -> None:
        """A dense layer with an activation, with and without a bias."""
        name, units, bias, act = (
            self.name("dense"),
            self.size(),
            bool(self.random.random() < 0.8),
            self.one_of(ACTIVATIONS),
        )
        self.layers.append(keras.layers.Dense(units, activation=act, use_bias=bias, name=name))
        self.twin.step(name, torch.nn.Linear(self.width, units, bias), lambda m, x: _apply(act)(m(x)))
        self.width = units

    def recurrent(self, keras: Any) -> None:
        """An LSTM, GRU or plain RNN, one way or both."""
        kind, units, both = self.one_of(list(RECURRENT)), self.size(), bool(self.random.random() < 0.3)
        name = self.name(kind.lower())
        inner = getattr(keras.layers, kind)(units, return_sequences=True, name=f"{name}_inner" if both else name)
        self.layers.append(keras.layers.Bidirectional(inner, name=name) if both else inner)
        module = RECURRENT[kind](self.width, units, batch_first=True, bidirectional=both)
        self.twin.step(name, module, lambda m, x: m(x)[0])
        self.width = units * (2 if both else 1)

    def layer_norm(self, keras: Any) -> None:
        """Over the features."""
        name, epsilon = self.name("layer_norm"), self.one_of((1e-3, 1e-5))
        self.layers.append(keras.layers.LayerNormalization(epsilon=epsilon, name=name))
        self.twin.step(name, torch.nn.LayerNorm(self.width, eps=epsilon), lambda m, x: m(x))

    def batch_norm(self, keras: Any) -> None:
        """Over the channels, which are PyTorch's second axis."""
        name, epsilon = self.name("batch_norm"), self.one_of((1e-3, 1e-5))
        self.layers.append(keras.layers.BatchNormalization(epsilon=epsilon, name=name))
        self.twin.step(name, torch.nn.BatchNorm1d(self.width, eps=epsilon), _with_channels_second)

    def conv1d(self, keras: Any) -> None:
        """Causal, valid or same over the steps."""
        name, filters, kernel = self.name("conv"), self.size(), int(self.random.integers(2, 5))
        padding = self.one_of(("valid", "same", "causal"))
        self.layers.append(keras.layers.Conv1D(filters, kernel, padding=padding, name=name))
        left = {"valid": 0, "same": (kernel - 1) // 2, "causal": kernel - 1}[padding]
        right = {"valid": 0, "same": kernel - 1 - left, "causal": 0}[padding]

        def run(module: Any, x: Any) -> Any:
            return module(torch.nn.functional.pad(x.transpose(1, 2), (left, right))).transpose(1, 2)

        self.twin.step(name, torch.nn.Conv1d(self.width, filters, kernel), run)
        self.width = filters

    def last_step(self, keras: Any) -> None:
        """A recurrent layer that gives out its last step alone."""
        name, units = self.name("lstm"), self.size()
        self.layers.append(keras.layers.LSTM(units, name=name))
        self.twin.step(name, torch.nn.LSTM(self.width, units, batch_first=True), lambda m, x: m(x)[0][:, -1])
        self.width = units

    def conv2d(self, keras: Any) -> None:
        """A convolution of an image that PyTorch has with its channels first."""
        name, act = self.name("conv"), self.one_of(("relu", "tanh", "linear"))
        filters, kernel = self.size(), tuple(int(n) for n in self.random.integers(1, 4, 2))
        stride, same = int(self.random.integers(1, 3)), bool(self.random.random() < 0.5)
        padding = "same" if same and stride == 1 else "valid"
        self.layers.append(
            keras.layers.Conv2D(filters, kernel, strides=stride, padding=padding, activation=act, name=name)
        )
        module = torch.nn.Conv2d(self.width, filters, kernel, stride=stride, padding=padding)
        self.twin.step(name, module, lambda m, x: _apply(act)(m(x)))
        self.width = filters

    def batch_norm_2d(self, keras: Any) -> None:
        """Over the channels of an image."""
        name = self.name("batch_norm")
        self.layers.append(keras.layers.BatchNormalization(epsilon=1e-4, name=name))
        self.twin.step(name, torch.nn.BatchNorm2d(self.width, eps=1e-4), lambda m, x: m(x))


def random_model(seed: int) -> tuple[Any, Any, tuple[int, ...]]:
    """A Keras model, its untrained twin in evaluation mode, and the shape of an input of the twin."""
    import keras

    maker = Maker(seed)
    build = maker.one_of((_sequence, _tokens, _image, _features))
    inputs, shape = build(keras, maker)
    model = keras.Sequential([inputs, *maker.layers])
    randomise(model.weights, seed)
    return model, maker.twin.eval(), shape


def _sequence(keras: Any, maker: Maker) -> tuple[Any, tuple[int, ...]]:
    inputs, shape = keras.Input((None, maker.width)), (3, 11, maker.width)
    _steps(keras, maker)
    return inputs, shape


def _tokens(keras: Any, maker: Maker) -> tuple[Any, tuple[int, ...]]:
    tokens, features, name = int(maker.random.integers(5, 30)), maker.size(), maker.name("embedding")
    maker.layers.append(keras.layers.Embedding(tokens, features, name=name))
    maker.twin.step(name, torch.nn.Embedding(tokens, features), lambda m, x: m(x))
    maker.width = features
    _steps(keras, maker)
    return keras.Input((None,), dtype="int32"), (3, 11)


def _steps(keras: Any, maker: Maker) -> None:
    for _ in range(int(maker.random.integers(1, 5))):
        maker.one_of((maker.recurrent, maker.recurrent, maker.dense, maker.layer_norm, maker.batch_norm, maker.conv1d))(
            keras
        )
    if maker.random.random() < 0.5:
        maker.last_step(keras)
    maker.dense(keras)


def _features(keras: Any, maker: Maker) -> tuple[Any, tuple[int, ...]]:
    inputs, shape = keras.Input((maker.width,)), (3, maker.width)
    for _ in range(int(maker.random.integers(1, 7))):
        maker.one_of((maker.dense, maker.dense, maker.layer_norm, maker.batch_norm))(keras)
    maker.dense(keras)
    return inputs, shape


def _image(keras: Any, maker: Maker) -> tuple[Any, tuple[int, ...]]:
    height, width, channels = (*(int(n) for n in maker.random.integers(15, 20, 2)), maker.width)
    for _ in range(int(maker.random.integers(1, 4))):
        maker.conv2d(keras)
        if maker.random.random() < 0.4:
            maker.batch_norm_2d(keras)
    maker.layers.append(keras.layers.Flatten())
    maker.twin.steps.append(lambda x: x.flatten(1))
    with torch.no_grad():
        maker.width = int(maker.twin.eval()(torch.zeros(1, channels, height, width)).shape[1])
    maker.dense(keras)
    return keras.Input((height, width, channels)), (3, channels, height, width)

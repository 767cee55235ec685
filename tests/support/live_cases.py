"""One layer in real Keras and its twin in real PyTorch, for every kind and setting that both can run.

The values hide nothing: random non-zero biases, batch 3, five time steps, another size for every axis, kernels that
are not square (and square matrices where a missed transposition would not show in a shape).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BATCH, TIME, IN, UNIT = 3, 5, 4, 6


def same(array: Any) -> Any:
    """Both sides have the array in the same order of axes."""
    return array


def channels_first(array: Any) -> Any:
    """(batch, *space, channel) to (batch, channel, *space)."""
    return array.movedim(-1, 1)


def channels_last(array: Any) -> Any:
    """(batch, channel, *space) to (batch, *space, channel)."""
    return array.movedim(1, -1)


@dataclass(frozen=True)
class Case:
    """``keras(layers)`` and ``torch(nn)`` make the layer; ``input_shape`` is without the batch. ``turn_in`` and
    ``turn_out`` turn a torch tensor from Keras' order of axes and back."""

    name: str
    keras: Callable[[Any], Any]
    torch: Callable[[Any], Any]
    input_shape: tuple[int, ...]
    turn_in: Callable[[Any], Any] = same
    turn_out: Callable[[Any], Any] = same
    tokens: int = 0
    into_keras: bool = True

    @property
    def recurrent(self) -> bool:
        """Whether the torch module gives (output, state)."""
        return self.name.startswith(("lstm", "gru", "rnn", "bidirectional"))

    def input(self, dtype: str) -> np.ndarray:
        """A random input."""
        generator = np.random.default_rng(7)
        shape = (BATCH, *self.input_shape)
        if self.tokens:
            return generator.integers(0, self.tokens, shape)
        return generator.normal(size=shape).astype(dtype)


def _recurrent(name: str, keras: Callable[[Any], Any], torch: Callable[[Any], Any], inputs: int = IN) -> Case:
    return Case(name, keras, torch, (TIME, inputs))


CASES = [
    _recurrent("lstm", lambda k: k.LSTM(UNIT, return_sequences=True), lambda n: n.LSTM(IN, UNIT, batch_first=True)),
    _recurrent("lstm-square", lambda k: k.LSTM(IN, return_sequences=True), lambda n: n.LSTM(IN, IN, batch_first=True)),
    _recurrent(
        "lstm-no-bias",
        lambda k: k.LSTM(UNIT, use_bias=False, return_sequences=True),
        lambda n: n.LSTM(IN, UNIT, bias=False, batch_first=True),
    ),
    _recurrent("gru", lambda k: k.GRU(UNIT, return_sequences=True), lambda n: n.GRU(IN, UNIT, batch_first=True)),
    _recurrent(
        "gru-no-bias",
        lambda k: k.GRU(UNIT, use_bias=False, return_sequences=True),
        lambda n: n.GRU(IN, UNIT, bias=False, batch_first=True),
    ),
    _recurrent("rnn", lambda k: k.SimpleRNN(UNIT, return_sequences=True), lambda n: n.RNN(IN, UNIT, batch_first=True)),
    _recurrent(
        "rnn-relu",
        lambda k: k.SimpleRNN(UNIT, activation="relu", return_sequences=True),
        lambda n: n.RNN(IN, UNIT, nonlinearity="relu", batch_first=True),
    ),
    *(
        _recurrent(
            f"bidirectional-{kind.lower()}",
            lambda k, kind=kind: k.Bidirectional(getattr(k, kind)(UNIT, return_sequences=True)),
            lambda n, kind=kind: getattr(n, kind.removeprefix("Simple"))(
                IN, UNIT, bidirectional=True, batch_first=True
            ),
        )
        for kind in ("LSTM", "GRU", "SimpleRNN")
    ),
    _recurrent(
        "rnn-cell",
        lambda k: k.RNN(k.LSTMCell(UNIT), return_sequences=True),
        lambda n: n.LSTM(IN, UNIT, batch_first=True),
    ),
    _recurrent(
        "rnn-stacked-cells",
        lambda k: k.RNN(k.StackedRNNCells([k.LSTMCell(UNIT), k.LSTMCell(UNIT)]), return_sequences=True),
        lambda n: n.LSTM(IN, UNIT, num_layers=2, batch_first=True),
    ),
    Case("dense", lambda k: k.Dense(UNIT), lambda n: n.Linear(IN, UNIT), (IN,)),
    Case("dense-square-no-bias", lambda k: k.Dense(IN, use_bias=False), lambda n: n.Linear(IN, IN, bias=False), (IN,)),
    Case(
        "dense-time-distributed", lambda k: k.TimeDistributed(k.Dense(UNIT)), lambda n: n.Linear(IN, UNIT), (TIME, IN)
    ),
    Case("conv1d", lambda k: k.Conv1D(6, 3), lambda n: n.Conv1d(4, 6, 3), (9, 4), channels_first, channels_last),
    Case(
        "conv2d-groups-strides",
        lambda k: k.Conv2D(6, (3, 2), strides=(2, 1), groups=2),
        lambda n: n.Conv2d(4, 6, (3, 2), stride=(2, 1), groups=2),
        (9, 7, 4),
        channels_first,
        channels_last,
    ),
    Case(
        "conv3d",
        lambda k: k.Conv3D(5, (2, 3, 4), use_bias=False),
        lambda n: n.Conv3d(3, 5, (2, 3, 4), bias=False),
        (5, 6, 7, 3),
        channels_first,
        channels_last,
    ),
    Case(
        "batch_norm",
        lambda k: k.BatchNormalization(epsilon=1e-4),
        lambda n: n.BatchNorm2d(4, eps=1e-4),
        (5, 3, 4),
        channels_first,
        channels_last,
    ),
    Case("layer_norm", lambda k: k.LayerNormalization(epsilon=1e-4), lambda n: n.LayerNorm(4, eps=1e-4), (5, 4)),
    Case("embedding", lambda k: k.Embedding(9, UNIT), lambda n: n.Embedding(9, UNIT), (TIME,), tokens=9),
]


def keras_model(case: Case, dtype: str = "float32", seed: int = 1, name: str = "layer") -> Any:
    """A Keras model of the one layer, called ``name``, with random weights."""
    import keras

    layer = case.keras(_Typed(keras.layers, dtype))
    layer.name = name
    model = keras.Sequential([keras.Input(case.input_shape, dtype="int32" if case.tokens else dtype), layer])
    randomise(model.weights, seed)
    return model


def randomise(variables: Any, seed: int) -> None:
    """Random values in every Keras variable, no zeros; variances positive."""
    generator = np.random.default_rng(seed)
    for variable in variables:
        if str(variable.dtype).startswith(("float", "bfloat")):
            values = generator.uniform(0.2, 0.6, variable.shape) * generator.choice([-1, 1], variable.shape)
            variable.assign(np.abs(values) if "variance" in variable.path else values)


def torch_module(case: Case, dtype: str = "float32", seed: int = 2, name: str = "layer") -> Any:
    """A PyTorch module that has the layer as its child ``name``, with random weights, in evaluation mode."""
    import torch

    class Holder(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return _first(self.get_submodule(name)(x))

    holder = Holder()
    holder.add_module(name, case.torch(torch.nn))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in holder.state_dict().items():
            if tensor.is_floating_point():
                tensor.uniform_(0.2, 0.6, generator=generator)
                if "var" not in key:
                    tensor.mul_(torch.randint(0, 2, tensor.shape, generator=generator) * 2 - 1)
    return holder.to(getattr(torch, dtype)).eval()


def run_torch(case: Case, module: Any, inputs: np.ndarray) -> np.ndarray:
    """The module's output, in Keras' order of axes."""
    import torch

    with torch.no_grad():
        return case.turn_out(module(case.turn_in(torch.from_numpy(inputs)).contiguous())).numpy()


def run_keras(model: Any, inputs: np.ndarray) -> np.ndarray:
    """The model's output."""
    return np.asarray(model(inputs, training=False))


def tolerance(dtype: str) -> float:
    """What two frameworks may differ by when both compute in this dtype."""
    return 1e-12 if dtype == "float64" else 1e-5


class _Typed:
    """``keras.layers`` whose layers are all of one dtype."""

    def __init__(self, layers: Any, dtype: str) -> None:
        self._layers, self._dtype = layers, dtype

    def __getattr__(self, name: str) -> Any:
        made = getattr(self._layers, name)
        return lambda *args, **settings: made(*args, dtype=self._dtype, **settings)


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) else output

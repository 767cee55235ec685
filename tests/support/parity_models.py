"""Small models in Keras, PyTorch and ONNX that compute the same, each layer under one name, and with faults planted.

``before`` and ``after`` stand around the layer that is at fault, so that naming it means more than naming the first.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from live_cases import randomise

warnings.filterwarnings("ignore", category=UserWarning, module="torch.onnx")


class Recurrent(torch.nn.Module):
    """Dense, recurrent, dense. ``flip`` reads the sequence from its other end."""

    def __init__(self, kind: str = "LSTM", *, bidirectional: bool = False, flip: bool = False) -> None:
        super().__init__()
        self.before = torch.nn.Linear(4, 5)
        self.rnn = getattr(torch.nn, kind)(5, 6, batch_first=True, bidirectional=bidirectional)
        self.after = torch.nn.Linear(12 if bidirectional else 6, 3)
        self.flip = flip

    def forward(self, x: Any) -> Any:
        x = torch.tanh(self.before(x))
        return self.after(self.rnn(x.flip(1) if self.flip else x)[0])


class Convolutional(torch.nn.Module):
    """Two convolutions and a dense layer on the flattened map. ``pads`` are those of the second convolution."""

    def __init__(self, *, pads: tuple[int, ...] = (0, 1, 0, 1), channels_last: bool = False) -> None:
        super().__init__()
        self.before = torch.nn.Conv2d(3, 4, 3, padding="same")
        self.conv = torch.nn.Conv2d(4, 5, 3, stride=2)
        self.after = torch.nn.Linear(5 * 4 * 5, 3)
        self.pads, self.channels_last = pads, channels_last

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.before(x))
        x = torch.relu(self.conv(torch.nn.functional.pad(x, self.pads)))
        return self.after((x.permute(0, 2, 3, 1) if self.channels_last else x).flatten(1))


class Normalised(torch.nn.Module):
    """Dense, batch norm, dropout, dense."""

    def __init__(self, *, epsilon: float = 1e-3, dropout: float = 0.0, activation: Any = torch.relu) -> None:
        super().__init__()
        self.before = torch.nn.Linear(4, 6)
        self.norm = torch.nn.BatchNorm1d(6, eps=epsilon)
        self.drop = torch.nn.Dropout(dropout)
        self.after = torch.nn.Linear(6, 3)
        self.activation = activation

    def forward(self, x: Any) -> Any:
        return self.after(self.drop(self.activation(self.norm(self.before(x)))))


def keras_recurrent(kind: str = "LSTM", seed: int = 1, **settings: Any) -> Any:
    """The twin of :class:`Recurrent`."""
    import keras

    layer = getattr(keras.layers, kind)(6, return_sequences=True, name="rnn", **settings)
    parts = [keras.layers.Dense(5, "tanh", name="before"), layer, keras.layers.Dense(3, name="after")]
    return _randomised(keras.Sequential([keras.Input((None, 4)), *parts]), seed)


def keras_convolutional(seed: int = 1) -> Any:
    """The twin of :class:`Convolutional`."""
    import keras

    layers = keras.layers
    parts = [
        layers.Conv2D(4, 3, padding="same", activation="relu", name="before"),
        layers.Conv2D(5, 3, strides=2, padding="same", activation="relu", name="conv"),
        layers.Flatten(),
        layers.Dense(3, name="after"),
    ]
    return _randomised(keras.Sequential([keras.Input((8, 10, 3)), *parts]), seed)


def keras_normalised(seed: int = 1) -> Any:
    """The twin of :class:`Normalised`."""
    import keras

    layers = keras.layers
    parts = [
        layers.Dense(6, name="before"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(),
        layers.Dense(3, name="after"),
    ]
    return _randomised(keras.Sequential([keras.Input((4,)), *parts]), seed)


def _randomised(model: Any, seed: int) -> Any:
    randomise(model.weights, seed)
    return model


def exported(module: Any, shape: tuple[int, ...], *, training: bool = False) -> Any:
    """The module as an ONNX model in memory, for any batch and, where it has three axes, any length."""
    import io

    import onnx

    tokens = any(isinstance(part, torch.nn.Embedding) for part in module.modules())
    axes = {0: "batch", **({1: "time"} if len(shape) == 3 or tokens else {})}
    mode = torch.onnx.TrainingMode.TRAINING if training else torch.onnx.TrainingMode.PRESERVE
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(shape, dtype=torch.int64 if tokens else torch.float32),),
            file,
            input_names=["x"],
            dynamic_axes={"x": axes},
            training=mode,
            do_constant_folding=not training,
            dynamo=False,
        )
    return onnx.load_from_string(file.getvalue())


def node_of(model: Any, operator: str) -> Any:
    """The only node of that operator."""
    (node,) = [node for node in model.graph.node if node.op_type == operator]
    return node


def changed(model: Any, operator: str, **attributes: Any) -> Any:
    """The ONNX model with attributes of the only node of that operator set."""
    from onnx import helper

    node = node_of(model, operator)
    for name in attributes:
        for old in [old for old in node.attribute if old.name == name]:
            node.attribute.remove(old)
    node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    return model


def gates_exchanged(module: Any, one: int, other: int, unit: int = 6) -> Any:
    """The recurrent module with two gates in each other's place, in every weight and bias."""
    with torch.no_grad():
        for name, tensor in module.rnn.named_parameters():
            rows = np.arange(len(tensor)).reshape(-1, unit)
            rows[[one, other]] = rows[[other, one]]
            tensor.copy_(tensor[torch.from_numpy(rows.reshape(-1).copy())])
            assert name
    return module


def bias_halves_exchanged(module: Any) -> Any:
    """The recurrent module with the input's bias and the state's in each other's place."""
    with torch.no_grad():
        kept = module.rnn.bias_ih_l0.clone()
        module.rnn.bias_ih_l0.copy_(module.rnn.bias_hh_l0)
        module.rnn.bias_hh_l0.copy_(kept)
    return module

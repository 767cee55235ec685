"""Whole Keras models and PyTorch twins as someone else wrote them: other names, other grouping, channels first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import torch

nn, layers = torch.nn, keras.layers


@dataclass(frozen=True)
class Twins:
    """A Keras model and its twin; ``wrong`` is a mapping that is not right, and what its refusal says."""

    keras: Callable[[], Any]
    torch: Callable[[], Any]
    inputs: Callable[[], list[np.ndarray[Any, Any]]]
    wrong: tuple[dict[str, str], str]


def floats(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).normal(size=shape).astype("float32")


def tokens(count: int, *shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(5).integers(0, count, shape)


def classifier() -> Any:
    inputs = keras.Input((12, 10, 3))
    x = inputs
    for filters in (6, 8):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(epsilon=1e-5)(x))
    x = layers.DepthwiseConv2D(3, padding="same")(layers.MaxPooling2D(2)(x))
    x = layers.SeparableConv2D(8, 3, padding="same", use_bias=True)(x)
    x = layers.Conv2D(8, (3, 1), groups=2, dilation_rate=2)(x)
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    x = layers.Dense(9, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(4)(x))


class Stage(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.filter = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return torch.relu(self.norm(self.filter(x)))


class ImageNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Sequential(nn.Linear(2 * 5 * 8, 9), nn.ReLU(), nn.Linear(9, 4))
        last = nn.Conv2d(8, 8, (3, 1), groups=2, dilation=2)
        slim = [nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)]
        self.body = nn.Sequential(Stage(3, 6), Stage(6, 8), nn.MaxPool2d(2), *slim, nn.Conv2d(8, 8, 1), last)

    def forward(self, x):
        return self.head(self.body(x.permute(0, 3, 1, 2)).flatten(1))


def speech() -> Any:
    return keras.Sequential(
        [
            keras.Input((20, 7)),
            layers.Conv1D(6, 5, strides=2, activation="relu"),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
            layers.TimeDistributed(layers.Dense(8, activation="tanh")),
            layers.Dense(6),
        ]
    )


class Listener(nn.Module):
    def __init__(self):
        super().__init__()
        self.frontend = nn.Conv1d(7, 6, 5, stride=2)
        self.rnn = nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.proj = nn.Linear(10, 8)
        self.out = nn.Linear(8, 6)

    def forward(self, x):
        x = torch.relu(self.frontend(x.transpose(1, 2))).transpose(1, 2)
        return self.out(torch.tanh(self.proj(self.rnn(x)[0])))


def translator() -> Any:
    source, target = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    encoded, hidden, cell = layers.LSTM(6, return_sequences=True, return_state=True, name="encoder_lstm")(
        layers.Embedding(11, 6, name="encoder_embedding")(source)
    )
    decoded = layers.LSTM(6, return_sequences=True, name="decoder_lstm")(
        layers.Embedding(11, 6, name="decoder_embedding")(target), initial_state=[hidden, cell]
    )
    context = layers.Attention()([decoded, encoded])
    joined = layers.Dense(6, activation="tanh", name="combine")(layers.Concatenate()([decoded, context]))
    return keras.Model([source, target], layers.Dense(11, name="vocabulary")(joined))


class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 6, batch_first=True)
        self.embedding = nn.Embedding(11, 6)


class Translator(nn.Module):
    """The decoder is defined first, and every shape of it is the encoder's."""

    def __init__(self):
        super().__init__()
        self.decoder, self.encoder = Part(), Part()
        self.to_vocabulary = nn.Linear(6, 11)
        self.mix = nn.Linear(12, 6)

    def forward(self, source, target):
        encoded, state = self.encoder.lstm(self.encoder.embedding(source))
        decoded, _ = self.decoder.lstm(self.decoder.embedding(target), state)
        context = (decoded @ encoded.transpose(1, 2)).softmax(-1) @ encoded
        return self.to_vocabulary(torch.tanh(self.mix(torch.cat([decoded, context], -1))))


def siamese() -> Any:
    reader, code = layers.GRU(6, name="reader"), layers.Dense(6, activation="tanh", name="code")
    tower = keras.Sequential([keras.Input((5, 4)), reader, code], name="tower")
    one, other = keras.Input((5, 4)), keras.Input((5, 4))
    joined = layers.Concatenate()([tower(one), tower(other)])
    return keras.Model([one, other], layers.Dense(3, name="verdict")(layers.Dense(6, name="mixer")(joined)))


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.ModuleDict({"gru": nn.GRU(4, 6, batch_first=True), "fc": nn.Linear(6, 6)})
        self.classifier = nn.Sequential(nn.Linear(12, 6), nn.Linear(6, 3))

    def read(self, x):
        return torch.tanh(self.shared["fc"](self.shared["gru"](x)[0][:, -1]))

    def forward(self, one, other):
        return self.classifier(torch.cat([self.read(one), self.read(other)], -1))


def transformer() -> Any:
    source = keras.Input((None,), dtype="int32")
    x = layers.Embedding(13, 8, name="tokens")(source)
    for block in range(3):
        name = f"block_{block}"
        attended = layers.MultiHeadAttention(2, 4, name=f"{name}_attention")(x, x)
        x = layers.LayerNormalization(epsilon=1e-5, name=f"{name}_norm_attention")(x + attended)
        wide = layers.Dense(8, activation="relu", name=f"{name}_mlp_up")(x)
        x = layers.LayerNormalization(epsilon=1e-5, name=f"{name}_norm_mlp")(
            x + layers.Dense(8, name=f"{name}_mlp_down")(wide)
        )
    return keras.Model(source, layers.Dense(5, name="head")(x))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mlp = nn.ModuleDict({"down": nn.Linear(8, 8), "up": nn.Linear(8, 8)})
        self.mlp_norm, self.attn_norm = nn.LayerNorm(8), nn.LayerNorm(8)

    def forward(self, x):
        x = self.attn_norm(x + self.attn(x, x, x, need_weights=False)[0])
        return self.mlp_norm(x + self.mlp["down"](torch.relu(self.mlp["up"](x))))


class Projections(nn.Module):
    """Attention as most people write it: four linear layers."""

    def __init__(self):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(8, 8) for _ in range(4))

    def forward(self, x, *_, need_weights=False):
        query, key, value = (
            layer(x).unflatten(-1, (2, 4)).transpose(1, 2) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = (query @ key.transpose(-1, -2) / 2).softmax(-1) @ value
        return (self.out_proj(attended.transpose(1, 2).flatten(2)),)


class Transformer(nn.Module):
    def __init__(self, attention=None):
        super().__init__()
        self.wte = nn.Embedding(13, 8)
        self.layers = nn.ModuleList([Block() for _ in range(3)])
        for layer in self.layers if attention else ():
            layer.attn = attention()
        self.classifier = nn.Linear(8, 5)

    def forward(self, x):
        x = self.wte(x)
        for layer in self.layers:
            x = layer(x)
        return self.classifier(x)


TWINS = {
    "classifier": Twins(
        classifier,
        ImageNet,
        lambda: [floats(3, 12, 10, 3)],
        ({"dense": "head.2", "dense_1": "head.0"}, "in is 80 in the source, 9 in the target"),
    ),
    "speech": Twins(
        speech, Listener, lambda: [floats(3, 20, 7)], ({"dense_1": "proj"}, "in is 8 in the source, 10 in the target")
    ),
    "translator": Twins(
        translator,
        Translator,
        lambda: [tokens(11, 3, 7), tokens(11, 3, 5)],
        ({"encoder_lstm": "encoder.embedding"}, "the mapping file pairs encoder_lstm (lstm) with encoder.embedding"),
    ),
    "siamese": Twins(
        siamese,
        Siamese,
        lambda: [floats(3, 5, 4), floats(3, 5, 4) * 2],
        ({"tower.code": "classifier.0"}, "in is 6 in the source, 12 in the target"),
    ),
    "transformer": Twins(
        transformer,
        Transformer,
        lambda: [tokens(13, 3, 6)],
        ({"head": "wte"}, "the mapping file pairs head (dense) with wte (embedding)"),
    ),
    "transformer-of-linears": Twins(
        transformer,
        lambda: Transformer(Projections),
        lambda: [tokens(13, 3, 6)],
        ({"tokens": "classifier"}, "the mapping file pairs tokens (embedding) with classifier (dense)"),
    ),
}

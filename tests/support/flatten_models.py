"""Keras models that flatten feature maps, each with a PyTorch twin as a person writes it, channels-first; and what of
them is turned."""

from __future__ import annotations

import keras
import numpy as np
import torch

nn, layers = torch.nn, keras.layers


class Classifier(nn.Module):
    """Convolution, pooling, flattened, a batch norm over all rows, two dense layers."""

    def __init__(self, channels, rows):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, (3, 2))
        self.norm = nn.BatchNorm1d(rows, eps=1e-3)
        self.hidden = nn.Linear(rows, 7)
        self.head = nn.Linear(7, 4)

    def forward(self, x):
        x = torch.relu(self.conv(x.permute(0, 3, 1, 2)))
        return self.head(self.hidden(self.norm(nn.functional.max_pool2d(x, 2).flatten(1))))


def classifier(height, width, channels):
    model = keras.Sequential(
        [
            keras.Input((height, width, 3)),
            layers.Conv2D(channels, (3, 2), activation="relu", name="conv"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.BatchNormalization(name="norm"),
            layers.Dense(7, name="hidden"),
            layers.Dense(4, name="head"),
        ]
    )
    return model, Classifier(channels, model.get_layer("hidden").kernel.shape[0])


class Decoder(nn.Module):
    """A dense layer and a batch norm whose rows become a map, which a convolution reads, and then flattened again."""

    def __init__(self):
        super().__init__()
        self.expand = nn.Linear(5, 4 * 3 * 6)
        self.norm = nn.BatchNorm1d(4 * 3 * 6, eps=1e-3)
        self.conv = nn.Conv2d(6, 4, 2)
        self.code = nn.Linear(3 * 2 * 4, 8)

    def forward(self, x):
        x = torch.relu(self.norm(self.expand(x))).unflatten(1, (6, 4, 3))
        return self.code(self.conv(x).flatten(1))


def decoder():
    inputs = keras.Input((5,))
    x = layers.BatchNormalization(name="norm")(layers.Dense(4 * 3 * 6, name="expand")(inputs))
    x = layers.Conv2D(4, 2, name="conv")(layers.Reshape((4, 3, 6))(layers.ReLU()(x)))
    return keras.Model(inputs, layers.Dense(8, name="code")(layers.Flatten()(x))), Decoder()


class Reader(nn.Module):
    """Text in an image: every column of the map is one step of an LSTM."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding="same")
        self.rnn = nn.LSTM(4 * 6, 5, bidirectional=True, batch_first=True)
        self.head = nn.Linear(10, 3)

    def forward(self, x):
        x = self.conv(x.permute(0, 3, 1, 2))
        return self.head(self.rnn(x.permute(0, 3, 1, 2).flatten(2))[0])


def reader():
    model = keras.Sequential(
        [
            keras.Input((4, 7, 1)),
            layers.Conv2D(6, 3, padding="same", name="conv"),
            layers.Permute((2, 1, 3)),
            layers.Reshape((7, 4 * 6)),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True), name="rnn"),
            layers.Dense(3, name="head"),
        ]
    )
    return model, Reader()


class Video(nn.Module):
    """Each frame's map is flattened, and a stack of two GRUs reads the frames."""

    def __init__(self):
        super().__init__()
        self.frame = nn.Conv2d(2, 5, 3)
        self.rnn = nn.GRU(2 * 3 * 5, 4, num_layers=2, batch_first=True)

    def forward(self, x):
        maps = self.frame(x.flatten(0, 1).permute(0, 3, 1, 2)).unflatten(0, x.shape[:2])
        return self.rnn(maps.flatten(2))[0]


def video():
    model = keras.Sequential(
        [
            keras.Input((6, 4, 5, 2)),
            layers.TimeDistributed(layers.Conv2D(5, 3), name="frame"),
            layers.TimeDistributed(layers.Flatten()),
            layers.GRU(4, return_sequences=True, name="below"),
            layers.GRU(4, return_sequences=True, name="above"),
        ]
    )
    return model, Video()


class Waves(nn.Module):
    """A convolution over time that is flattened twice, by shared layers, and added."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 6, 3, dilation=2)
        self.head = nn.Linear(5 * 6, 3)

    def forward(self, x):
        both = self.conv(x.transpose(1, 2)).flatten(1)
        return self.head(both + torch.tanh(both))


def waves():
    inputs = keras.Input((9, 2))
    flat = layers.Flatten()(layers.Conv1D(6, 3, dilation_rate=2, name="conv")(inputs))
    return keras.Model(
        inputs, layers.Dense(3, name="head")(layers.Add()([flat, layers.Activation("tanh")(flat)]))
    ), Waves()


class Steps(nn.Module):
    """Steps of an LSTM that are flattened: every framework has them alike, and nothing turns."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 4, batch_first=True)
        self.head = nn.Linear(20, 4)

    def forward(self, x):
        return self.head(self.rnn(x)[0].flatten(1))


def steps():
    return keras.Sequential(
        [
            keras.Input((5, 3)),
            layers.LSTM(4, return_sequences=True, name="rnn"),
            layers.Flatten(),
            layers.Dense(4, name="head"),
        ]
    ), Steps()


# The model and its twin, and the layers of the model whose rows turn.
MODELS = {
    "classifier": (lambda: classifier(9, 7, 4), {"hidden", "norm"}),
    "classifier-of-square-maps": (lambda: classifier(8, 7, 9), {"hidden", "norm"}),
    "decoder": (decoder, {"expand", "norm", "code"}),
    "reader": (reader, {"rnn"}),
    "video": (video, {"below + above"}),
    "waves": (waves, {"head"}),
    "steps": (steps, set()),
}


class ChannelsLast(Classifier):
    """The classifier as an exporter from a channels-last framework leaves it: the axes turn around each convolution."""

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.conv(x.permute(0, 3, 1, 2))), 2)
        return self.head(self.hidden(self.norm(x.permute(0, 2, 3, 1).flatten(1))))


def inputs_of(model):
    """Random inputs of a Keras model."""
    shape = (3, *model.input_shape[1:])
    return np.random.default_rng(3).normal(size=shape).astype("float32")


def fill(module, seed=5):
    """Random values in every parameter and buffer, variances positive."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.8 - (0.0 if "var" in key else 0.4))
    return module.eval()


def run_torch(module, inputs):
    with torch.no_grad():
        return module.eval()(torch.from_numpy(inputs)).numpy()

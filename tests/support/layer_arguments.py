"""Small arguments for every class of ``keras.layers`` and ``torch.nn`` that needs some, to build each of them with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def _of(names: str, *positional: Any, **named: Any) -> dict[str, Arguments]:
    return dict.fromkeys(names.split(), (positional, named))


# Classes that need none are not here.
TORCH: dict[str, Arguments] = {
    **_of("AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d", 2),
    **_of("AdaptiveMaxPool3d AvgPool1d AvgPool2d AvgPool3d MaxPool1d MaxPool2d MaxPool3d MaxUnpool1d", 2),
    **_of("MaxUnpool2d MaxUnpool3d ChannelShuffle CircularPad1d CircularPad2d CircularPad3d CrossMapLRN2d", 2),
    **_of("LocalResponseNorm PixelShuffle PixelUnshuffle ReflectionPad1d ReflectionPad2d ReflectionPad3d", 2),
    **_of("ReplicationPad1d ReplicationPad2d ReplicationPad3d Unfold ZeroPad1d ZeroPad2d ZeroPad3d", 2),
    **_of("ConstantPad1d ConstantPad2d ConstantPad3d Fold LPPool1d LPPool2d LPPool3d", 2, 2),
    **_of("FractionalMaxPool2d FractionalMaxPool3d", 2, 2),
    **_of("Unflatten", 1, (2, 2)),
    **_of("Threshold", 0.5, 0.0),
    **_of("PReLU", 4),
    **_of("AdaptiveLogSoftmaxWithLoss", 8, 12, [4, 8]),
    **_of("BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm LayerNorm RMSNorm", 4),
    **_of("InstanceNorm1d InstanceNorm2d InstanceNorm3d", 4, affine=True, track_running_stats=True),
    **_of("GroupNorm", 2, 4),
    **_of("Bilinear", 3, 4, 5),
    **_of("Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d", 4, 6, 3),
    **_of("LazyConv1d LazyConv2d LazyConv3d LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d", 6, 3),
    **_of("LazyInstanceNorm1d LazyInstanceNorm2d LazyInstanceNorm3d", affine=True, track_running_stats=True),
    **_of("LazyLinear", 6),
    **_of("Linear Embedding EmbeddingBag GRU GRUCell LSTM LSTMCell RNN RNNCell LinearCrossEntropyLoss", 4, 6),
    **_of("MultiheadAttention", 6, 2),
    **_of("Transformer", 4, 2, 1, 1, 8),
    **_of("TransformerEncoderLayer TransformerDecoderLayer", 4, 2, 8),
}

# What a lazy module is called with, until one fits: (batch, channels, *space).
LAZY_SHAPES = [(2, 4, 5, 5, 5), (2, 4, 5, 5), (2, 4, 5), (2, 4)]

KERAS: dict[str, Arguments] = {
    **_of("Activation", "relu"),
    **_of("AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D", 2),
    **_of("AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D", 2),
    **_of("AveragePooling1D AveragePooling2D AveragePooling3D AvgPool1D AvgPool2D AvgPool3D", 2),
    **_of("AlphaDropout Dropout GaussianDropout GaussianNoise SpatialDropout1D SpatialDropout2D", 0.5),
    **_of("SpatialDropout3D RandomBrightness RandomContrast RandomRotation RandomZoom Rescaling", 0.5),
    **_of("RandomColorDegeneration RandomHue RandomSaturation RandomSharpness", 0.5),
    **_of("RandomTranslation", 0.1, 0.1),
    **_of("RandomPosterization", 4),
    **_of("CategoryEncoding", num_tokens=3, output_mode="multi_hot"),
    **_of("CenterCrop RandomCrop Resizing", 2, 2),
    **_of("Conv1D Conv2D Conv3D Convolution1D Convolution2D Convolution3D", 3, 2),
    **_of("Conv1DTranspose Conv2DTranspose Conv3DTranspose", 3, 2),
    **_of("Convolution1DTranspose Convolution2DTranspose Convolution3DTranspose", 3, 2),
    **_of("ConvLSTM1D ConvLSTM2D ConvLSTM3D", 3, 2),
    **_of("SeparableConv1D SeparableConv2D SeparableConvolution1D SeparableConvolution2D", 3, 2),
    **_of("DepthwiseConv1D DepthwiseConv2D", 2),
    **_of("Dense GRU GRUCell LSTM LSTMCell SimpleRNN SimpleRNNCell RepeatVector", 3),
    **_of("Discretization", [0.5]),
    **_of("Dot", 1),
    **_of("EinsumDense", "abc,cd->abd", (None, 3), bias_axes="d"),
    **_of("Embedding ReversibleEmbedding", 5, 3),
    **_of("GroupNormalization", 2),
    **_of("GroupQueryAttention", 4, 4, 2),
    **_of("MultiHeadAttention", 2, 3),
    **_of("Attention", use_scale=True),
    **_of("HashedCrossing Hashing", 5),
    **_of("IntegerLookup", vocabulary=[1, 2]),
    **_of("StringLookup TextVectorization", vocabulary=["a", "b"]),
    **_of("InputLayer", (4,)),
    **_of("MaxNumBoundingBoxes", 3),
    **_of("Permute", (2, 1)),
    **_of("Reshape", (-1,)),
    **_of("MelSpectrogram", fft_length=4, sequence_stride=2, num_mel_bins=2),
    **_of("STFTSpectrogram", frame_length=4, window=None),
}
KERAS_CELLS = ("GRUCell", "LSTMCell", "SimpleRNNCell")


def classes(module: Any, base: type) -> dict[str, type]:
    """Every class of a namespace that is a layer, each once, under the first of its names."""
    found: dict[type, str] = {}
    for name in sorted(dir(module)):
        value = getattr(module, name)
        if inspect.isclass(value) and issubclass(value, base):
            found.setdefault(value, name)
    return {name: value for value, name in found.items()}


def made(value: Callable[..., Any], arguments: Arguments | None) -> Any:
    """A layer of the class."""
    positional, named = arguments or ((), {})
    return value(*positional, **named)


def keras_inputs() -> Iterator[tuple[Any, ...]]:
    """The arguments of a call, to be tried until one fits: one input, a list of two, two inputs; numbers, integers."""
    import keras

    shapes = [(2, 4), (2, 6, 4), (2, 6, 5, 4), (2, 6, 5, 4, 3), (2, 3, 6, 5, 4, 3), (2, 16), (2, 6, 5, 3), (2,)]
    for shape, dtype in product(shapes, ("float32", "int32")):
        x = keras.ops.ones(shape, dtype)
        yield from ((x,), ([x, x],), (x, x))
    yield (keras.ops.ones((2, 4)), [keras.ops.ones((2, 3))])
    yield (keras.ops.ones((2, 4)), [keras.ops.ones((2, 3)), keras.ops.ones((2, 3))])
    import tensorflow as tf

    yield (tf.constant([["a"], ["b"]]),)

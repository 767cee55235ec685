"""What each layer of Keras 3 takes (the constructors in keras/src/layers): data, checked against the real Keras.

A layer that is not here cannot be in an upgraded model: Keras 3 has it no more, it runs code or looks things up.
"""

from __future__ import annotations

from collections.abc import Mapping


def _of(*names: str) -> str:
    """How the weights of these names are made: each has an initializer, a regularizer and a constraint."""
    return " ".join(f"{name}_initializer {name}_regularizer {name}_constraint" for name in names)


EVERY_LAYER = frozenset({"name", "trainable", "dtype", "activity_regularizer"})

_RNN = "return_sequences return_state go_backwards stateful unroll zero_output_for_mask"
_CELL = f"units activation use_bias {_of('kernel', 'recurrent', 'bias')} dropout recurrent_dropout seed"
_GATED = f"{_CELL} recurrent_activation"
_WINDOW = "kernel_size strides padding data_format dilation_rate activation use_bias"
_CONV = f"filters {_WINDOW} groups {_of('kernel', 'bias')}"
_CONV_TRANSPOSE = f"filters {_WINDOW} output_padding {_of('kernel', 'bias')}"
_DEPTHWISE = f"{_WINDOW} depth_multiplier {_of('depthwise', 'bias')}"
_SEPARABLE = f"filters {_WINDOW} depth_multiplier {_of('depthwise', 'pointwise', 'bias')}"
_CONV_LSTM = (
    f"filters {_WINDOW} recurrent_activation unit_forget_bias {_of('kernel', 'recurrent', 'bias')} "
    f"dropout recurrent_dropout seed {_RNN}"
)
_NORM = f"epsilon center scale {_of('gamma', 'beta')}"
_BATCH_NORM = f"axis momentum {_NORM} moving_mean_initializer moving_variance_initializer synchronized"
_ATTENTION_DENSE = f"use_bias {_of('kernel', 'bias')}"
_POOL = "pool_size strides padding data_format"
_GLOBAL_POOL = "data_format keepdims"

_TEXTS: Mapping[str, str] = {
    "Activation": "activation",
    "ActivityRegularization": "l1 l2",
    "Add": "",
    "AdditiveAttention": "use_scale dropout seed",
    "AlphaDropout": "rate noise_shape seed",
    "Attention": "use_scale score_mode dropout seed",
    "Average": "",
    "AveragePooling1D": _POOL,
    "AveragePooling2D": _POOL,
    "AveragePooling3D": _POOL,
    "BatchNormalization": _BATCH_NORM,
    "Bidirectional": "layer merge_mode backward_layer",
    "CategoryEncoding": "num_tokens output_mode",
    "CenterCrop": "height width data_format",
    "Concatenate": "axis",
    "Conv1D": _CONV,
    "Conv1DTranspose": _CONV_TRANSPOSE,
    "Conv2D": _CONV,
    "Conv2DTranspose": _CONV_TRANSPOSE,
    "Conv3D": _CONV,
    "Conv3DTranspose": _CONV_TRANSPOSE,
    "ConvLSTM1D": _CONV_LSTM,
    "ConvLSTM2D": _CONV_LSTM,
    "ConvLSTM3D": _CONV_LSTM,
    "Cropping1D": "cropping",
    "Cropping2D": "cropping data_format",
    "Cropping3D": "cropping data_format",
    "Dense": f"units activation use_bias {_of('kernel', 'bias')}",
    "DepthwiseConv1D": _DEPTHWISE,
    "DepthwiseConv2D": _DEPTHWISE,
    "Dot": "axes normalize",
    "Dropout": "rate noise_shape seed",
    "ELU": "alpha",
    "EinsumDense": f"equation output_shape activation bias_axes {_of('kernel', 'bias')}",
    "Embedding": f"input_dim output_dim mask_zero {_of('embeddings')}",
    "Flatten": "data_format",
    "GRU": f"{_GATED} reset_after {_RNN}",
    "GRUCell": f"{_GATED} reset_after",
    "GaussianDropout": "rate seed",
    "GaussianNoise": "stddev seed",
    "GlobalAveragePooling1D": _GLOBAL_POOL,
    "GlobalAveragePooling2D": _GLOBAL_POOL,
    "GlobalAveragePooling3D": _GLOBAL_POOL,
    "GlobalMaxPooling1D": _GLOBAL_POOL,
    "GlobalMaxPooling2D": _GLOBAL_POOL,
    "GlobalMaxPooling3D": _GLOBAL_POOL,
    "GroupNormalization": f"groups axis {_NORM}",
    "InputLayer": "batch_shape sparse ragged optional",
    "LSTM": f"{_GATED} unit_forget_bias {_RNN}",
    "LSTMCell": f"{_GATED} unit_forget_bias",
    "LayerNormalization": f"axis {_NORM}",
    "LeakyReLU": "negative_slope",
    "Masking": "mask_value",
    "MaxPooling1D": _POOL,
    "MaxPooling2D": _POOL,
    "MaxPooling3D": _POOL,
    "Maximum": "",
    "Minimum": "",
    "MultiHeadAttention": f"num_heads key_dim value_dim dropout output_shape attention_axes {_ATTENTION_DENSE} seed",
    "Multiply": "",
    "Normalization": "axis mean variance invert",
    "PReLU": f"{_of('alpha')} shared_axes",
    "Permute": "dims",
    "RNN": f"cell {_RNN}",
    "ReLU": "max_value negative_slope threshold",
    "RepeatVector": "n",
    "Rescaling": "scale offset",
    "Reshape": "target_shape",
    "Resizing": "height width interpolation crop_to_aspect_ratio data_format",
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    "SimpleRNN": f"{_CELL} {_RNN}",
    "SimpleRNNCell": _CELL,
    "Softmax": "axis",
    "SpatialDropout1D": "rate seed",
    "SpatialDropout2D": "rate data_format seed",
    "SpatialDropout3D": "rate data_format seed",
    "StackedRNNCells": "cells",
    "Subtract": "",
    "TimeDistributed": "layer",
    "UnitNormalization": "axis",
    "UpSampling1D": "size",
    "UpSampling2D": "size data_format interpolation",
    "UpSampling3D": "size data_format",
    "ZeroPadding1D": "padding data_format",
    "ZeroPadding2D": "padding data_format",
    "ZeroPadding3D": "padding data_format",
}

ARGUMENTS: Mapping[str, frozenset[str]] = {name: frozenset(text.split()) for name, text in _TEXTS.items()}
"""The constructor arguments of each class, without those that every layer takes."""

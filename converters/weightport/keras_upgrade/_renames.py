"""What changed its name, its value or its place between Keras 1, Keras 2 and Keras 3: one table for each.

Sources: keras 1.2.2 ``keras/layers``, keras 2.2.4 ``keras/legacy/interfaces.py`` (Keras 1 names), tf_keras 2.21
``tf_keras/src/layers`` and keras 3.15 ``keras/src/layers``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# A class that is another one now, and what its config then has to say.
CLASSES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "CuDNNLSTM": ("LSTM", {"activation": "tanh", "recurrent_activation": "sigmoid"}),
    "CuDNNGRU": ("GRU", {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True}),
    "BatchNormalizationV1": ("BatchNormalization", {}),
    "BatchNormalizationV2": ("BatchNormalization", {}),
    "SyncBatchNormalization": ("BatchNormalization", {"synchronized": True}),
    "ThresholdedReLU": ("ReLU", {}),
    "TimeDistributedDense": ("Dense", {}),
    "Convolution1D": ("Conv1D", {}),
    "Convolution2D": ("Conv2D", {}),
    "Convolution3D": ("Conv3D", {}),
    "AtrousConvolution1D": ("Conv1D", {}),
    "AtrousConvolution2D": ("Conv2D", {}),
    "Deconvolution2D": ("Conv2DTranspose", {}),
    "SeparableConvolution2D": ("SeparableConv2D", {}),
}

MODELS = {"Model", "Functional", "Sequential", "Network", "Container"}

# Keras 1's one layer for all merging, by its mode.
MERGES: Mapping[str, str] = {
    "sum": "Add",
    "mul": "Multiply",
    "ave": "Average",
    "max": "Maximum",
    "concat": "Concatenate",
    "dot": "Dot",
    "cos": "Dot",
}

# An argument by its older name, and the newer ones: the first that the layer has is meant.
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "output_dim": ("units",),
    "nb_filter": ("filters",),
    "filter_length": ("kernel_size",),
    "subsample": ("strides",),
    "subsample_length": ("strides",),
    "stride": ("strides",),
    "pool_length": ("pool_size",),
    "length": ("size",),
    "border_mode": ("padding",),
    "dim_ordering": ("data_format",),
    "atrous_rate": ("dilation_rate",),
    "init": ("kernel_initializer", "embeddings_initializer", "depthwise_initializer", "alpha_initializer"),
    "inner_init": ("recurrent_initializer",),
    "gamma_init": ("gamma_initializer",),
    "beta_init": ("beta_initializer",),
    "forget_bias_init": ("unit_forget_bias",),
    "inner_activation": ("recurrent_activation",),
    "W_regularizer": ("kernel_regularizer", "embeddings_regularizer"),
    "U_regularizer": ("recurrent_regularizer",),
    "b_regularizer": ("bias_regularizer",),
    "W_constraint": ("kernel_constraint", "embeddings_constraint"),
    "U_constraint": ("recurrent_constraint",),
    "b_constraint": ("bias_constraint",),
    "dropout_W": ("dropout",),
    "dropout_U": ("recurrent_dropout",),
    "bias": ("use_bias",),
    "p": ("rate",),
    "sigma": ("stddev",),
    "concat_axis": ("axis",),
    "dot_axes": ("axes",),
    "alpha": ("negative_slope",),
    "theta": ("threshold",),
    "batch_input_shape": ("batch_shape",),
    "input_dtype": ("dtype",),
}

# Keras 1 gave the sizes of a kernel one by one.
KERNEL_SIZES = (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3"))

# A value by its older name.
VALUES: Mapping[str, Mapping[Any, Any]] = {
    "data_format": {"th": "channels_first", "tf": "channels_last", "default": None},
    "unit_forget_bias": {"one": True, "zero": False},
}

# Arguments that only say how Keras ran or trained a layer, or what its input's shape is, which the graph says too.
WITHOUT_EFFECT = {
    *("implementation", "consume_less", "fused", "weights", "autocast", "dynamic"),
    *("input_dim", "input_length", "input_shape", "batch_input_shape", "input_dtype", "input_spec"),
    *("query_shape", "key_shape", "value_shape", "softmax_robust_masking", "build_input_shape"),
    *("kernel_initializer", "kernel_regularizer", "kernel_constraint"),  # of layers with other kernels
    "dropout",  # of Keras 1's Embedding, which leaves out words in training only
    *("renorm_clipping", "renorm_momentum", "moving_mean_constraint", "moving_variance_constraint"),
}

# Arguments that Keras 3 has no more, and the values of which it does what they say.
ONLY: Mapping[str, tuple[Any, ...]] = {
    "time_major": (False,),
    "ragged": (False,),
    "groups": (1,),
    "renorm": (False,),
    "virtual_batch_size": (None,),
    "adjustment": (None,),
    "num_constants": (None, 0),
    "mode": (0,),  # of Keras 1's BatchNormalization
    "output_padding": (None,),
    "keepdims": (False,),
    "data_format": ("channels_last", None),
    "dilation_rate": (1, [1], [1, 1], [1, 1, 1]),
    "sparse": (False,),
    "output_shape": (None,),
    "output_mask": (None,),
    "node_indices": (None,),
    "tensor_indices": (None,),
    "mode_type": ("raw",),
    "output_shape_type": ("raw",),
    "output_mask_type": ("raw",),
    "arguments": (None, {}),
    "dot_axes": (-1,),
    "concat_axis": (-1,),
    "score_mode": ("dot",),
    "rms_scaling": (False,),
    "quantization_config": (None,),
    "lora_rank": (None,),
    "lora_alpha": (None,),
    "use_cudnn": ("auto",),
}

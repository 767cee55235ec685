"""Keras' layer classes: which kind each one is, and which variables it has, in the order in which it stores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ._keras_config import Entry, snake_case
from ._keras_einsum import einsum_form
from ._keras_parts import DEPTHWISE

CUDNN_CLASSES = {"CuDNNLSTM", "CuDNNGRU"}
RECURRENT_KINDS = {"lstm", "gru", "rnn"}

KIND_OF_CLASS = {
    "LSTM": "lstm",
    "CuDNNLSTM": "lstm",
    "LSTMCell": "lstm",
    "GRU": "gru",
    "CuDNNGRU": "gru",
    "GRUCell": "gru",
    "SimpleRNN": "rnn",
    "SimpleRNNCell": "rnn",
    "ConvLSTM1D": "conv_lstm",
    "ConvLSTM2D": "conv_lstm",
    "ConvLSTM3D": "conv_lstm",
    "Dense": "dense",
    "TimeDistributedDense": "dense",
    "Conv1D": "conv",
    "Conv2D": "conv",
    "Conv3D": "conv",
    "Convolution1D": "conv",
    "Convolution2D": "conv",
    "Convolution3D": "conv",
    "BatchNormalization": "batch_norm",
    "BatchNormalizationV1": "batch_norm",
    "BatchNormalizationV2": "batch_norm",
    "SyncBatchNormalization": "batch_norm",
    "LayerNormalization": "layer_norm",
    "Embedding": "embedding",
    "MultiHeadAttention": "multi_head_attention",
    "GroupedQueryAttention": "multi_head_attention",
    "Attention": "attention",
    "AdditiveAttention": "additive_attention",
    "GroupNormalization": "group_norm",
    "RMSNormalization": "rms_norm",
    "Normalization": "batch_norm",
    "Conv1DTranspose": "conv_transpose",
    "Conv2DTranspose": "conv_transpose",
    "Conv3DTranspose": "conv_transpose",
    "Convolution2DTranspose": "conv_transpose",
    "Convolution3DTranspose": "conv_transpose",
    "Deconvolution2D": "conv_transpose",
    "Deconvolution3D": "conv_transpose",
    "DepthwiseConv1D": "conv",
    "DepthwiseConv2D": "conv",
    "SeparableConv1D": "conv",
    "SeparableConv2D": "conv",
    "SeparableConvolution1D": "conv",
    "SeparableConvolution2D": "conv",
    "PReLU": "prelu",
    "EinsumDense": "dense",
    "ReversibleEmbedding": "embedding",
}
_LAYOUT_OF_CLASS = {
    "DepthwiseConv1D": DEPTHWISE,
    "DepthwiseConv2D": DEPTHWISE,
    "EinsumDense": "keras.einsum_dense",
    "Normalization": "keras.normalization",
}
CELL_CLASSES = {"LSTMCell", "GRUCell", "SimpleRNNCell"}
# The groups of the dense layers inside an attention, by the names of their variables and in the order of its list.
ATTENTION_GROUPS: Mapping[str, Mapping[str, str]] = {
    "MultiHeadAttention": {
        "query": "query_dense",
        "key": "key_dense",
        "gate": "_gate_dense",
        "value": "value_dense",
        "attention_output": "output_dense",
    },
    "GroupedQueryAttention": {
        "query": "_query_dense",
        "key": "_key_dense",
        "gate": "_gate_dense",
        "value": "_value_dense",
        "attention_output": "_output_dense",
    },
}
HOLDS_A_CELL = {"lstm", "gru", "rnn", "conv_lstm"}

_RECURRENT = ("kernel", "recurrent_kernel", "bias")
_CONVOLUTION = ("kernel", "bias")
_BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_VARIABLES_OF_KIND = {
    "lstm": _RECURRENT,
    "gru": _RECURRENT,
    "rnn": _RECURRENT,
    "conv_lstm": _RECURRENT,
    "dense": ("kernel", "bias"),
    "conv": _CONVOLUTION,
    "batch_norm": _BATCH_NORM,
    "layer_norm": ("gamma", "beta"),
    "embedding": ("embeddings",),
    "multi_head_attention": tuple(
        f"{part}/{name}" for part in ATTENTION_GROUPS["MultiHeadAttention"] for name in ("kernel", "bias")
    ),
    "attention": ("scale", "concat_score_weight"),
    "additive_attention": ("scale",),
    "group_norm": ("gamma", "beta"),
    "rms_norm": ("scale",),
    "conv_transpose": _CONVOLUTION,
    "prelu": ("alpha",),
}

# What Keras 1 stores of its recurrent layers (keras 1.2.2, keras/layers/recurrent.py, build): three tensors a gate, or
# three in all with consume_less = "gpu".
_KERAS_1_PACKED = ("W", "U", "b")
_KERAS_1_GATES = {"lstm": "icfo", "gru": "zrh"}

# Classes that have other variables than their kind.
_SEPARABLE = ("depthwise_kernel", "pointwise_kernel", "bias")
_VARIABLES_OF_CLASS = {
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    "SeparableConvolution1D": _SEPARABLE,
    "SeparableConvolution2D": _SEPARABLE,
    "ReversibleEmbedding": ("embeddings", "reverse_embeddings"),
    "Normalization": ("mean", "variance", "count"),
}
# Classes without a kind yet (keras/src/layers/*): what they hold decides what the layers after them in a model hold.
_VARIABLES_OF_OTHERS = {
    "LocallyConnected1D": _CONVOLUTION,
    "LocallyConnected2D": _CONVOLUTION,
}
_FIXED = {"moving_mean", "moving_variance", "mean", "variance", "count"}

CLASS_OF_SNAKE = {snake_case(name): name for name in (*KIND_OF_CLASS, *_VARIABLES_OF_OTHERS)}


@dataclass(frozen=True)
class Writer:
    """The Keras that wrote a checkpoint: what it stores and what its names mean depend on it."""

    major: int
    backend: str = ""


@dataclass(frozen=True)
class Variable:
    """One variable of a layer: its name in the layout, and whether a layer that trains would train it."""

    name: str
    trainable: bool = True


def layout_of(entry: Entry, writer: Writer) -> str:
    """The layout by which the writer stored a layer, where it is not the one of Keras 3.

    Keras 2 stores the same, but its hard_sigmoid is another function, which only its own layouts can run."""
    kind = KIND_OF_CLASS[entry.class_name]
    if kind not in HOLDS_A_CELL or writer.major >= 3:
        return _LAYOUT_OF_CLASS.get(entry.class_name, "")
    is_packed = writer.major < 2 and kind in _KERAS_1_GATES and entry.config.get("consume_less") == "gpu"
    return f"keras{max(writer.major, 1)}.{kind}{'_packed' if is_packed else ''}"


def cudnn_layout(kind: str) -> str:
    """The layout of a layer that is stored as cuDNN reads it."""
    return f"keras_cudnn.{kind}"


def variables_of(entry: Entry, writer: Writer) -> tuple[Variable, ...]:
    """The variables that a layer of this class and config has, in the order of its lists: trained ones, then others.

    Nothing for a class that is not known: such a layer has none, or what it has cannot be told."""
    kind = KIND_OF_CLASS.get(entry.class_name)
    if kind in RECURRENT_KINDS and writer.major < 2:
        gates = "" if entry.config.get("consume_less") == "gpu" else _KERAS_1_GATES.get(kind, "")
        names = tuple(f"{name}_{gate}" for gate in gates for name in _KERAS_1_PACKED) or _KERAS_1_PACKED
        return tuple(Variable(name) for name in names)
    names = _names(entry.class_name) if kind else _VARIABLES_OF_OTHERS.get(entry.class_name, ())
    return tuple(Variable(name, name not in _FIXED) for name in names if _has(entry, name))


def _names(class_name: str) -> tuple[str, ...]:
    """Every variable that a layer of a class with a kind may have."""
    return _VARIABLES_OF_CLASS.get(class_name) or _VARIABLES_OF_KIND[KIND_OF_CLASS[class_name]]


def with_variables(entry: Entry, shapes: Sequence[tuple[int, ...]]) -> Entry | str:
    """The entry with the flags that make its class have this many variables, or the reason why none do.

    For layers of which a file tells the class and not the config."""
    kind = KIND_OF_CLASS[entry.class_name]
    names = _names(entry.class_name)
    optional = [name for name in names if name in _FLAG_OF]
    without = len(names) - len(shapes)
    if without == 0:
        needs = dict(need for (owner, _), need in _NEEDS.items() if owner == kind)
        return replace(entry, config={**entry.config, **needs})
    if without == sum(not _has(entry, name) for name in names):
        return entry
    if without == len(optional):
        return replace(entry, config={**entry.config, **{_FLAG_OF[name]: False for name in optional}})
    found = f"has {len(shapes)} of the variables {', '.join(names)}"
    return f"{found}, and the file does not say which"


def kind_problem(entry: Entry, writer: Writer) -> str | None:
    """Why a layer of a class with a kind does not compute what the kind says, None where it does."""
    axes = entry.config.get("axis", -1)
    if entry.class_name == "Normalization" and isinstance(axes, list) and len(axes) != 1:
        return f"a Normalization over axis {' and '.join(map(str, axes)) or 'None'} has no layout"
    output = entry.config.get("output_shape")
    if entry.class_name == "MultiHeadAttention" and isinstance(output, list) and len(output) > 1:
        return "a MultiHeadAttention whose output has several axes has no layout"
    if entry.class_name == "EinsumDense":
        form = einsum_form(entry)
        return f"the EinsumDense is no dense layer: {form}" if isinstance(form, str) else None
    return None


def storage_problem(entry: Entry, writer: Writer) -> str | None:
    """Why it is not known how the writer stored a layer of a class with a kind, None where it is."""
    if writer.major < 2 and entry.class_name.startswith("ConvLSTM"):
        return f"{entry.class_name} of Keras 1 has no layout"
    if KIND_OF_CLASS[entry.class_name] not in ("conv", "conv_transpose"):
        return None
    if writer.major < 2:
        return "the axes of a convolution of Keras 1 depend on settings of its backend that the file does not have"
    return "Theano turns its kernels round, and no kind says so yet" if writer.backend == "theano" else None


_FLAG_OF: Mapping[str, str] = {"bias": "use_bias", "gamma": "scale", "beta": "center"}
# Variables that a layer has only where its config has this value.
_NEEDS: Mapping[tuple[str, str], tuple[str, object]] = {
    ("multi_head_attention", "gate/kernel"): ("use_gate", True),
    ("multi_head_attention", "gate/bias"): ("use_gate", True),
    ("attention", "scale"): ("use_scale", True),
    ("attention", "concat_score_weight"): ("score_mode", "concat"),
    ("additive_attention", "scale"): ("use_scale", True),
    ("embedding", "reverse_embeddings"): ("tie_weights", False),
}


def _has(entry: Entry, name: str) -> bool:
    if entry.class_name in CUDNN_CLASSES:
        return True
    key, value = _NEEDS.get((KIND_OF_CLASS.get(entry.class_name, ""), name), ("", None))
    if key and entry.config.get(key) != value:
        return False
    if entry.class_name == "Normalization":
        return entry.config.get("mean") is None
    if entry.flag("rms_scaling") and name in ("gamma", "beta"):
        return name == "gamma"
    if name == "bias" and entry.class_name == "EinsumDense":
        return entry.config.get("bias_axes") is not None
    flag = "use_bias" if name.endswith("/bias") else _FLAG_OF.get(name, "")
    said = entry.flag(flag)
    if said is None and flag == "use_bias":
        said = entry.flag("bias")  # Keras 1
    return said is not False

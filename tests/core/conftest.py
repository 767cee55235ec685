"""What the tests of the core share: weights that hide nothing, and what the real frameworks compute with them.

The frameworks are imported inside the functions that run them, so that a test that needs none imports none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from weightport.kinds import layouts_folder
from weightport.layout_file import load_layouts
from weightport.layouts import Layout
from weightport.logical import logical_arrays
from weightport.notation import Block
from weightport.reference import run
from weightport.views import view_for, view_of

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

Tensors = Mapping[str, np.ndarray]
BATCH, TIME = 3, 4


def make_values(shape: tuple[int, ...], seed: int, dtype: str = "float64") -> np.ndarray:
    """No zeros, both signs, and another scale in every stretch of every axis."""
    generator = np.random.default_rng(seed)
    result = (0.2 + generator.uniform(size=shape)) * generator.choice([-0.5, 0.5], size=shape)
    for axis, length in enumerate(shape):
        result = result * np.linspace(0.6, 1.4, length).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return result.astype(dtype)


@pytest.fixture(scope="session")
def values() -> Callable[..., np.ndarray]:
    return make_values


@pytest.fixture(scope="session")
def random_bits() -> Callable[..., np.ndarray]:
    """An array of any dtype whose every bit is random: NaN payloads, infinities and negative zeros among them."""

    def make(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.frombuffer(np.random.default_rng(seed).bytes(size), np.uint8).view(dtype).reshape(shape)

    return make


@pytest.fixture(scope="session")
def elements_of() -> Callable[[Block], np.ndarray]:
    """Which elements of its tensor a block holds."""

    def elements(block: Block) -> np.ndarray:
        found = np.array([block.offset])
        for _, size, stride in block.axes:
            found = (found[:, None] + np.arange(size) * stride).reshape(-1)
        return found

    return elements


@pytest.fixture(scope="session")
def compute() -> Callable[..., np.ndarray]:
    """``compute("torch.lstm", tensors, settings, inputs)``: what the real framework gives out."""

    def run_framework(layout: str, tensors: Tensors, settings: Mapping[str, Any], inputs: np.ndarray) -> np.ndarray:
        framework, kind = layout.split(".")
        return np.asarray(_FRAMEWORKS[framework](kind, tensors, settings, inputs))

    return run_framework


@pytest.fixture(scope="session")
def by_reference() -> Callable[..., np.ndarray]:
    """``by_reference(layout, tensors, settings, inputs)``: the same through a layout and the kind's mathematics."""

    def run_reference(layout: Layout, tensors: Tensors, settings: Mapping[str, Any], inputs: np.ndarray) -> np.ndarray:
        own = {name: value for name, value in settings.items() if name in layout.kind.settings}
        storage = {name: value for name, value in settings.items() if name not in own}
        view = view_of(layout, {name: array.shape for name, array in tensors.items()}, own, storage)
        return run(layout.kind.name, logical_arrays(view, tensors.__getitem__), {**view.settings, **own}, inputs)

    return run_reference


@pytest.fixture
def layouts_from(tmp_path: Path) -> Callable[..., Mapping[str, Layout]]:
    """Layouts of a made-up file: from its text, or from a table as ``tomllib`` reads it."""

    def load(content: str | Mapping[str, Any], name: str = "made_up.toml") -> Mapping[str, Layout]:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else _to_toml(content), encoding="utf-8")
        return load_layouts(path)

    return load


@pytest.fixture(scope="session")
def shipped_table() -> Callable[[str], dict[str, Any]]:
    """A shipped layout file as a fresh table, to be changed at will."""
    import tomllib

    return lambda framework: tomllib.loads((layouts_folder() / f"{framework}.toml").read_text(encoding="utf-8"))


def _to_toml(value: Any, top: bool = True) -> str:
    if isinstance(value, Mapping):
        pairs = [f"{json.dumps(key)} = {_to_toml(item, top=False)}" for key, item in value.items()]
        return "\n".join(pairs) if top else f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list):
        return f"[{', '.join(_to_toml(item, top=False) for item in value)}]"
    return json.dumps(value)


def _run_torch(kind: str, tensors: Tensors, settings: Mapping[str, Any], inputs: np.ndarray) -> np.ndarray:
    import torch

    shapes = {name: array.shape for name, array in tensors.items()}
    dtype = getattr(torch, next(iter(tensors.values())).dtype.name)
    if kind in {"lstm", "gru", "rnn"}:
        module = _torch_recurrent(torch.nn, kind, shapes, settings, dtype)
    else:
        module = _torch_plain(torch.nn, kind, shapes, settings, inputs.ndim - 2, dtype)
    module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}, strict=True)
    module.eval()
    channels_first = kind in {"conv", "batch_norm"}
    x = torch.from_numpy(np.moveaxis(inputs, -1, 1).copy() if channels_first else inputs)
    with torch.no_grad():
        y = module(x)
    y = (y[0] if isinstance(y, tuple) else y).numpy()
    return np.moveaxis(y, 1, -1) if channels_first else y


def _torch_recurrent(nn: Any, kind: str, shapes: Mapping[str, Any], settings: Mapping[str, Any], dtype: Any) -> Any:
    rows = {"lstm": 4, "gru": 3, "rnn": 1}[kind]
    own = {"proj_size": shapes["weight_hr_l0"][0]} if "weight_hr_l0" in shapes else {}
    if kind == "rnn":
        own["nonlinearity"] = settings.get("activation", "tanh")
    return {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](
        shapes["weight_ih_l0"][1],
        shapes["weight_ih_l0"][0] // rows,
        num_layers=sum(name.startswith("weight_ih") and not name.endswith("reverse") for name in shapes),
        bias="bias_ih_l0" in shapes,
        batch_first=True,
        bidirectional="weight_ih_l0_reverse" in shapes,
        dtype=dtype,
        **own,
    )


def _torch_plain(
    nn: Any, kind: str, shapes: Mapping[str, Any], settings: Mapping[str, Any], space: int, dtype: Any
) -> Any:
    bias = "bias" in shapes
    if kind == "batch_norm":
        norm = [nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d][space]
        return norm(*shapes["running_mean"], eps=settings.get("epsilon", 1e-5), affine="weight" in shapes, dtype=dtype)
    weight = shapes["weight"]
    if kind == "conv":
        groups = settings.get("groups", 1)
        padding = settings.get("padding", "valid")
        return [nn.Conv1d, nn.Conv2d, nn.Conv3d][space - 1](
            weight[1] * groups,
            weight[0],
            weight[2:],
            stride=settings.get("strides", 1),
            padding=padding,
            dilation=settings.get("dilation", 1),
            groups=groups,
            bias=bias,
            dtype=dtype,
        )
    if kind == "layer_norm":
        return nn.LayerNorm(weight, eps=settings.get("epsilon", 1e-5), bias=bias, dtype=dtype)
    if kind == "embedding":
        return nn.Embedding(*weight, dtype=dtype)
    return nn.Linear(weight[1], weight[0], bias=bias, dtype=dtype)


def _run_keras(kind: str, tensors: Tensors, settings: Mapping[str, Any], inputs: np.ndarray) -> np.ndarray:
    import keras

    dtype = next(iter(tensors.values())).dtype.name
    if kind in {"lstm", "gru", "rnn", "conv_lstm"}:
        layer = _keras_recurrent(keras.layers, kind, tensors, settings, dtype)
    else:
        layer = _keras_plain(keras.layers, kind, tensors, settings, inputs.ndim - 2, dtype)
    layer.build(inputs.shape)
    for prefix, one in _keras_parts(layer):
        names = [name for name in tensors if name.startswith(prefix)]
        by_name = {variable.name: variable for variable in one.weights}
        assert {prefix + name for name in by_name} == set(names)
        for name in names:
            by_name[name.removeprefix(prefix)].assign(tensors[name])
    return np.asarray(layer(inputs))


def _keras_parts(layer: Any) -> list[tuple[str, Any]]:
    if not hasattr(layer, "forward_layer"):
        return [("", layer)]
    return [("forward_layer/", layer.forward_layer), ("backward_layer/", layer.backward_layer)]


def _keras_recurrent(layers: Any, kind: str, tensors: Tensors, settings: Mapping[str, Any], dtype: str) -> Any:
    two = "forward_layer/kernel" in tensors
    kernel = tensors["forward_layer/kernel" if two else "kernel"]
    own = {
        "activation": settings.get("activation", "tanh"),
        "use_bias": any(name.endswith("bias") for name in tensors),
        "return_sequences": settings.get("return_sequences", True),
        "dtype": dtype,
    }
    if kind != "rnn":
        own["recurrent_activation"] = settings.get("recurrent_activation", "sigmoid")
    if kind == "gru":
        own["reset_after"] = settings["reset"] == "after"
    if kind == "conv_lstm":
        makers = [layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D]
        own |= {"kernel_size": kernel.shape[:-2], "padding": settings.get("padding", "valid")}
        own |= {"strides": settings.get("strides", 1), "dilation_rate": settings.get("dilation", 1)}
        return makers[kernel.ndim - 3](kernel.shape[-1] // 4, **own)
    maker, rows = {"lstm": (layers.LSTM, 4), "gru": (layers.GRU, 3), "rnn": (layers.SimpleRNN, 1)}[kind]
    own["go_backwards"] = settings.get("direction") == "backwards"
    layer = maker(kernel.shape[1] // rows, **own)
    return layers.Bidirectional(layer, merge_mode=settings.get("merge_mode", "concat"), dtype=dtype) if two else layer


def _keras_plain(layers: Any, kind: str, tensors: Tensors, settings: Mapping[str, Any], space: int, dtype: str) -> Any:
    activation = settings.get("activation", "linear")
    if kind == "batch_norm":
        return layers.BatchNormalization(
            epsilon=settings["epsilon"], scale="gamma" in tensors, center="beta" in tensors, dtype=dtype
        )
    if kind == "layer_norm":
        axes = list(range(-next(iter(tensors.values())).ndim, 0))
        own = {"scale": "gamma" in tensors, "center": "beta" in tensors}
        return layers.LayerNormalization(axis=axes, epsilon=settings["epsilon"], dtype=dtype, **own)
    if kind == "embedding":
        return layers.Embedding(*tensors["embeddings"].shape, dtype=dtype)
    kernel, bias = tensors["kernel"], "bias" in tensors
    if kind == "dense":
        return layers.Dense(kernel.shape[1], activation=activation, use_bias=bias, dtype=dtype)
    return [layers.Conv1D, layers.Conv2D, layers.Conv3D][space - 1](
        kernel.shape[-1],
        kernel.shape[:-2],
        strides=settings.get("strides", 1),
        padding=settings.get("padding", "valid"),
        dilation_rate=settings.get("dilation", 1),
        groups=settings.get("groups", 1),
        activation=activation,
        use_bias=bias,
        dtype=dtype,
    )


_ONNX_OPERATORS = {
    "lstm": "LSTM",
    "gru": "GRU",
    "rnn": "RNN",
    "dense": "Gemm",
    "conv": "Conv",
    "batch_norm": "BatchNormalization",
    "layer_norm": "LayerNormalization",
    "embedding": "Gather",
}
_ONNX_INPUTS = {
    "lstm": ("X", "W", "R", "B", "", "", "", "P"),
    "gru": ("X", "W", "R", "B"),
    "rnn": ("X", "W", "R", "B"),
    "dense": ("A", "B", "C"),
    "conv": ("X", "W", "B"),
    "batch_norm": ("X", "scale", "B", "input_mean", "input_var"),
    "layer_norm": ("X", "Scale", "B"),
    "embedding": ("data", "indices"),
}
_ONNX_ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid", "hard_sigmoid_0.2": "HardSigmoid"}


def _run_onnx(kind: str, tensors: Tensors, settings: Mapping[str, Any], inputs: np.ndarray) -> np.ndarray:
    """One operator in ONNX Runtime, which has the recurrent ones in float32 only."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    recurrent = kind in {"lstm", "gru", "rnn"}
    data = _ONNX_INPUTS[kind]
    free = next(name for name in data if name and name not in tensors and name in {"X", "A", "indices"})
    names = [name if name == free or name in tensors else "" for name in data]
    while not names[-1]:
        names.pop()
    node = helper.make_node(_ONNX_OPERATORS[kind], names, ["Y"], **_onnx_attributes(kind, tensors, settings))
    x = (
        np.swapaxes(inputs, 0, 1)
        if recurrent
        else np.moveaxis(inputs, -1, 1)
        if kind in {"conv", "batch_norm"}
        else inputs
    )
    x = np.ascontiguousarray(x.reshape(-1, x.shape[-1]) if kind == "dense" else x)
    graph = helper.make_graph(
        [node],
        "one_layer",
        [helper.make_tensor_value_info(free, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(["Y"], {free: x})
    if recurrent:
        return np.moveaxis(y, (2, 0), (0, 1)).reshape(len(inputs), inputs.shape[1], -1)
    return (
        np.moveaxis(y, 1, -1)
        if kind in {"conv", "batch_norm"}
        else y.reshape(*inputs.shape[:-1], -1)
        if kind == "dense"
        else y
    )


def _onnx_attributes(kind: str, tensors: Tensors, settings: Mapping[str, Any]) -> dict[str, Any]:
    if kind in {"lstm", "gru", "rnn"}:
        return _onnx_recurrent_attributes(kind, tensors, settings)
    if kind == "dense":
        return {"transB": settings.get("transB", 1)}
    if kind == "conv":
        space = tensors["W"].ndim - 2
        each = {"strides": settings.get("strides", 1), "dilations": settings.get("dilation", 1)}
        same = {"auto_pad": "SAME_UPPER"} if settings.get("padding") == "same" else {}
        return {"group": settings.get("groups", 1), **same, **{k: [v] * space for k, v in each.items()}}
    if kind in {"batch_norm", "layer_norm"}:
        own = {"axis": -next(iter(tensors.values())).ndim} if kind == "layer_norm" else {}
        return {"epsilon": settings["epsilon"], **own}
    return {}


def _onnx_recurrent_attributes(kind: str, tensors: Tensors, settings: Mapping[str, Any]) -> dict[str, Any]:
    directions = len(tensors["W"])
    activations = {
        "lstm": ["recurrent_activation", "activation", "cell_activation"],
        "gru": ["recurrent_activation", "activation"],
        "rnn": ["activation"],
    }[kind]
    usual = {"recurrent_activation": "sigmoid"}
    own: dict[str, Any] = {
        "hidden_size": tensors["R"].shape[-1],
        "direction": "bidirectional" if directions == 2 else settings.get("direction", "forward"),
        "activations": [_ONNX_ACTIVATIONS[settings.get(name, usual.get(name, "tanh"))] for name in activations]
        * directions,
    }
    if kind == "gru":
        own["linear_before_reset"] = int(settings["reset"] == "after")
    if kind == "lstm":
        own["input_forget"] = int(settings.get("input_forget", False))
    return own


_FRAMEWORKS = {"torch": _run_torch, "keras": _run_keras, "onnx": _run_onnx}


@pytest.fixture(scope="session")
def make_layer() -> Callable[..., dict[str, np.ndarray]]:
    """The tensors of one layer in a layout, full of values; ``roles`` None are all that are not optional."""

    def make(
        layout: Layout,
        sizes: Mapping[str, int],
        roles: Iterable[str] | None = None,
        *,
        directions: int = 1,
        layers: int = 1,
        settings: Mapping[str, Any] = MappingProxyType({}),
        dtype: str = "float64",
    ) -> dict[str, np.ndarray]:
        upper = {**sizes, "in": directions * sizes.get("hidden", 0)}
        stacked = [sizes if layer == 0 else upper for layer in range(layers)]
        counts = {"layer": layers, "direction": directions}
        view = view_for(layout, layout.kind.roles if roles is None else roles, counts, stacked, settings)
        return {
            name: _layer_values(name, shape, seed, view.dtypes[name] or dtype)
            for seed, (name, shape) in enumerate(view.shapes.items())
        }

    return make


def _layer_values(name: str, shape: tuple[int, ...], seed: int, dtype: str) -> np.ndarray:
    """Values, where a variance is above zero and a count is a whole number."""
    if dtype.startswith("int"):
        return np.full(shape, 7, dtype)
    result = make_values(shape, seed, dtype)
    return np.abs(result) if "var" in name else result

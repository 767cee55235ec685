"""PyTorch: layers from a state dict's names and shapes, or from a live module's types.

A state dict says nothing of types. Only what names and shapes force is inferred; a bare ``weight`` matrix stays
"dense or embedding" until the other side of a conversion settles it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkpoint import Array, Contents, DType, Layer, LazyTensor, Output, Setting, Structure
from ..errors import CheckpointError
from . import _torch_attention as attention
from . import _torch_normalization as normalization
from ._torch_parametrized import parametrized_reason, with_parametrizations
from ._torch_plain import BAG, bag_settings, conv_notes, conv_settings, embedding_notes, plain_kinds, recurrent_notes

if TYPE_CHECKING:
    from ..graph.building import Reader, Writer

NAME = "torch"
NAMES_FROM_SOURCE = True
CHOICES: tuple[str, ...] = ()

_RECURRENT = re.compile(r"(weight|bias)_(ih|hh|hr)_l\d+(_reverse)?")
_ROWS_PER_UNIT = {4: "lstm", 3: "gru", 1: "rnn"}
_BATCH_NORM = {"running_mean", "running_var", "num_batches_tracked"}
_CELL = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_OWN_TENSORS = ("weight", "bias", *sorted(_BATCH_NORM))

# Module class (torch/nn/modules/*.py) -> kind.
_KIND_OF_MODULE = {
    "LSTM": "lstm",
    "GRU": "gru",
    "RNN": "rnn",
    "Linear": "dense",
    "NonDynamicallyQuantizableLinear": "dense",
    "Conv1d": "conv",
    "Conv2d": "conv",
    "Conv3d": "conv",
    **normalization.KIND_OF_MODULE,
    "Embedding": "embedding",
    "MultiheadAttention": attention.KIND,
    "ConvTranspose1d": "conv_transpose",
    "ConvTranspose2d": "conv_transpose",
    "ConvTranspose3d": "conv_transpose",
    "PReLU": "prelu",
    "Bilinear": "bilinear",
    "EmbeddingBag": "embedding",
    "LSTMCell": "lstm",
    "GRUCell": "gru",
    "RNNCell": "rnn",
}
_LAYOUT_OF_MODULE = {
    "EmbeddingBag": BAG,
    "LSTMCell": "torch.lstm_cell",
    "GRUCell": "torch.gru_cell",
    "RNNCell": "torch.rnn_cell",
}


def structure(contents: Contents) -> Structure:
    """Group the tensors by the module that their name says they belong to."""
    modules: dict[str, dict[str, str]] = {}
    for name in contents.tensors:
        module, _, tensor = name.rpartition(".")
        modules.setdefault(module, {})[tensor] = name
    modules = attention.with_output_projections(with_parametrizations(modules))
    described = contents.description.get("modules")
    layers, unknown = [], {}
    for module, tensors in modules.items():
        layer = (
            parametrized_reason(module, tensors)
            or _described_layer(module, tensors, described, contents)
            or _named_layer(module, tensors, contents)
        )
        if isinstance(layer, Layer):
            layers.append(layer)
        else:
            unknown.update(dict.fromkeys(tensors.values(), f"{module or 'the root module'}: {layer}"))
    return Structure(tuple(layers), unknown=unknown)


def tensor_name(layer: str, tensor: str) -> str:
    """``<layer>.<tensor>``, as in a state dict."""
    return f"{layer}.{tensor}" if layer else tensor


def owns(model: object) -> bool:
    """Whether the model is a ``torch.nn.Module``."""
    return any((cls.__module__, cls.__name__) == ("torch.nn.modules.module", "Module") for cls in type(model).__mro__)


def graph_reader() -> Reader | None:
    """A state dict does not say what its model computes."""
    return None


def graph_writer() -> Writer | None:
    """Nothing writes PyTorch models yet."""
    return None


def read_live(model: Any) -> Contents:
    """The module's state dict, and the type and settings of each submodule."""
    state = {name: value for name, value in model.state_dict().items() if hasattr(value, "numpy")}
    tensors = {name: _live_tensor(name, value) for name, value in state.items()}
    modules = {name: _describe(module) for name, module in model.named_modules() if _module_class(module)}
    return Contents(
        origin=f"live {type(model).__name__}",
        format="live",
        framework=NAME,
        tensors=tensors,
        description={"modules": modules, "tied": _tied(state)},
    )


def _tied(state: Mapping[str, Any]) -> dict[str, str]:
    """The first name of every tensor that has several."""
    first: dict[object, str] = {}
    names = {
        name: first.setdefault((value.data_ptr(), tuple(value.shape), value.stride()), name)
        for name, value in state.items()
        if value.numel()
    }
    return {name: root for name, root in names.items() if name != root}


def write_live(model: Any, tensors: Sequence[Output]) -> None:
    """Copy each tensor into the module's own parameter or buffer; a tied parameter is written once."""
    import torch

    state = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for tensor in tensors:
            memory = np.empty(tensor.shape, tensor.dtype)
            tensor.fill(memory)
            state[tensor.name].copy_(_to_torch(memory))


def _named_layer(module: str, tensors: Mapping[str, str], contents: Contents) -> Layer | str:
    """The layer that the tensors' names and shapes force, or the reason why there is none."""
    shapes = _shapes(tensors, contents)
    if all(_RECURRENT.fullmatch(tensor) for tensor in tensors) or set(tensors) <= set(_CELL):
        return _recurrent_layer(module, tensors, shapes)
    attending = attention.kind_of(shapes)
    if attending:
        return Layer(module, (attending,), tensors)
    others = sorted(set(tensors) - set(_OWN_TENSORS))
    if others:
        return f"no kind has a tensor {others[0]!r}"
    if _BATCH_NORM & set(tensors):
        return Layer(module, ("batch_norm",), tensors)
    if "weight" not in tensors:
        return "a bias without a weight"
    kinds = plain_kinds(shapes)
    listed = ", ".join(f"{tensor} {list(shape)}" for tensor, shape in shapes.items())
    return Layer(module, kinds, tensors) if kinds else f"no kind has {listed}"


def _shapes(tensors: Mapping[str, str], contents: Contents) -> dict[str, tuple[int, ...]]:
    return {tensor: contents.tensors[name].shape for tensor, name in tensors.items()}


def _recurrent_layer(module: str, tensors: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> Layer | str:
    """The layer of stacked modules, or of a cell that a loop calls step by step."""
    is_cell = any(tensor in _CELL for tensor in tensors)
    first = "weight_hh" if is_cell else "weight_hh_l0"
    recurrent = shapes.get(first, ())
    if len(recurrent) != 2 or not recurrent[1]:
        return f"{first} of shape {list(recurrent)} is that of no recurrent layer"
    rows, rest = divmod(recurrent[0], recurrent[1])
    is_projected = any(tensor.startswith("weight_hr") for tensor in tensors)
    kind = "lstm" if is_projected else _ROWS_PER_UNIT.get(rows)
    if kind is None or (rest and not is_projected):
        return f"{first} of shape {list(recurrent)} is of no known kind"
    return Layer(module, (kind,), tensors, layout=f"{NAME}.{kind}_cell" if is_cell else "")


def _described_layer(
    module: str, tensors: Mapping[str, str], described: Mapping[str, Any] | None, contents: Contents
) -> Layer | str | None:
    """The layer of a live module, whose type is known."""
    if described is None:
        return None
    description = described.get(module)
    if description is None and _tells_its_kind(tensors, contents):
        return None
    if description is None or not all(_belongs(description["kind"], tensor) for tensor in tensors):
        return "its module's class has no kind yet"
    return Layer(
        module,
        (description["kind"],),
        tensors,
        description["settings"],
        notes=tuple(description.get("notes", ())),
        layout=description.get("layout", ""),
        sizes=description.get("sizes", {}),
    )


def _tells_its_kind(tensors: Mapping[str, str], contents: Contents) -> bool:
    """Whether a module of any class has the parameters, by name, of a recurrent layer or of attention."""
    return all(_RECURRENT.fullmatch(tensor) for tensor in tensors) or bool(
        attention.kind_of(_shapes(tensors, contents))
    )


def _belongs(kind: str, tensor: str) -> bool:
    """Whether a module of this kind has a tensor of this name."""
    if kind == attention.KIND:
        return tensor in attention.TENSORS
    if kind in _ROWS_PER_UNIT.values():
        return _RECURRENT.fullmatch(tensor) is not None or tensor in _CELL
    return tensor in _OWN_TENSORS


def _module_class(module: object) -> str | None:
    """The torch.nn class that decides how the module stores its weights."""
    names = [cls.__name__ for cls in type(module).__mro__ if cls.__module__.startswith("torch.nn.modules.")]
    return next((name for name in names if name in _KIND_OF_MODULE), None)


def _describe(module: Any) -> dict[str, Any]:
    class_name = str(_module_class(module))
    kind = _KIND_OF_MODULE[class_name]
    if kind == attention.KIND:
        return attention.described(module)
    if class_name in normalization.KIND_OF_MODULE:
        return normalization.described(module, class_name)
    readers: dict[str, Callable[[Any], Iterator[tuple[str, Setting]]]] = {
        "lstm": _recurrent_settings,
        "gru": _recurrent_settings,
        "rnn": _recurrent_settings,
        "conv": conv_settings,
        "conv_transpose": conv_settings,
    }
    reader = bag_settings if class_name == "EmbeddingBag" else readers.get(kind)
    recurrent = dict.fromkeys(_ROWS_PER_UNIT.values(), recurrent_notes)
    notes = {"conv": conv_notes, "conv_transpose": conv_notes, "embedding": embedding_notes, **recurrent}.get(kind)
    return {
        "kind": kind,
        "settings": dict(reader(module)) if reader else {},
        "layout": _LAYOUT_OF_MODULE.get(class_name, ""),
        "notes": list(notes(module)) if notes else [],
    }


def _recurrent_settings(module: Any) -> Iterator[tuple[str, Setting]]:
    yield "direction", "bidirectional" if getattr(module, "bidirectional", False) else "forward"
    if hasattr(module, "nonlinearity"):
        yield "activation", module.nonlinearity
    else:
        yield "activation", "tanh"
        yield "recurrent_activation", "sigmoid"


def _live_tensor(name: str, value: Any) -> LazyTensor:
    return LazyTensor(name, tuple(value.shape), _numpy_dtype(name, value), partial(_to_numpy, value))


def _numpy_dtype(name: str, value: Any) -> DType:
    import ml_dtypes

    text = str(value.dtype).removeprefix("torch.")
    if value.is_quantized or value.layout.__repr__() != "torch.strided":
        raise CheckpointError(f"tensor {name!r} is quantized or sparse; weightport carries dense tensors")
    return np.dtype(getattr(ml_dtypes, text)) if hasattr(ml_dtypes, text) else np.dtype(text)


def _to_numpy(value: Any) -> Array:
    """The values of a torch tensor, bit for bit; dtypes that NumPy lacks travel as unsigned integers."""
    import torch

    dtype = _numpy_dtype("", value)
    value = value.detach().cpu().contiguous()
    if dtype.isbuiltin == 1:
        return np.asarray(value.numpy())
    carrier = torch.int16 if dtype.itemsize == 2 else torch.uint8
    return np.asarray(value.view(carrier).numpy()).view(dtype)


def _to_torch(array: Array) -> Any:
    import torch

    if array.dtype.isbuiltin == 1:
        return torch.from_numpy(array)
    carrier = np.int16 if array.dtype.itemsize == 2 else np.uint8
    return torch.from_numpy(array.view(carrier)).view(getattr(torch, array.dtype.name))

"""Live Keras 3 models of any backend: read as a list of layers with their weights, and written in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..checkpoint import Array, Contents, DType, LazyTensor, Output
from ..errors import CheckpointError, UsageError
from ._keras_classes import KIND_OF_CLASS
from ._keras_config import joined

_WRAPPERS = {"Bidirectional", "RNN", "TimeDistributed", "SpectralNormalization"}


@dataclass(frozen=True)
class _Leaf:
    """A layer that is described by its own config, and its weights in the order in which Keras lists them."""

    name: str
    class_name: str
    config: Mapping[str, Any]
    weights: tuple[Any, ...]
    owner: Any = None


def live_contents(model: Any) -> Contents:
    """The weights of a live model or layer. Raises UsageError where it has none yet."""
    import keras

    leaves = _distinct_leaves(model)
    variables = _variables(leaves)
    if not variables:
        raise UsageError(f"the live {type(model).__name__} has no weights; build it or call it on an input first")
    names = {id(variable): name for name, variable in variables.items()}
    layers = [{"class_name": leaf.class_name, "name": leaf.name, "config": leaf.config} for leaf in leaves]
    return Contents(
        origin=f"live {type(model).__name__}",
        format="live",
        framework="keras",
        tensors={name: _live_tensor(name, variable) for name, variable in variables.items()},
        description={
            "keras_version": keras.__version__,
            "config": {"class_name": type(model).__name__, "config": {"name": model.name, "layers": layers}},
            "graph": _graph(model),
            "dialect": "layers",
            "groups": {leaf.name: {"weights": [names[id(variable)] for variable in leaf.weights]} for leaf in leaves},
            "optimizer": [],
        },
    )


def load_live(model: Any, tensors: Sequence[Output]) -> None:
    """Assign the tensors to the model's variables; nothing is assigned before all are made and fit."""
    variables = _variables(_distinct_leaves(model))
    made = []
    for tensor in tensors:
        variable = variables[tensor.name]
        if tuple(variable.shape) != tensor.shape:
            raise CheckpointError(f"{tensor.name} is {list(variable.shape)} in the model, not {list(tensor.shape)}")
        memory = np.empty(tensor.shape, tensor.dtype)
        tensor.fill(memory)
        made.append((variable, memory))
    for variable, memory in made:
        variable.assign(memory)


def live_layers(model: Any) -> dict[str, Any]:
    """The live Keras layer behind each parametric layer's name; the cells of a stack have none of their own."""
    return {leaf.name: leaf.owner for leaf in _distinct_leaves(model)}


def _distinct_leaves(model: Any) -> list[_Leaf]:
    """The leaves of a model; a name that stands twice, which subclassed models may have, gets a counter."""
    used: dict[str, int] = {}
    leaves = []
    for leaf in _leaves(model, "", set()):
        count = used[leaf.name] = used.get(leaf.name, 0) + 1
        name = leaf.name if count == 1 else f"{leaf.name}_{count}"
        leaves.append(replace(leaf, name=name))
    return leaves


def _leaves(layer: Any, outer: str, seen: set[int]) -> Iterator[_Leaf]:
    """The parametric layers in a layer, each once. ``outer`` is what the layer itself is called."""
    if id(layer) in seen:
        return
    seen.add(id(layer))
    known = _known_class(layer)
    if known == "TimeDistributed" and _known_class(layer.layer) is None and _parts(layer.layer):
        yield from _leaves(layer.layer, outer or layer.name, seen)
        return
    config = _config(layer) if known else None
    known = known if config is not None else None
    parts = _parts(layer) if known is None else []
    inside = {id(variable) for part in parts for variable in part.weights}
    weights = [*layer.trainable_weights, *layer.non_trainable_weights]
    own = tuple(variable for variable in weights if id(variable) not in inside)
    if own:
        yield _Leaf(outer or layer.name, known or type(layer).__name__, config or {}, own, layer)
    for part in parts:
        yield from _leaves(part, joined(outer, part.name), seen)


def _known_class(layer: Any) -> str | None:
    """Keras' own class that decides what the layer's config and weights mean, None where there is none of a kind."""
    own = [cls.__name__ for cls in type(layer).__mro__ if cls.__module__.startswith("keras.")]
    return next((name for name in own if name in KIND_OF_CLASS or name in _WRAPPERS), None)


def _config(layer: Any) -> Mapping[str, Any] | None:
    """The layer's config, None where a user's class inside it cannot say its own."""
    try:
        config: Mapping[str, Any] = layer.get_config()
    except NotImplementedError:
        return None
    return config


def _graph(model: Any) -> Mapping[str, Any] | None:
    """The config of a model that says how its layers feed one another; of a subclassed model there is none."""
    is_graph = any(cls.__name__ in ("Functional", "Sequential") for cls in type(model).__mro__)
    config = _config(model) if is_graph else None
    return {"class_name": type(model).__name__, "config": config} if config is not None else None


def _parts(layer: Any) -> list[Any]:
    """The layers directly inside a model or a user's layer; Keras' own layers are not taken apart."""
    if any(cls.__name__ == "Model" and cls.__module__.startswith("keras.") for cls in type(layer).__mro__):
        return list(layer.layers)
    return [] if type(layer).__module__.startswith("keras.") else list(getattr(layer, "_layers", []))


def _variables(leaves: Sequence[_Leaf]) -> dict[str, Any]:
    """Every weight by a name of its own: the layer's, and what its path says below the layer."""
    variables: dict[str, Any] = {}
    for leaf in leaves:
        for variable in leaf.weights:
            name = base = f"{leaf.name}/{_path_below(leaf, variable)}"
            count = 1
            while name in variables and variables[name] is not variable:
                count += 1
                name = f"{base}_{count}"
            variables[name] = variable
    return variables


def _path_below(leaf: _Leaf, variable: Any) -> str:
    parts = str(variable.path).split("/")
    own = leaf.name.rpartition(".")[2]
    return "/".join(parts[parts.index(own) + 1 :] if own in parts[:-1] else parts)


def _live_tensor(name: str, variable: Any) -> LazyTensor:
    return LazyTensor(name, tuple(variable.shape), _numpy_dtype(variable), partial(_to_numpy, variable))


def _numpy_dtype(variable: Any) -> DType:
    import ml_dtypes

    name = str(variable.dtype)
    return np.dtype(getattr(ml_dtypes, name, name))


def _to_numpy(variable: Any) -> Array:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(variable)).astype(_numpy_dtype(variable), copy=False)

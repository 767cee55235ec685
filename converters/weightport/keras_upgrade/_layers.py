"""One layer's config of Keras 1 or 2 as Keras 3 writes it, wrappers and cells with what is in them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from ..errors import RefusedError
from ..frameworks._keras_config import MERGE, Entry, entry_of, layer_name
from . import _values
from ._arguments import ARGUMENTS, EVERY_LAYER
from ._renames import ARGUMENTS as RENAMED
from ._renames import CLASSES, KERNEL_SIZES, MERGES, MODELS, ONLY, VALUES, WITHOUT_EFFECT
from ._values import JSON, serialized

MAX_DEPTH = 64
_HELD = {"layer", "backward_layer", "cell"}
_ACTIVATION_LAYERS = {"ELU", "LeakyReLU", "ReLU", "Softmax", "ThresholdedReLU"}
_COSINE = "cos"
_VALUES: Mapping[str, Callable[[Any], Any]] = {
    "initializer": _values.initializer,
    "regularizer": _values.regularizer,
    "constraint": _values.constraint,
    "dtype": _values.dtype,
}


def upgraded_layer(entry: Entry, major: int, depth: int = 0, own: Collection[str] = ()) -> JSON:
    """The layer as Keras 3 writes it. ``major`` is the Keras that wrote it, ``own`` are the user's classes that stay as
    they are.

    Raises RefusedError with one problem for each thing that Keras 3 cannot say; each begins with the layer's name."""
    if entry.class_name in own:
        return serialized("", entry.class_name, {**entry.config, "name": layer_name(entry.name)})
    class_name, said = _class_of(entry)
    if class_name not in ARGUMENTS:
        raise RefusedError("", [f"{entry.name}: {_absent(entry)}"])
    if depth > MAX_DEPTH:
        raise RefusedError("", [f"{entry.name}: layers in layers more than {MAX_DEPTH} deep"])
    config: JSON = {"name": layer_name(entry.name)}
    problems: list[str] = []
    for key, value in _arguments(entry, class_name, problems):
        try:
            new = _value(key, value, major, depth)
        except RefusedError as error:
            problems += [problem if key in _HELD else f"{entry.name}: {problem}" for problem in error.problems]
            continue
        if not (new is None and key.endswith("_initializer")):
            config[key] = new
    if problems:
        raise RefusedError("", problems)
    return serialized("keras.layers", class_name, _settled(class_name, {**config, **said}))


def _class_of(entry: Entry) -> tuple[str, Mapping[str, Any]]:
    """The class in Keras 3, and what it has to say beside the older config."""
    if entry.class_name == MERGE:
        mode = entry.config.get("mode")
        name = MERGES.get(mode, MERGE) if isinstance(mode, str) else MERGE
        return name, {"normalize": True} if mode == _COSINE else {}
    return CLASSES.get(entry.class_name, (entry.class_name, {}))


def _absent(entry: Entry) -> str:
    if entry.class_name == "Lambda":
        return "a Lambda layer is Python code, which is never read; replace it by layers"
    if entry.class_name in MODELS:
        return "a model inside a layer is not carried"
    if entry.class_name in ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"):
        return f"an operation of TensorFlow ({entry.config.get('function') or entry.class_name}); replace it by a layer"
    return f"{entry.class_name} is no layer of Keras 3 that an upgraded model can have, or the user's own"


def _arguments(entry: Entry, class_name: str, problems: list[str]) -> Iterator[tuple[str, Any]]:
    """The arguments by their newer names; ``problems`` gets one line for each that Keras 3 does not have."""
    known = ARGUMENTS[class_name] | EVERY_LAYER
    config = {**entry.config, **_kernel_size(entry.config)}
    merges = entry.class_name == MERGE
    for key, value in config.items():
        name = next((new for new in RENAMED.get(key, ()) if new in known), key) if key not in known else key
        if name in known and not (name != key and name in config):
            values = VALUES.get(name, {})
            new = values.get(value, value) if isinstance(value, str) else value
            if key != "name" and not (name == "data_format" and new is None):
                yield name, new
        elif name not in known and not _says_nothing(key, value) and not (merges and key == "mode"):
            problems.append(f"{entry.name}: {entry.class_name} has {key} = {value!r}, which Keras 3 cannot say")


def _kernel_size(config: Mapping[str, Any]) -> JSON:
    """The kernel's sizes together, where Keras 1 has them one by one."""
    for names in KERNEL_SIZES:
        if all(name in config for name in names):
            return {"kernel_size": [config[name] for name in names]}
    return {}


def _says_nothing(key: str, value: Any) -> bool:
    """Whether an argument that Keras 3 has no more can go without a change of what the layer computes."""
    is_size = any(key in names for names in KERNEL_SIZES)
    return key in WITHOUT_EFFECT or is_size or value in ONLY.get(key, ())


def _value(key: str, value: Any, major: int, depth: int) -> Any:
    """An argument's value as Keras 3 reads it."""
    if key in _HELD:
        return _held(value, major, depth)
    if key == "cells" and isinstance(value, list):
        return [_held(cell, major, depth) for cell in value]
    if key in ("activation", "recurrent_activation"):
        inner = entry_of(value)
        is_layer = inner is not None and inner.class_name in _ACTIVATION_LAYERS
        return _held(value, major, depth) if is_layer else _values.activation(value, major)
    return _VALUES.get(key.rpartition("_")[2], plain)(value)


def _held(value: Any, major: int, depth: int) -> JSON | None:
    """A layer that another one holds."""
    if value is None:
        return None
    entry = entry_of(value)
    if entry is None:
        raise RefusedError("", ["it holds something that is no layer"])
    return upgraded_layer(entry, major, depth + 1)


def plain(value: Any) -> Any:
    """A number, a text or a list of them; Keras 2's tuples become lists.

    Raises RefusedError for a serialized object, which no argument but those above may hold."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        if value.get("class_name") in ("__tuple__", "TensorShape") and isinstance(value.get("items"), list):
            return [plain(item) for item in value["items"]]
        raise RefusedError("", [f"one of its arguments is a {value.get('class_name', 'dictionary')}"])
    return value


def _settled(class_name: str, config: JSON) -> JSON:
    """What follows for a class from the whole of its config."""
    if class_name in ("GRU", "GRUCell"):  # before Keras 2.1 there was no such flag
        config.setdefault("reset_after", False)
    if class_name == "BatchNormalization" and isinstance(config.get("axis"), list) and len(config["axis"]) == 1:
        config["axis"] = config["axis"][0]
    if class_name != "InputLayer" and str(config.get("dtype", "")).startswith(("int", "uint")):
        del config["dtype"]  # an Embedding's was its input's, before Keras 2.3
    return config

"""A whole model's config of Keras 1 or 2 as Keras 3 writes it, with the models inside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import RefusedError
from ..frameworks._keras_config import MERGE, Entry, entry_of, layer_name
from ._layers import MAX_DEPTH, plain, upgraded_layer
from ._masks import mask_problems
from ._nodes import as_outputs, calls_of, ends, in_keras_3_order, is_functional, is_model, numbering
from ._renames import MODELS
from ._values import JSON, serialized

_KERAS_3 = 3
_SEQUENTIAL, _FUNCTIONAL = "Sequential", "Functional"


@dataclass(frozen=True)
class Origin:
    """Where a config comes from: the Keras that wrote it, and the classes in it that are the user's own and known."""

    major: int
    own: frozenset[str]


def upgraded_model(config: Mapping[str, Any], major: int, own: Collection[str] = ()) -> JSON:
    """The model as Keras 3 writes it. ``major`` is the Keras that wrote the config, ``own`` are the user's classes that
    stay as they are.

    Raises RefusedError listing every layer and argument that Keras 3 cannot say."""
    model = _model(config, Origin(major, frozenset(own)), 0)
    problems = mask_problems(model) if major < _KERAS_3 else []
    if problems:
        raise RefusedError("", problems)
    return model


def _model(value: Mapping[str, Any], origin: Origin, depth: int) -> JSON:
    entry = entry_of(value)
    if entry is None or entry.class_name not in MODELS or entry.layers is None:
        found = value.get("class_name", "nothing")
        raise RefusedError("", [f"the config describes {found}, not a Sequential or Functional model: it is code"])
    if depth > MAX_DEPTH:
        raise RefusedError("", [f"{entry.name}: models in models more than {MAX_DEPTH} deep"])
    is_sequence = "input_layers" not in entry.config
    class_name = _SEQUENTIAL if is_sequence else _FUNCTIONAL
    made = _sequential(entry, _built_shape(value), origin, depth) if is_sequence else _functional(entry, origin, depth)
    config = {"name": layer_name(entry.name), **made}
    if "dtype" in entry.config and isinstance(entry.config["dtype"], str) and is_sequence:
        config["dtype"] = entry.config["dtype"]
    return serialized("keras" if is_sequence else "keras.src.models.functional", class_name, config)


def _layer(value: Mapping[str, Any], origin: Origin, depth: int) -> JSON:
    """One member of a model: a layer or a model."""
    entry = entry_of(value)
    if entry is not None and entry.class_name == MERGE and is_model(value):
        raise RefusedError("", [f"{entry.name}: a Sequential model that begins by merging others is not carried"])
    if is_model(value):
        return _model(value, origin, depth + 1)
    if entry is None:
        raise RefusedError("", ["the config lists something that is no layer"])
    return upgraded_layer(entry, origin.major, own=origin.own)


def _members(values: Sequence[Mapping[str, Any]], origin: Origin, depth: int) -> list[JSON]:
    """All members, or one RefusedError with the problems of all."""
    members: list[JSON] = []
    problems: list[str] = []
    for value in values:
        try:
            members.append(_layer(value, origin, depth))
        except RefusedError as error:
            problems += error.problems
    if problems:
        raise RefusedError("", problems)
    return members


def _sequential(entry: Entry, built_shape: Any, origin: Origin, depth: int) -> JSON:
    raw = entry.config["layers"]
    members = _members(raw, origin, depth)
    if members and members[0]["class_name"] != "InputLayer":
        shape = _input_shape(raw[0]) or built_shape
        if shape is None:
            raise RefusedError("", [f"{entry.name}: it does not say its input's shape, so Keras cannot build it"])
        members.insert(0, _input_layer(members, shape, raw[0]))
    return {"trainable": entry.config.get("trainable", True), "layers": members}


def _input_layer(members: Sequence[JSON], shape: Any, first: Mapping[str, Any]) -> JSON:
    """The input layer that Keras 3 has where older versions gave the first layer its input's shape."""
    names = {member["config"]["name"] for member in members}
    name = f"{members[0]['config']['name']}_input"
    while name in names:
        name += "_"
    config = first.get("config")
    said = config.get("input_dtype") or config.get("dtype") if isinstance(config, Mapping) else None
    dtype = said if isinstance(said, str) else "float32"
    return serialized("keras.layers", "InputLayer", {"name": name, "batch_shape": plain(shape), "dtype": dtype})


def _input_shape(value: Any) -> Any:
    """The shape of a layer's input with the batch, where its config says it: its own or that of what it wraps."""
    config = value.get("config") if isinstance(value, Mapping) else None
    if not isinstance(config, Mapping):
        members = config if isinstance(config, list) else []
        return _input_shape(members[0]) if members else None
    for key in ("batch_input_shape", "batch_shape"):
        if config.get(key) is not None:
            return config[key]
    layers = config.get("layers")
    inner = layers[0] if isinstance(layers, list) and layers else config.get("layer")
    return _input_shape(inner)


def _built_shape(value: Mapping[str, Any]) -> Any:
    """The shape that the model was built for, as later versions of Keras 2 write it."""
    config, built = value.get("config"), value.get("build_config")
    said = config.get("build_input_shape") if isinstance(config, Mapping) else None
    return said or (built.get("input_shape") if isinstance(built, Mapping) else None)


def _functional(entry: Entry, origin: Origin, depth: int) -> JSON:
    raw = entry.config["layers"]
    if not all(isinstance(layer.get("name"), str) for layer in raw) or "output_layers" not in entry.config:
        raise RefusedError("", [f"{entry.name}: its layers or outputs have no names"])
    numbers = numbering(entry.config, origin.major)
    members = _members(raw, origin, depth)
    problems: list[str] = []
    for member, layer in zip(members, raw, strict=True):
        try:
            member |= {"name": layer_name(layer["name"]), "inbound_nodes": calls_of(layer, numbers.in_calls)}
            member["config"]["name"] = member["name"]
        except RefusedError as error:
            problems += [f"{layer['name']}: {problem}" for problem in error.problems]
    if problems:
        raise RefusedError("", problems)
    outputs = ends(entry.config["output_layers"], numbers.in_outputs)
    functional = {layer_name(layer["name"]) for layer in raw if is_functional(layer)}
    return {
        "trainable": entry.config.get("trainable", True),
        "layers": in_keras_3_order(members, outputs),
        "input_layers": ends(entry.config["input_layers"], {}),
        "output_layers": as_outputs(outputs, functional),
    }

"""From the config of a Keras 3 model to the neutral graph: nested models unfolded, every node of every layer called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..checkpoint import Checkpoint, Contents
from ..errors import RefusedError
from ..frameworks._keras_config import Entry, entry_of, joined, layer_name, major_version
from ..keras_upgrade import upgraded_config
from .builder import Builder
from .custom import registered_classes
from .keras_arguments import History, Unresolved, resolved
from .keras_call import KERAS_3, Call, Nested, flat, has_translator, translator_of
from .keras_dtypes import autocast
from .keras_weights import LayerWeights
from .operations import Graph, Value

# Layers after which the mask of their first input goes on (``supports_masking`` in keras/src/layers).
_OPERATIONS = "keras.src.ops"
_MASK_GOES_ON = {
    *("Activation", "ActivityRegularization", "AlphaDropout", "BatchNormalization", "Dense", "Dropout", "ELU"),
    *("GaussianDropout", "GaussianNoise", "GroupNormalization", "Identity", "LayerNormalization", "LeakyReLU"),
    *("Normalization", "PReLU", "ReLU", "Rescaling", "Softmax", "SpatialDropout1D", "UnitNormalization"),
}


def read_keras(checkpoint: Checkpoint) -> Graph:
    """The graph of the model in a Keras checkpoint.

    Raises RefusedError naming the layer where the file does not say what it computes (a Lambda, a class of the user's,
    a subclassed model), or where there is no model at all."""
    contents = checkpoint.contents
    is_legacy = contents.format != "live" and _version(contents) < KERAS_3
    root = _root(contents, is_legacy=is_legacy)
    builder = Builder({name: tensor.shape for name, tensor in contents.tensors.items()})
    reader = _Reader(builder, checkpoint, is_legacy=is_legacy)
    outputs = reader.root(root)
    return builder.built(layer_name(root.name), outputs)


def _version(contents: Contents) -> int:
    return major_version(contents.description.get("keras_version"), default=1)


def _root(contents: Contents, *, is_legacy: bool) -> Entry:
    """The outermost model, as Keras 3 writes it."""
    is_live = contents.format == "live"
    config = contents.description.get("graph" if is_live else "config")
    written = entry_of(config)
    if written is None or written.layers is None or not isinstance(config, Mapping):
        is_subclass = is_live or written is not None
        what = "it is a subclassed model" if is_subclass else "it has weights only"
        hint = "" if is_subclass else "; --architecture takes what model.to_json() gave, if that was kept"
        raise RefusedError(f"{contents.origin}: {what}: it does not say what the model computes{hint}")
    root = entry_of(upgraded_config(contents, registered_classes())) if is_legacy else written
    assert root is not None
    return root


class _Reader:
    """Calls layers, and the layers inside them."""

    def __init__(self, builder: Builder, checkpoint: Checkpoint, *, is_legacy: bool) -> None:
        self.is_legacy = is_legacy
        self._builder = builder
        self._weights = LayerWeights.of_checkpoint(checkpoint)

    def root(self, model: Entry) -> list[tuple[str, Value]]:
        """The outermost model's outputs with their names; its inputs become the graph's."""
        inputs = [self._builder.input(*one) for one in _inputs(model)]
        outputs = self._model(model, "", inputs, None)
        names = _output_names(model)
        values = list(flat(outputs))
        if len(names) != len(values):
            names = [names[0]] * len(values)
        return list(zip(names, values, strict=True))

    def inner(self, entry: Entry, name: str, arguments: Sequence[Any], mask: Value | None) -> Nested:
        """The outputs of a layer that another one holds, under the name that its weights have."""
        keywords = {} if mask is None else {"mask": mask}
        return self._called(entry, name, arguments, keywords)

    def _model(self, model: Entry, name: str, inputs: Sequence[Value], mask: Value | None) -> Nested:
        if mask is not None:
            self._builder.masks.setdefault(inputs[0].name, mask)
        if "input_layers" in model.config:
            return self._functional(model, name, inputs)
        return self._sequential(model, name, inputs)

    def _sequential(self, model: Entry, name: str, inputs: Sequence[Value]) -> Nested:
        outputs: Nested = inputs[0]
        for entry in model.layers or ():
            if entry.class_name != "InputLayer":
                outputs = self._called(entry, joined(name, entry.name), (outputs,), {})
        return outputs

    def _functional(self, model: Entry, name: str, inputs: Sequence[Value]) -> Nested:
        made: dict[History, Value] = dict(zip(_histories(model.config["input_layers"]), inputs, strict=True))
        pending = list(_nodes(model))
        while pending:
            left = [node for node in pending if not self._try(node, name, made)]
            if len(left) == len(pending):
                raise RefusedError(f"{joined(name, left[0][0].name)}: its input is made by no layer of the model")
            pending = left
        return _structured(model.config["output_layers"], _outputs(model, made))

    def _try(self, node: tuple[Entry, int, Any], outer: str, made: dict[History, Value]) -> bool:
        """Call one node of a layer, if all that it needs is there."""
        entry, index, data = node
        try:
            arguments, keywords = resolved(data, made)
        except Unresolved:
            return False
        outputs = self._called(entry, joined(outer, entry.name), arguments, keywords)
        made.update({(entry.name, index, place): value for place, value in enumerate(flat(outputs))})
        return True

    def _called(self, entry: Entry, name: str, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Nested:
        if entry.layers is not None:
            mask = keywords.get("mask")
            with self._builder.within(name):
                return self._model(entry, name, list(flat(arguments)), mask if isinstance(mask, Value) else None)
        call = Call(entry, name, tuple(arguments), keywords, self._builder, self._weights, self)
        call = call if entry.module.startswith(_OPERATIONS) else autocast(call)
        outputs = self._translated(call)
        given = keywords.get("mask")
        first = next(flat(call.arguments), None)
        mask = given if isinstance(given, Value) else self._builder.masks.get(first.name) if first else None
        if entry.class_name in _MASK_GOES_ON and mask is not None and isinstance(outputs, Value):
            self._builder.masks.setdefault(outputs.name, mask)
        return outputs

    def _translated(self, call: Call) -> Nested:
        entry = call.entry
        is_operation = entry.module.startswith(_OPERATIONS)
        key = f"ops.{entry.class_name}" if is_operation else entry.class_name
        if entry.class_name in registered_classes():
            return _custom(call)
        if has_translator(key):
            return translator_of(key)(call)
        if entry.class_name == "Lambda":
            raise RefusedError(
                f"{call.name}: a Lambda holds code, which is never run; write it as a registered layer and give its "
                "emitter with weightport.register_layer"
            )
        raise RefusedError(
            f"{call.name}: what {key} computes is not known; weightport.register_layer({entry.class_name!r}, emitter) "
            "teaches it"
        )


def _custom(call: Call) -> Nested:
    """A class that the user registered: one operation, with the class' config as its settings."""
    shape = registered_classes()[call.entry.class_name].shape
    shapes = [shape(call.config, [value.shape for value in call.inputs])] if shape else [call.x.shape]
    return call.add(
        call.entry.class_name, call.inputs, dict(call.config), weights=call.weights.of(call.name), shapes=shapes
    )


def _nodes(model: Entry) -> Iterator[tuple[Entry, int, Any]]:
    """Every call of every layer, in the config's order."""
    for raw in model.config["layers"]:
        entry = entry_of(raw)
        if entry is None or entry.class_name == "InputLayer":
            continue
        for index, data in enumerate(raw.get("inbound_nodes", ())):
            if data:
                yield entry, index, data


def _histories(said: Any) -> list[History]:
    """Where tensors come from: (layer, node, index), flattened from what the config nests."""
    if isinstance(said, Mapping):
        return [one for key in sorted(said) for one in _histories(said[key])]
    if said and isinstance(said[0], str):
        return [(said[0], said[1], said[2])]
    return [one for inner in said for one in _histories(inner)]


def _outputs(model: Entry, made: Mapping[History, Value]) -> dict[History, Value]:
    """What the layers made, by the numbers of ``output_layers``, where Functional models in a model count from 1
    (keras/src/models/functional.py, functional_from_config)."""
    functional = {entry.name for entry in model.layers or () if "input_layers" in entry.config}
    return {(name, node + (name in functional), index): value for (name, node, index), value in made.items()}


def _structured(said: Any, made: Mapping[History, Value]) -> Nested:
    if isinstance(said, Mapping):
        return {key: _structured(value, made) for key, value in said.items()}
    if said and isinstance(said[0], str):
        return made[said[0], said[1], said[2]]
    return [_structured(inner, made) for inner in said]


def _output_names(model: Entry) -> list[str]:
    """What the results are called: by the keys of a dictionary, else by the layers that make them."""
    said = model.config.get("output_layers")
    if said is None:
        return [layer_name((model.layers or (model,))[-1].name)]
    if isinstance(said, Mapping) and all(value and isinstance(value[0], str) for value in said.values()):
        return [str(key) for key in sorted(said)]
    return [layer_name(name) for name, _, _ in _histories(said)]


def _inputs(model: Entry) -> Iterator[tuple[str, tuple[int | None, ...], str]]:
    """Name, shape and dtype of every input of the outermost model."""
    layers = {entry.name: entry for entry in model.layers or ()}
    if "input_layers" in model.config:
        for name, _, _ in _histories(model.config["input_layers"]):
            yield _input(layers[name])
        return
    first = (model.layers or (model,))[0]
    if first.class_name == "InputLayer":
        yield _input(first)
        return
    shape = model.config.get("build_input_shape") or first.config.get("batch_input_shape")
    if shape is None:
        raise RefusedError(f"{model.name}: the model was never built: its config has no input shape")
    yield "input", (None, *shape[1:]), "int32" if first.class_name == "Embedding" else "float32"


def _input(entry: Entry) -> tuple[str, tuple[int | None, ...], str]:
    shape = entry.config.get("batch_shape") or entry.config.get("batch_input_shape")
    if shape is None:
        raise RefusedError(f"{entry.name}: the input has no shape")
    return layer_name(entry.name), tuple(shape), str(entry.config.get("dtype") or "float32")

"""How a Keras config's layers feed one another: which of them take in, or give out, a flattened feature map.

The walk computes what each call makes of the axes of its inputs (:mod:`._feature_flow`); a class that it does not know
makes its result unknown, never wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from ..checkpoint import FeatureMap
from ._feature_flow import CHANNELS, PLAIN, RAW, Activation, Axes, Flow, Lost
from ._feature_shapes import lost_in
from ._keras_config import Entry, joined
from ._keras_flow_rules import RULES, Call

Reference: TypeAlias = tuple[str, int, int]
"""A tensor of a functional model: the layer's name, the number of its call and of its output."""
_MAX_DEPTH = 64


def flattened_axes(model: Entry) -> dict[str, dict[str, FeatureMap | str]] | None:
    """For every layer that the model's graph reaches, its axes that run over a feature map; None without a graph."""
    walk = _Walk(Flow())
    if not walk.is_graph(model):
        return None
    walk.model(model, "", None, 0)
    return walk.flow.results()


@dataclass(frozen=True)
class _Walk:
    flow: Flow

    def is_graph(self, entry: Entry) -> bool:
        """Whether the config says how the model's layers feed one another."""
        if entry.layers is None:
            return False
        return "input_layers" in entry.config or entry.class_name == "Sequential"

    def model(self, entry: Entry, name: str, inputs: Sequence[Activation] | None, depth: int) -> list[Activation]:
        """The outputs of a model; without ``inputs``, those of its own input layers are taken."""
        if depth > _MAX_DEPTH or not self.is_graph(entry):
            return [self.unknown(entry, name, inputs or ())]
        if "input_layers" in entry.config:
            return self._functional(entry, name, inputs, depth)
        return self._sequential(entry, name, inputs, depth)

    def call(self, entry: Entry, name: str, inputs: Sequence[Activation], depth: int) -> list[Activation]:
        """The outputs of one call of a layer or nested model."""
        if entry.layers is not None:
            return self.model(entry, name, inputs, depth + 1)
        if entry.class_name == "TimeDistributed":
            return self._every_step(entry, name, inputs, depth)
        rule = RULES.get(entry.class_name)
        if rule is None or not inputs:
            return [self.unknown(entry, name, inputs)]
        return rule(Call(self.flow, entry, name, inputs))

    def unknown(self, entry: Entry, name: str, inputs: Sequence[Activation]) -> Lost:
        """What comes out of a class that is not known: a doubt where a map went in."""
        return lost_in(f"the {entry.class_name} {name or entry.name}", inputs)

    def _every_step(self, entry: Entry, name: str, inputs: Sequence[Activation], depth: int) -> list[Activation]:
        inner = entry.inner("layer")
        if inner is None or not inputs or isinstance(inputs[0], Lost) or len(inputs[0]) < 2:
            return [self.unknown(entry, name, inputs)]
        steps, *rest = inputs[0]
        made = self.call(inner, name, [tuple(rest)], depth + 1)
        return [one if isinstance(one, Lost) else (steps, *one) for one in made]

    def _sequential(self, entry: Entry, name: str, inputs: Sequence[Activation] | None, depth: int) -> list[Activation]:
        layers = entry.layers or ()
        shape = _batch_shape(entry) or (_batch_shape(layers[0]) if layers else None)
        made = list(inputs) if inputs is not None else [self._input(shape)]
        for layer in layers:
            if layer.class_name != "InputLayer":
                made = self.call(layer, joined(name, layer.name), made[:1], depth)
        return made

    def _functional(self, entry: Entry, name: str, inputs: Sequence[Activation] | None, depth: int) -> list[Activation]:
        graph = _Graph.of(entry)
        values: dict[Reference, Activation] = {}
        for index, reference in enumerate(graph.inputs):
            given = inputs[index] if inputs is not None and index < len(inputs) else None
            layer = graph.layers.get(reference[0])
            values[reference] = given or self._input(_batch_shape(layer) if layer else None)
        for layer, number, references in graph.calls():
            if (layer.name, number, 0) in values:
                continue
            taken = [_sized(values.get(one, Lost()), graph.shapes.get(one)) for one in references]
            made = self.call(layer, joined(name, layer.name), taken, depth)
            if layer.class_name != "Lambda":
                made = [_stated(one, taken, graph.shapes.get((layer.name, number, i))) for i, one in enumerate(made)]
            values |= {(layer.name, number, index): one for index, one in enumerate(made)}
        return [_sized(values.get(one, Lost()), graph.shapes.get(one)) for one in graph.outputs] or [Lost()]

    def _input(self, shape: Sequence[int | None] | None) -> Activation:
        return self.flow.axes(RAW, shape[1:]) if shape else Lost()


@dataclass(frozen=True)
class _Graph:
    """A functional model's config: its layers, and for each call of one the tensors that go in."""

    layers: Mapping[str, Entry]
    nodes: Mapping[str, Sequence[Sequence[Reference]]]
    inputs: Sequence[Reference]
    outputs: Sequence[Reference]
    shapes: Mapping[Reference, Sequence[int | None]] = field(default_factory=dict)

    @classmethod
    def of(cls, entry: Entry) -> _Graph:
        raw = [layer for layer in entry.config.get("layers", ()) if isinstance(layer, Mapping)]
        layers = {layer.name: layer for layer in entry.layers or ()}
        shapes: dict[Reference, Sequence[int | None]] = {}
        nodes = {}
        for layer, said in zip(entry.layers or (), raw, strict=False):
            inbound = said.get("inbound_nodes")
            nodes[layer.name] = [list(_references(node, shapes)) for node in _items(inbound)]
        inputs, outputs = (
            list(_references(entry.config.get(key), shapes)) for key in ("input_layers", "output_layers")
        )
        return cls(layers, nodes, inputs, outputs, shapes)

    def calls(self) -> Iterator[tuple[Entry, int, Sequence[Reference]]]:
        """Every call, after all those whose results it takes in. A call that waits for itself is left out."""
        waiting = {(name, number): set(node) for name, nodes in self.nodes.items() for number, node in enumerate(nodes)}
        users: dict[tuple[str, int], list[tuple[str, int]]] = {}
        open_inputs = {}
        for call, node in waiting.items():
            needed = {reference[:2] for reference in node if reference[:2] in waiting}
            open_inputs[call] = len(needed)
            for one in needed:
                users.setdefault(one, []).append(call)
        ready = [call for call, count in open_inputs.items() if not count]
        for call in ready:
            name, number = call
            yield self.layers[name], number, self.nodes[name][number]
            for user in users.get(call, ()):
                open_inputs[user] -= 1
                if not open_inputs[user]:
                    ready.append(user)


def _references(value: object, shapes: dict[Reference, Sequence[int | None]], depth: int = 0) -> Iterator[Reference]:
    """The tensors that a node takes in: ``[layer, call, output]`` of Keras 2, ``keras_history`` of Keras 3."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, Mapping):
        config = value.get("config")
        if value.get("class_name") == "__keras_tensor__" and isinstance(config, Mapping):
            found = list(_references(config.get("keras_history"), shapes, depth + 1))
            if found and _is_shape(config.get("shape")):
                shapes[found[0]] = config["shape"]
            yield from found
            return
        for inner in value.values():
            yield from _references(inner, shapes, depth + 1)
    else:
        items = _items(value)
        if len(items) >= 3 and isinstance(items[0], str) and all(isinstance(item, int) for item in items[1:3]):
            yield items[0], items[1], items[2]
            items = items[3:]
        for inner in items:
            yield from _references(inner, shapes, depth + 1)


def _sized(activation: Activation, shape: Sequence[int | None] | None) -> Activation:
    """The activation with the sizes that the config states and the walk did not find."""
    if isinstance(activation, Lost) or shape is None or len(shape) != len(activation) + 1:
        return activation
    return _with_sizes(activation, shape[1:])


def _stated(made: Activation, taken: Sequence[Activation], shape: Sequence[int | None] | None) -> Activation:
    """What comes out of a class that is not known, where its stated shape tells that nothing was flattened: the shape
    of what went in, or as many features as that had channels."""
    known = [one for one in taken if not isinstance(one, Lost)]
    if not isinstance(made, Lost) or not shape or None in shape[1:] or len(known) != 1:
        return made
    (one,) = known
    channels = [axis for axis in one if axis.role == CHANNELS and axis.size == shape[-1]]
    if [axis.size for axis in one] == list(shape[1:]):
        return one
    return (replace(channels[0], role=PLAIN),) if channels and len(shape) == 2 else made


def _with_sizes(axes: Axes, shape: Sequence[int | None]) -> Axes:
    return tuple(a if a.size is not None else replace(a, size=size) for a, size in zip(axes, shape, strict=True))


def _batch_shape(entry: Entry) -> Sequence[int | None] | None:
    """The shape of an input layer, or of the input that a layer of Keras 2 states itself; with the batch."""
    for key in ("batch_shape", "batch_input_shape", "build_input_shape"):
        if _is_shape(entry.config.get(key)):
            return _items(entry.config[key])
    return None


def _is_shape(value: object) -> bool:
    return bool(_items(value)) and all(size is None or isinstance(size, int) for size in _items(value))


def _items(value: object) -> Sequence[Any]:
    """The items of a list; none of anything else."""
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()

"""How the layers of a Functional model are connected, in Keras 3's form and order.

Keras 1 and 2 list each layer's calls as ``[[name, call, output, arguments], ...]``, Keras 3 as the arguments of the
call, with tensors that say where they come from. Keras numbers a file's weights by the order that it gives the layers
when it builds the model again, so that order is worked out here as ``map_graph`` in keras/src/ops/function.py does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import RefusedError
from ..frameworks._keras_config import layer_name
from ._layers import plain
from ._values import JSON

_CONSTANT = "_CONSTANT_VALUE"
_STATES_BESIDE = {"LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"}
Tensor = tuple[str, int, int]
"""A layer's name, the number of the call, the number of the output."""


@dataclass(frozen=True)
class Numbering:
    """From which number each layer's calls are counted: in the calls of others, and in the model's outputs."""

    in_calls: Mapping[str, int]
    in_outputs: Mapping[str, int]


def numbering(config: Mapping[str, Any], major: int) -> Numbering:
    """How the calls of the models inside a model are counted.

    Keras 2 counts them from one where the model inside has an input layer, and so their own numbers show it; Keras 3
    does in the outputs only."""
    layers = config["layers"]
    names = [layer["name"] for layer in layers if is_model(layer)]
    if major >= 3:
        return Numbering({}, {layer["name"]: 1 for layer in layers if is_functional(layer)})
    found = [*_references([layer.get("inbound_nodes") for layer in layers]), *_references(config["output_layers"])]
    calls = {name: {call for other, call, _ in found if other == name} for name in names}
    first = {name: 0 if not numbers or 0 in numbers else 1 for name, numbers in calls.items()}
    return Numbering(first, first)


def calls_of(layer: Mapping[str, Any], first: Mapping[str, int]) -> list[JSON]:
    """The layer's calls as Keras 3 writes them; ``first`` is from which number those of others are counted.

    Raises RefusedError for a call that it cannot say."""
    nodes = layer.get("inbound_nodes") or []
    if not isinstance(nodes, list):
        raise RefusedError("", ["its calls are no list"])
    return [node if _is_new(node) else _call(layer, node, first) for node in nodes]


def _is_new(node: Any) -> bool:
    return isinstance(node, Mapping) and set(node) == {"args", "kwargs"}


def _call(layer: Mapping[str, Any], node: Any, first: Mapping[str, int]) -> JSON:
    keywords = {key: _keyword(value, first) for key, value in _keywords(node).items() if value is not None}
    if isinstance(node, Mapping):
        return {"args": [{key: _input(item, first) for key, item in node.items()}], "kwargs": keywords}
    single = is_tensor(node)
    inputs = [_input(item, first) for item in ([node] if single else node)]
    if layer.get("class_name") in _STATES_BESIDE and len(inputs) > 1:
        return {"args": inputs[:1], "kwargs": {**keywords, "initial_state": inputs[1:]}}
    return {"args": inputs if len(inputs) == 1 else [inputs], "kwargs": keywords}


def _keywords(node: Any) -> Mapping[str, Any]:
    """The arguments by keyword, which stand in each of the inputs."""
    items = [node] if is_tensor(node) else list(node.values()) if isinstance(node, Mapping) else node
    first = items[0] if isinstance(items, list) and items else None
    if first is None or not is_tensor(first):
        raise RefusedError("", ["a call of it has inputs in an unknown form"])
    return first[3] if len(first) > 3 and isinstance(first[3], Mapping) else {}


def _input(item: Any, first: Mapping[str, int]) -> JSON:
    if not is_tensor(item):
        raise RefusedError("", ["a call of it has inputs in an unknown form"])
    if item[0] == _CONSTANT:
        raise RefusedError("", ["it is called on a constant, not on what a layer gives"])
    return keras_tensor(_tensor(item, first))


def _keyword(value: Any, first: Mapping[str, int]) -> Any:
    if is_tensor(value):
        return _input(value, first)
    if isinstance(value, list):
        return [_keyword(item, first) for item in value]
    return plain(value)


def is_tensor(value: Any) -> bool:
    """Whether it is ``[name, call, output]`` or ``[name, call, output, arguments]``."""
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and all(isinstance(number, int) for number in value[1:2])
        and (value[0] == _CONSTANT or isinstance(value[2], int))
    )


def keras_tensor(tensor: Tensor) -> JSON:
    """A tensor in a call. Keras reads where it comes from, and takes its shape from there."""
    config = {"shape": [None], "dtype": "float32", "keras_history": list(tensor)}
    return {"class_name": "__keras_tensor__", "config": config}


def _tensor(value: Sequence[Any], first: Mapping[str, int]) -> Tensor:
    name, call, output = value[:3]
    return layer_name(name), call - first.get(name, 0), output


def ends(value: Any, first: Mapping[str, int]) -> Any:
    """A model's inputs or outputs, calls counted from nought. A list of one means the one, as in Keras 1 and 2."""
    if is_tensor(value):
        return list(_tensor(value, first))
    if isinstance(value, Mapping):
        return {key: ends(item, first) for key, item in value.items()}
    if not isinstance(value, list):
        raise RefusedError("", ["the model's inputs and outputs are in an unknown form"])
    found = [ends(item, first) for item in value]
    return found[0] if len(found) == 1 else found


def as_outputs(value: Any, functional: Collection[str]) -> Any:
    """The same as Keras 3 reads the outputs: calls of Functional models are counted from one there."""
    if is_tensor(value):
        name, call, output = value
        return [name, call + (name in functional), output]
    if isinstance(value, Mapping):
        return {key: as_outputs(item, functional) for key, item in value.items()}
    return [as_outputs(item, functional) for item in value]


def in_keras_3_order(layers: Sequence[JSON], outputs: Any) -> list[JSON]:
    """The layers as Keras 3 orders them when it builds the model: by their depth from the outputs, the deepest first,
    and where that is the same, as a walk back from the outputs meets them."""
    by_name = {layer["name"]: layer for layer in layers}
    walk = _Walk({name: [list(tensors_of(call)) for call in layer["inbound_nodes"]] for name, layer in by_name.items()})
    for name, call, _ in tensors_of(outputs):
        walk.visit(name, call)
    depths = walk.depths()
    unused = [name for name in by_name if name not in depths]
    lost = [f"{name}: nothing that the model gives comes from it" for name in unused if by_name[name]["inbound_nodes"]]
    if lost:
        raise RefusedError("", lost)
    order = {name: (-depths[name], walk.met[name]) for name in depths} | dict.fromkeys(unused, (0, -1))
    return [by_name[name] for name in sorted(order, key=order.__getitem__)]


class _Walk:
    """A depth-first walk from the outputs back to the inputs over the calls, each a layer's name and a number."""

    def __init__(self, calls: Mapping[str, Sequence[Sequence[Tensor]]]) -> None:
        self._calls = calls
        self.met: dict[str, int] = {}
        self._finished: dict[tuple[str, int], None] = {}

    def visit(self, name: str, call: int) -> None:
        """Visit a call and all that lead to it, without recursion: models are deeper than Python's stack."""
        stack = {(name, call): iter(self._enter(name, call))}
        while stack:
            node = next(reversed(stack))
            tensor = next(stack[node], None)
            if tensor is None:
                self._finished[node] = None
                del stack[node]
            elif tensor[:2] in stack:
                raise RefusedError("", [f"{tensor[0]}: the layers are connected in a circle"])
            elif tensor[:2] not in self._finished:
                stack[tensor[:2]] = iter(self._enter(*tensor[:2]))

    def depths(self) -> dict[str, int]:
        """How many calls lie between each layer and the outputs, at most."""
        depths: dict[str, int] = {}
        calls: dict[tuple[str, int], int] = {}
        for node in reversed(self._finished):
            depth = calls[node] = depths[node[0]] = max(calls.get(node, 0), depths.get(node[0], 0))
            for before in self._before(*node):
                calls[before[:2]] = max(depth + 1, calls.get(before[:2], 0))
        return depths

    def _enter(self, name: str, call: int) -> Sequence[Tensor]:
        self.met.setdefault(name, len(self.met))
        return self._before(name, call)

    def _before(self, name: str, call: int) -> Sequence[Tensor]:
        calls = self._calls.get(name)
        if calls is None or (calls and not 0 <= call < len(calls)):
            raise RefusedError("", [f"{name}: the model is connected to call {call} of it, which it does not have"])
        return calls[call] if calls else ()


def tensors_of(value: Any) -> Iterator[Tensor]:
    """The tensors of a call, or of a model's ends, in the order in which Keras flattens them."""
    if isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__":
        name, call, output = value["config"]["keras_history"]
        yield name, call, output
    elif is_tensor(value):
        yield value[0], value[1], value[2]
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield from tensors_of(value[key])
    elif isinstance(value, list):
        for item in value:
            yield from tensors_of(item)


def _references(value: Any) -> Iterator[tuple[str, int, int]]:
    """Every ``[name, call, output]`` in a value of any form."""
    if is_tensor(value) and value[0] != _CONSTANT:
        yield value[0], value[1], value[2]
        yield from _references(value[3] if len(value) > 3 else None)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield from _references(value[key])


def is_model(layer: Mapping[str, Any]) -> bool:
    """Whether a layer of a config is a model."""
    config = layer.get("config")
    return isinstance(config, list) or (isinstance(config, Mapping) and isinstance(config.get("layers"), list))


def is_functional(layer: Mapping[str, Any]) -> bool:
    """Whether a layer of a config is a model with calls of its own, not a sequence."""
    return is_model(layer) and layer.get("class_name") != "Sequential"

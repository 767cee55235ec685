"""An ONNX graph as something to ask: which tensor is behind an input, and who uses a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..checkpoint import Contents, Tensor

# Operators that hand their first input on in another form: what a weight may go through on its way to a layer.
_PASSING = frozenset(
    {
        *("Identity", "Transpose", "Cast", "CastLike", "DequantizeLinear", "QuantizeLinear", "Reshape", "Flatten"),
        *("Squeeze", "Unsqueeze", "Slice", "Concat", "Expand", "Tile", "Split"),
    }
)
_MAX_PATH = 16


@dataclass(frozen=True)
class Node:
    """One node, with attributes that are asked for by the type that they must have."""

    index: int
    op: str
    domain: str
    name: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, Any] = field(repr=False)

    @property
    def label(self) -> str:
        """The node as messages call it."""
        return f"{self.op} {self.name!r}" if self.name else f"{self.op} (node {self.index})"

    def input(self, index: int) -> str:
        """The name of an input; empty where the node does not have it."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def integer(self, name: str, default: int) -> int:
        value = self.attributes.get(name, default)
        return value if isinstance(value, int) else default

    def number(self, name: str, default: float) -> float:
        value = self.attributes.get(name, default)
        return float(value) if isinstance(value, int | float) else default

    def text(self, name: str, default: str) -> str:
        value = self.attributes.get(name, default)
        return value if isinstance(value, str) else default

    def integers(self, name: str) -> tuple[int, ...]:
        return tuple(value for value in self._list(name) if isinstance(value, int))

    def numbers(self, name: str) -> tuple[float, ...]:
        return tuple(float(value) for value in self._list(name) if isinstance(value, int | float))

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(value for value in self._list(name) if isinstance(value, str))

    def _list(self, name: str) -> list[Any]:
        value = self.attributes.get(name, [])
        return value if isinstance(value, list) else []


@dataclass(frozen=True)
class Weight:
    """A tensor that a node uses as it is, or as its transpose."""

    tensor: str
    transposed: bool = False


class Graph:
    """The main graph of a model. ``reasons`` collects why tensors are in no layer, ``skipped`` what is no weight."""

    def __init__(self, contents: Contents) -> None:
        description = contents.description
        self.tensors: Mapping[str, Tensor] = contents.tensors
        self.aliases: Mapping[str, str] = description.get("aliases", {})
        self.opset: int = description.get("opsets", {}).get("", 1)
        self.nested: Mapping[str, str] = description.get("nested", {})
        self.outputs = frozenset(value["name"] for value in description.get("outputs", ()))
        self.nodes = tuple(_node(index, node) for index, node in enumerate(description.get("nodes", ())))
        self.reasons: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self._producers = {value: node for node in self.nodes for value in node.outputs if value}
        self._users: dict[str, list[tuple[Node, int]]] = {}
        for node in self.nodes:
            for index, value in enumerate(node.inputs):
                self._users.setdefault(value, []).append((node, index))
            for value in _used_inside(node):
                self._users.setdefault(value, []).append((node, -1))

    def users(self, value: str) -> Sequence[tuple[Node, int]]:
        """The nodes that use a value, each with the index of its input; -1 where a graph inside the node uses it."""
        return self._users.get(value, ())

    def producer(self, value: str) -> Node | None:
        """The node that makes a value, None for an input and a tensor of the file."""
        return self._producers.get(value)

    def shape(self, tensor: str) -> tuple[int, ...]:
        """The shape of a tensor of the file."""
        return self.tensors[tensor].shape

    def weight(self, node: Node, index: int) -> Weight | None:
        """The tensor behind an input of a node, or None. A tensor that does not reach it as it is gets its reason."""
        name, path = self.origin(node.input(index))
        if name is None:
            return None
        changes = [step for step in path if step.op != "Identity"]
        if all(step.op == "Transpose" and step.integers("perm") in ((), (1, 0)) for step in changes):
            return Weight(name, transposed=len(changes) % 2 == 1)
        self.reasons.setdefault(name, f"it passes through {changes[0].label} on its way to {node.label}")
        return None

    def straight(self, node: Node, index: int) -> str | None:
        """The tensor behind an input of a node that cannot use a transpose, or None."""
        weight = self.weight(node, index)
        if weight is None or not weight.transposed:
            return weight.tensor if weight else None
        self.reasons.setdefault(weight.tensor, f"it is transposed on its way to {node.label}")
        return None

    def origin(self, value: str) -> tuple[str | None, Sequence[Node]]:
        """The tensor that a value is made of, if it is one tensor in another form, and the nodes that it goes through,
        the last of them first."""
        path: list[Node] = []
        while value not in self.tensors or value in self.nested:
            node = self._producers.get(value)
            if node is None or node.op not in _PASSING or len(path) == _MAX_PATH:
                return None, path
            path.append(node)
            value = node.input(0)
        return value, path

    def is_zero(self, tensor: str) -> bool:
        """Whether every value of a tensor is zero."""
        values = self.tensors[tensor].read()
        return not np.any(values != values.dtype.type(0))


def _node(index: int, node: Mapping[str, Any]) -> Node:
    return Node(index, node["op"], node["domain"], node["name"], node["inputs"], node["outputs"], node["attributes"])


def _used_inside(node: Node) -> set[str]:
    graphs = [value for value in node.attributes.values() if isinstance(value, dict)]
    return {name for graph in graphs for name in graph.get("uses", ())}

"""Tensors of sizes in an ONNX graph: what a graph computes to reshape, as far as it is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from ._feature_flow import Activation, Lost
from ._onnx_graph import Graph, Node

Sizes: TypeAlias = list[int | None]
"""The numbers of a tensor of sizes; None for one that is only known when the model runs."""
_MAX_DEPTH = 32
_MAX_SIZES = 64
_ARITHMETIC: Mapping[str, Callable[[int, int], int]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Mod": lambda a, b: a % b if b else 0,
    "Div": lambda a, b: a // b if b else 0,
}


def sizes_of(graph: Graph, values: Mapping[str, Activation], name: str, depth: int = 0) -> Sizes | None:
    """The sizes behind a value of the graph, None where it is no tensor of sizes. ``values`` are the activations."""
    if name in graph.tensors and name not in graph.nested:
        tensor = graph.tensors[name]
        is_small = tensor.dtype.kind in "iu" and len(tensor.shape) < 2 and sum(tensor.shape) <= _MAX_SIZES
        return [int(size) for size in tensor.read().reshape(-1)] if is_small else None
    node = graph.producer(name)
    if node is None or depth > _MAX_DEPTH:
        return None
    if node.op == "Shape":
        found = values.get(node.input(0), Lost())
        return None if isinstance(found, Lost) else [axis.size for axis in found]
    inputs = [sizes_of(graph, values, one, depth + 1) for one in node.inputs if one]
    known = [one for one in inputs if one is not None]
    return _computed(node, known) if known and len(known) == len(inputs) else None


def _computed(node: Node, inputs: list[Sizes]) -> Sizes | None:
    if node.op == "Concat":
        return [size for one in inputs for size in one]
    if node.op in ("Unsqueeze", "Squeeze", "Cast", "Identity", "Reshape"):
        return inputs[0]
    if node.op == "Gather" and len(inputs) == 2:
        return [
            inputs[0][at] if at is not None and -len(inputs[0]) <= at < len(inputs[0]) else None for at in inputs[1]
        ]
    if node.op == "Slice" and len(inputs) >= 3:
        return _sliced(inputs[0], inputs[1], inputs[2], inputs[4] if len(inputs) > 4 else [1])
    if node.op in _ARITHMETIC and len(inputs) == 2:
        one, other = inputs
        pairs = zip(one, other * len(one) if len(other) == 1 else other, strict=False)
        return [None if a is None or b is None else _ARITHMETIC[node.op](a, b) for a, b in pairs]
    return None


def _sliced(sizes: Sizes, starts: Sizes, ends: Sizes, steps: Sizes) -> Sizes | None:
    if len(starts) != 1 or len(ends) != 1 or None in (*starts, *ends) or steps != [1]:
        return None
    return sizes[starts[0] : ends[0]]

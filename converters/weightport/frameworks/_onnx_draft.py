"""A layer of an ONNX graph before it has a name, and what the readers of its operators share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..checkpoint import Setting
from ._onnx_graph import Graph, Node


@dataclass(frozen=True)
class Draft:
    """A layer without a name yet. ``tensors`` maps the operator's input names to tensors. ``output`` is the value that
    the layer gives out, where another node than its own makes it (the Add of a bias)."""

    node: Node
    kind: str
    tensors: Mapping[str, str]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    storage: Mapping[str, Setting] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    layout: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    output: str = ""


def tensors(
    node: Node, graph: Graph, needed: Mapping[str, int], optional: Mapping[str, int] | None = None
) -> dict[str, str] | None:
    """The tensors behind a node's inputs; None, with the reason at each, where one of them is no tensor as it is."""
    inputs = {**needed, **{name: index for name, index in (optional or {}).items() if node.input(index)}}
    found = {name: graph.straight(node, index) for name, index in inputs.items()}
    missing = [name for name, tensor in found.items() if tensor is None]
    if missing:
        refuse(node, graph, tuple(inputs.values()), f"has no tensor of the file as its {missing[0]}")
        return None
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def refuse(node: Node, graph: Graph, inputs: Sequence[int], reason: str) -> None:
    """Say of the tensors behind these inputs why they are in no layer."""
    for index in inputs:
        name, _ = graph.origin(node.input(index))
        if name is not None:
            graph.reasons.setdefault(name, f"{node.label} {reason}")

"""An ONNX graph as plain data: what its nodes are, without the values of its tensors.

The description of a model is::

    {"ir_version": 8, "opsets": {"": 17}, "inputs": [value ...], "outputs": [value ...], "nodes": [node ...],
     "aliases": {name: the name that it stands for}, "nested": {a tensor that is not in the main graph: what it is}}

    value = {"name": "x", "dtype": 1, "shape": [3, "batch", None]}
    node  = {"op": "LSTM", "domain": "", "name": "lstm", "inputs": [...], "outputs": [...], "attributes": {...}}

An attribute is a number, a text, or a list of them; ``{"tensor": name}`` for the value of a Constant node, and
``{"uses": [names]}`` for a graph, with what it takes from the graphs around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ._onnx_directory import Directory

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, ValueInfoProto


def describe(model: ModelProto, directory: Directory) -> dict[str, Any]:
    """The description of a model, from its skeleton."""
    return {
        "ir_version": model.ir_version,
        "opsets": {opset.domain: opset.version for opset in model.opset_import},
        "inputs": [_value(value) for value in model.graph.input],
        "outputs": [_value(value) for value in model.graph.output],
        "nodes": [_node(node) for node in model.graph.node],
        "aliases": dict(directory.aliases),
        "nested": dict(directory.nested),
    }


def _value(value: ValueInfoProto) -> dict[str, Any]:
    tensor = value.type.tensor_type
    shape = [
        dimension.dim_value if dimension.HasField("dim_value") else dimension.dim_param or None
        for dimension in tensor.shape.dim
    ]
    return {"name": value.name, "dtype": tensor.elem_type, "shape": shape}


def _node(node: NodeProto) -> dict[str, Any]:
    return {
        "op": node.op_type,
        "domain": "" if node.domain == "ai.onnx" else node.domain,
        "name": node.name,
        "inputs": list(node.input),
        "outputs": list(node.output),
        "attributes": {attribute.name: _attribute(attribute, node) for attribute in node.attribute},
    }


def _attribute(attribute: AttributeProto, node: NodeProto) -> Any:
    if attribute.type == _TENSOR:
        named = node.op_type == "Constant" and attribute.name == "value" and node.output
        return {"tensor": node.output[0] if named else None}
    read = _READERS.get(attribute.type)
    return read(attribute) if read else {"type": int(attribute.type)}


def _shortest(number: float) -> float:
    """A float32 as the decimal that was meant: 0.001, not 0.0010000000474974513."""
    return float(str(np.float32(number)))


def _text(text: bytes) -> str:
    return text.decode(errors="replace")


def _taken(graphs: Iterable[GraphProto]) -> set[str]:
    """The names that graphs use and do not make themselves."""
    used: set[str] = set()
    for graph in graphs:
        made = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        inner = {output.name for output in graph.output}
        for node in graph.node:
            made.update(node.output)
            inner.update(node.input)
            inner |= _taken([a.g for a in node.attribute if a.HasField("g")])
            inner |= {name for a in node.attribute for name in _taken(a.graphs)}
        used |= inner - made - {""}
    return used


# AttributeProto.AttributeType -> how the value is read.
_TENSOR = 4
_READERS: Mapping[int, Callable[[AttributeProto], Any]] = {
    1: lambda attribute: _shortest(attribute.f),
    2: lambda attribute: attribute.i,
    3: lambda attribute: _text(attribute.s),
    5: lambda attribute: {"uses": sorted(_taken([attribute.g]))},
    6: lambda attribute: [_shortest(number) for number in attribute.floats],
    7: lambda attribute: list(attribute.ints),
    8: lambda attribute: [_text(text) for text in attribute.strings],
    10: lambda attribute: {"uses": sorted(_taken(attribute.graphs))},
}

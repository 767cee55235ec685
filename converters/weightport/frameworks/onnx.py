"""ONNX: layers from the nodes of a graph, and the tensors that their inputs lead back to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..checkpoint import Contents, FeatureMap, Layer, Output, Structure
from ..formats import onnx as model_file
from ._onnx_draft import Draft
from ._onnx_flow import flattened_axes
from ._onnx_graph import Graph
from ._onnx_layers import drafts
from ._onnx_names import layer_names

if TYPE_CHECKING:
    from ..graph.building import Reader, Writer

NAME = "onnx"
NAMES_FROM_SOURCE = False
CHOICES: tuple[str, ...] = ("opset",)

# Inputs that say how, not with what weights: (operator, index of the input).
_SCALES = {("Resize", 1), ("Resize", 2), ("Upsample", 1), ("Pad", 2), ("Clip", 1), ("Clip", 2)}


def structure(contents: Contents) -> Structure:
    """The layers of the main graph, in its nodes' order.

    Nodes that use the same tensors in the same way are one layer, as a module that is called twice. A tensor that two
    layers use in different ways (a tied embedding) belongs to both."""
    graph = Graph(contents)
    found = list(_merged(drafts(graph)))
    maps = flattened_axes(graph, contents.description.get("inputs", ()))
    layers = tuple(_layer(draft, name, maps) for draft, name in zip(found, layer_names(found), strict=True))
    used = {name for layer in layers for name in layer.tensors.values()}
    left = [name for name in contents.tensors if name not in used]
    skipped = {name: reason for name in left if (reason := _no_weight(name, graph))}
    unknown = {name: _reason(name, graph) for name in left if name not in skipped}
    return Structure(layers, skipped, unknown)


def layer_nodes(contents: Contents) -> dict[str, Draft]:
    """Each layer's name with its node, or the first of several nodes that use the same tensors in the same way."""
    found = list(_merged(drafts(Graph(contents))))
    return dict(zip(layer_names(found), found, strict=True))


def tensor_name(layer: str, tensor: str) -> str:
    """Not used: an ONNX file cannot be made from another's layer names."""
    return f"{layer}.{tensor}"


def owns(model: object) -> bool:
    """Whether the model is an ``onnx.ModelProto``."""
    return type(model).__name__ == "ModelProto" and type(model).__module__.partition(".")[0] == "onnx"


def read_live(model: Any) -> Contents:
    """The tensors of a ModelProto, which is a file in memory."""
    return model_file.read_model(model)


def write_live(model: Any, tensors: Sequence[Output]) -> None:
    """Put the tensors into the ModelProto, in place."""
    model_file.write_model(model, tensors)


def graph_reader() -> Reader | None:
    """Nothing reads ONNX graphs as models yet."""
    return None


def graph_writer() -> Writer | None:
    """An ONNX file is a graph."""
    from ..graph.onnx_emitter import write

    return write


def _merged(all_drafts: Iterable[Draft]) -> Iterator[Draft]:
    """The drafts, with those that differ in nothing but their node put together."""
    groups: dict[object, list[Draft]] = {}
    for draft in all_drafts:
        key = (draft.kind, *(tuple(sorted(part.items())) for part in (draft.tensors, draft.settings, draft.storage)))
        groups.setdefault(key, []).append(draft)
    for same in groups.values():
        first = same[0]
        notes = first.notes if len(same) == 1 else (*first.notes, f"used by {len(same)} nodes")
        yield replace(first, notes=notes)


def _layer(draft: Draft, name: str, maps: Mapping[str, Mapping[str, FeatureMap | str]]) -> Layer:
    weight = next(iter(draft.tensors.values()))
    layer = Layer(
        name, (draft.kind,), draft.tensors, draft.settings, draft.storage, draft.notes, draft.layout, draft.sizes
    )
    return replace(layer, flattened=maps.get(weight))


def _no_weight(name: str, graph: Graph) -> str | None:
    """What a tensor is that is no weight, or None."""
    if name in graph.skipped:
        return graph.skipped[name]
    if name not in graph.reasons and _is_constant(name, graph):
        return "constant of the graph"
    users = graph.users(name)
    if name in graph.nested or name in graph.outputs or name in graph.reasons:
        return None
    if not users:
        return "no node uses it"
    other_names = [node.outputs[0] for node, _ in users if node.outputs and graph.aliases.get(node.outputs[0])]
    return f"goes on as {', '.join(other_names)}" if len(other_names) == len(users) else None


def _is_constant(name: str, graph: Graph) -> bool:
    """Whether a tensor is a matter of shapes and numbers in formulas: axes, sizes, a single number."""
    tensor = graph.tensors[name]
    users = graph.users(name)
    if len(tensor.shape) > 1:
        return False
    if tensor.dtype.name in ("int64", "bool") or not tensor.shape:
        return True
    if tensor.dtype.name == "int32":
        return not any("Quantize" in node.op or "Integer" in node.op or "QLinear" in node.op for node, _ in users)
    return bool(users) and all((node.op, index) in _SCALES for node, index in users)


def _reason(name: str, graph: Graph) -> str:
    """Why a weight is in no layer."""
    if name in graph.reasons:
        return graph.reasons[name]
    if name in graph.nested:
        return graph.nested[name]
    users = [node.label for node, _ in graph.users(name)]
    return f"no kind covers {users[0]}, which uses it" if users else "it is an output of the graph"

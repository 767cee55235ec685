"""The normalisation operators of ONNX, of every opset. Source: onnx/docs/Changelog.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..checkpoint import Setting
from ._onnx_draft import Draft, refuse
from ._onnx_draft import tensors as tensors_of
from ._onnx_graph import Graph, Node

# From this opset on GroupNormalization has a scale and a bias for each channel, before it for each group.
_BY_CHANNEL = 21


def _batch_norm(node: Node, graph: Graph) -> Draft | None:
    """Until opset 8 there was a form without ``spatial``, with a scale for every place of every channel."""
    if not node.integer("spatial", 1):
        refuse(node, graph, (1, 2, 3, 4), "has one for every place (spatial = 0)")
        return None
    tensors = tensors_of(node, graph, {"scale": 1, "B": 2, "input_mean": 3, "input_var": 4})
    if tensors is None:
        return None
    settings: dict[str, Setting] = {"epsilon": node.number("epsilon", 1e-5), "momentum": node.number("momentum", 0.9)}
    notes = ("training_mode = 1: it normalizes by the batch",) if node.integer("training_mode", 0) else ()
    return Draft(node, "batch_norm", tensors, settings, notes=notes)


def _layer_norm(node: Node, graph: Graph) -> Draft | None:
    tensors = tensors_of(node, graph, {"Scale": 1}, {"B": 2})
    if tensors is None:
        return None
    axis = node.integer("axis", -1)
    notes = () if axis == -len(graph.shape(tensors["Scale"])) else (f"axis = {axis}: it normalizes from there on",)
    return Draft(node, "layer_norm", tensors, {"epsilon": node.number("epsilon", 1e-5)}, notes=notes)


def _rms_norm(node: Node, graph: Graph) -> Draft | None:
    tensors = tensors_of(node, graph, {"scale": 1})
    if tensors is None:
        return None
    axis = node.integer("axis", -1)
    notes = () if axis == -len(graph.shape(tensors["scale"])) else (f"axis = {axis}: it normalizes from there on",)
    return Draft(node, "rms_norm", tensors, {"epsilon": node.number("epsilon", 1e-5)}, notes=notes)


def _group_norm(node: Node, graph: Graph) -> Draft | None:
    tensors = tensors_of(node, graph, {"scale": 1, "bias": 2})
    if tensors is None:
        return None
    settings: dict[str, Setting] = {
        "groups": node.integer("num_groups", 1),
        "epsilon": node.number("epsilon", 1e-5),
    }
    layout = "" if graph.opset >= _BY_CHANNEL else "onnx.group_norm_18"
    return Draft(node, "group_norm", tensors, settings, layout=layout)


def _instance_norm(node: Node, graph: Graph) -> Draft | None:
    """An instance norm; or the group norm that exporters write as one over reshaped groups, with a scale and a bias of
    their own after it (torch/onnx/_internal/torchscript_exporter/symbolic_opset9.py, group_norm)."""
    tensors = tensors_of(node, graph, {"scale": 1, "B": 2})
    if tensors is None:
        return None
    groups = graph.shape(tensors["scale"])[:1]
    settings: dict[str, Setting] = {"groups": (*groups, 1)[0], "epsilon": node.number("epsilon", 1e-5)}
    after = _scale_and_bias_after(node, graph)
    if after is None or not _changes_nothing(tensors, graph):
        return Draft(node, "group_norm", tensors, settings, layout="onnx.instance_norm")
    graph.skipped |= dict.fromkeys(tensors.values(), f"one and zero inside {node.label}, which change nothing")
    space = len(graph.shape(after["scale"])) - 1
    return Draft(node, "group_norm", after, settings, {"space": space}, layout="onnx.group_norm_after")


def _changes_nothing(tensors: Mapping[str, str], graph: Graph) -> bool:
    """Whether the scale is one and the bias zero everywhere."""
    return bool(np.all(graph.tensors[tensors["scale"]].read() == 1)) and graph.is_zero(tensors["B"])


def _scale_and_bias_after(node: Node, graph: Graph) -> dict[str, str] | None:
    """The tensors that the next nodes multiply by and add: Reshape, Mul, Add."""
    reshape = _only_user(node, graph, "Reshape")
    multiply = _only_user(reshape, graph, "Mul") if reshape else None
    add = _only_user(multiply, graph, "Add") if multiply else None
    if multiply is None or add is None:
        return None
    found = {"scale": _constant_factor(multiply, graph), "bias": _constant_factor(add, graph)}
    tensors = {role: name for role, name in found.items() if name is not None}
    shapes = {graph.shape(name) for name in tensors.values()}
    shape = next(iter(shapes), ())
    is_whole = len(tensors) == 2 and len(shapes) == 1
    return tensors if is_whole and len(shape) in (2, 3, 4) and set(shape[1:]) == {1} else None


def _only_user(node: Node, graph: Graph, operator: str) -> Node | None:
    users = graph.users(node.outputs[0]) if node.outputs else ()
    return users[0][0] if len(users) == 1 and users[0][0].op == operator else None


def _constant_factor(node: Node, graph: Graph) -> str | None:
    """The one input of a node that is a tensor of the file."""
    found = [name for value in node.inputs if (name := graph.origin(value)[0]) is not None]
    return found[0] if len(found) == 1 else None


NORMALIZATIONS: Mapping[str, Callable[[Node, Graph], Draft | None]] = {
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "RMSNormalization": _rms_norm,
}

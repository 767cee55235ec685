"""Multi-head attention in an ONNX graph: an Attention node, and the dense layers that feed it and that it feeds.

Source: onnx/docs/Operators.md, Attention (since opset 23).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ._onnx_draft import Draft
from ._onnx_graph import Graph, Node

_INPUTS = ("query", "key", "value")


def with_attention(found: Sequence[Draft], graph: Graph) -> Iterator[Draft]:
    """The drafts, where the four dense layers around an Attention node are put together at its place."""
    made = {value: draft for draft in found if draft.kind == "dense" and (value := _result(draft, graph))}
    fed = {draft.node.input(0): draft for draft in found if draft.kind == "dense"}
    whole = {}
    for node in graph.nodes:
        parts = _parts(node, graph, made, fed) if node.op == "Attention" and not node.domain else None
        if parts is not None:
            whole[node.index] = (parts, _draft(node, parts))
    inside = {id(part) for parts, _ in whole.values() for part in parts}
    left = [draft for draft in found if id(draft) not in inside]
    yield from sorted([*left, *(draft for _, draft in whole.values())], key=lambda draft: draft.node.index)


def _result(draft: Draft, graph: Graph) -> str:
    """The value that a dense layer makes, its bias added."""
    outputs = draft.node.outputs
    if outputs and "C" in draft.tensors and not draft.node.input(2):
        outputs = graph.users(outputs[0])[0][0].outputs
    return outputs[0] if outputs else ""  # a node of a damaged graph may have none


def _parts(node: Node, graph: Graph, made: dict[str, Draft], fed: dict[str, Draft]) -> tuple[Draft, ...] | None:
    """The dense layers of the queries, keys and values and of the result; None where one is missing, or where the
    node takes heads that are apart already."""
    has_heads = node.integer("q_num_heads", 0) > 0 and node.integer("kv_num_heads", 0) > 0
    value = node.outputs[0] if node.outputs else ""
    found = [*(made.get(node.input(index)) for index in range(3)), fed.get(value)]
    parts = tuple(draft for draft in found if draft is not None)
    is_whole = has_heads and len(parts) == 4 and len(graph.users(value)) == 1 and value not in graph.outputs
    return parts if is_whole and len({draft.storage["transB"] for draft in parts}) == 1 else None


def _draft(node: Node, parts: Sequence[Draft]) -> Draft:
    tensors = {
        f"{role}/{local}": name
        for role, draft in zip((*_INPUTS, "output"), parts, strict=True)
        for local, name in draft.tensors.items()
    }
    heads, key_heads = node.integer("q_num_heads", 1), node.integer("kv_num_heads", 1)
    return Draft(
        node,
        "multi_head_attention",
        tensors,
        {"zero_attention": False},
        {"transB": parts[0].storage["transB"]},
        tuple(_notes(node)),
        sizes={"head": key_heads, "repeat": heads // key_heads},
    )


def _notes(node: Node) -> Iterator[str]:
    if node.integer("is_causal", 0):
        yield "is_causal = 1: each place attends to those before it"
    for name in ("scale", "softcap"):
        if node.number(name, 0.0):
            yield f"{name} = {node.number(name, 0.0):g}"

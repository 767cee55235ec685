"""The mask of a concatenation, as Keras writes it down for a layer that takes one, said in short.

``Concatenate.compute_mask`` (keras/src/layers/merging/concatenate.py) spreads each mask over the features of its value,
puts these side by side as the values are, and asks of each step whether any is set. That is: whether any mask is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .operations import Graph, Operation


def shortened(graph: Graph) -> Graph:
    """The graph with such masks made of the masks alone. What made them before stays, for pruning to take."""
    makers = {value.name: one for one in graph.operations for value in one.outputs}
    same: dict[str, str] = {}
    kept: list[Operation] = []
    for one in graph.operations:
        masks = tuple(same.get(name, name) for name in _masks(one, makers))
        if len(masks) == 1:
            same[one.outputs[0].name] = masks[0]
        elif masks:
            kept.append(replace(one, kind="logical_or", inputs=masks, settings={}))
        else:
            kept.append(replace(one, inputs=tuple(same.get(name, name) for name in one.inputs)))
    results = tuple(replace(result, value=same.get(result.value, result.value)) for result in graph.results)
    return replace(graph, operations=tuple(kept), results=results)


def _masks(one: Operation, makers: Mapping[str, Operation]) -> tuple[str, ...]:
    """The masks that an operation asks for in this way, each once; none where it does anything else."""
    joined = makers.get(one.inputs[0]) if one.kind == "reduce" else None
    if joined is None or joined.kind != "concatenate" or one.settings["function"] != "any" or one.settings["keepdims"]:
        return ()
    last = joined.outputs[0].rank - 1
    if tuple(one.settings["axes"]) != (last,) or joined.settings["axis"] != last:
        return ()
    masks = [_spread(makers.get(name), last, makers) for name in joined.inputs]
    return tuple(dict.fromkeys(masks)) if all(masks) else ()


def _spread(one: Operation | None, last: int, makers: Mapping[str, Operation]) -> str:
    """The mask that is spread over the features by ``mask[..., None] | zeros_like(value)``; empty if it is none."""
    if one is None or one.kind != "logical_or":
        return ""
    sides = {side.kind: side for name in one.inputs if (side := makers.get(name))}
    if sides.keys() != {"expand", "fill"} or sides["fill"].settings["value"].any():
        return ""
    return sides["expand"].inputs[0] if tuple(sides["expand"].settings["axes"]) == (last,) else ""

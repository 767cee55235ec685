"""Attention."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from ..onnx_context import Context
from ..onnx_registry import emits
from ..operations import Operation

if TYPE_CHECKING:
    import onnx_ir as ir

_MASKED = 1e9
"""What Keras takes from the score of a masked place (keras/src/layers/attention/attention.py)."""
_EXCLUDED = float(np.finfo(np.float32).min) * 0.7
"""The score that Keras gives to a masked place of several heads (keras/src/backend/tensorflow/nn.py)."""


@emits("attention")
def attention(c: Context, operation: Operation) -> None:
    """Scores, masks, ``Softmax`` and the sum of the values."""
    query, value, key = (c.get(operation, index) for index in range(3))
    scores = _scores(c, operation, query, key)
    keep = None
    if c.has(operation, 4):
        keep = c.node("Unsqueeze", [c.get(operation, 4), c.whole([1])])
    if operation.settings["causal"]:
        causal = _causal(c, query, key)
        keep = causal if keep is None else c.node("And", [keep, causal])
    if keep is not None:
        scores = c.node("Where", [keep, scores, c.node("Sub", [scores, c.number(_MASKED)])])
    probabilities = c.node("Softmax", [scores], {"axis": -1})
    y = c.node("MatMul", [probabilities, value])
    if c.has(operation, 3):
        y = c.node("Where", [c.node("Unsqueeze", [c.get(operation, 3), c.whole([2])]), y, c.number(0.0)])
    c.put(operation, y)
    if operation.settings["return_scores"]:
        c.put(operation, probabilities, index=1)


def _scores(c: Context, operation: Operation, query: ir.Value, key: ir.Value) -> ir.Value:
    names = list(operation.weights)
    if operation.settings["score"] == "dot":
        scores = c.node("MatMul", [query, c.node("Transpose", [key], {"perm": [0, 2, 1]})])
        return c.node("Mul", [scores, _number(c, operation, names[0])]) if names else scores
    pairs = c.node("Add", [c.node("Unsqueeze", [query, c.whole([2])]), c.node("Unsqueeze", [key, c.whole([1])])])
    if operation.settings["score"] == "additive":
        y = c.node("Tanh", [pairs])
        if names:
            y = c.node("Mul", [y, c.weight(operation, c.turned(operation, names[0], (0,)), "scale")])
        return c.node("ReduceSum", [y, c.whole([3])], {"keepdims": 0})
    if len(names) == 2:
        pairs = c.node("Mul", [pairs, _number(c, operation, names[0])])
    summed = c.node("ReduceSum", [c.node("Tanh", [pairs]), c.whole([3])], {"keepdims": 0})
    return c.node("Mul", [summed, _number(c, operation, names[-1])])


def _number(c: Context, operation: Operation, local: str) -> ir.Value:
    return c.weight(operation, c.turned(operation, local, ()), f"scale_{local}" if local.isdigit() else local)


@emits("multi_head_attention")
def multi_head_attention(c: Context, operation: Operation) -> None:
    """Projections as ``MatMul``, heads as an axis of their own."""
    settings = operation.settings
    query, value, key = (c.get(operation, index) for index in range(3))
    heads = {part: _projected(c, operation, part, x) for part, x in (("query", query), ("key", key), ("value", value))}
    repeats = settings["heads"] // settings["key_heads"]
    if repeats > 1:
        heads |= {part: _repeated(c, operation, heads[part], part, repeats) for part in ("key", "value")}
    scaled = c.node("Mul", [_turned(c, heads["query"], (0, 2, 1, 3)), c.number(1 / sqrt(settings["key_dim"]))])
    scores = c.node("MatMul", [scaled, _turned(c, heads["key"], (0, 2, 3, 1))])
    keep = c.node("Unsqueeze", [c.get(operation, 3), c.whole([1])]) if c.has(operation, 3) else None
    if settings["causal"]:
        causal = _causal(c, query, key)
        keep = causal if keep is None else c.node("And", [keep, causal])
    if keep is not None:
        scores = c.node("Where", [keep, scores, c.number(_EXCLUDED)])
    probabilities = c.node("Softmax", [scores], {"axis": -1})
    if keep is not None and settings["zero_masked"]:
        probabilities = c.node("Where", [keep, probabilities, c.number(0.0)])
    mixed = _turned(c, c.node("MatMul", [probabilities, _turned(c, heads["value"], (0, 2, 1, 3))]), (0, 2, 1, 3))
    if settings["gated"]:
        gate = c.node("Sigmoid", [_projected(c, operation, "gate", query)])
        mixed = c.node("Mul", [mixed, gate])
    c.put(operation, _output(c, operation, mixed))
    if settings["return_scores"]:
        c.put(operation, probabilities, index=1)


def _projected(c: Context, operation: Operation, part: str, x: ir.Value) -> ir.Value:
    """``(batch, steps, heads, size)``: one matrix for all heads, then the heads apart."""
    width, heads, size = c.shape_of_weight(operation, f"{part}/kernel")
    kernel = c.turned(operation, f"{part}/kernel", (0, 1, 2), (width, heads * size))
    y = c.node("MatMul", [x, c.weight(operation, kernel, f"{part}.weight")])
    if f"{part}/bias" in operation.weights:
        bias = c.turned(operation, f"{part}/bias", (0, 1), (heads * size,))
        y = c.node("Add", [y, c.weight(operation, bias, f"{part}.bias")])
    return c.node("Reshape", [y, c.whole([0, 0, heads, size])])


def _repeated(c: Context, operation: Operation, value: ir.Value, part: str, repeats: int) -> ir.Value:
    """Every head as often as there are query heads that share it."""
    _, heads, size = c.shape_of_weight(operation, f"{part}/kernel")
    tiled = c.node("Tile", [c.node("Unsqueeze", [value, c.whole([3])]), c.whole([1, 1, 1, repeats, 1])])
    return c.node("Reshape", [tiled, c.whole([0, 0, heads * repeats, size])])


def _output(c: Context, operation: Operation, mixed: ir.Value) -> ir.Value:
    heads, size, *out = c.shape_of_weight(operation, "attention_output/kernel")
    kernel = c.turned(operation, "attention_output/kernel", range(2 + len(out)), (heads * size, *out))
    flat = c.node("Reshape", [mixed, c.whole([0, 0, heads * size])])
    y = c.node("MatMul", [flat, c.weight(operation, kernel, "output.weight")])
    if "attention_output/bias" in operation.weights:
        bias = c.turned(operation, "attention_output/bias", (0,))
        y = c.node("Add", [y, c.weight(operation, bias, "output.bias")])
    return y


def _turned(c: Context, value: ir.Value, perm: tuple[int, ...]) -> ir.Value:
    return c.node("Transpose", [value], {"perm": perm})


def _causal(c: Context, query: ir.Value, key: ir.Value) -> ir.Value:
    """Truth values ``(query steps, key steps)``: no step looks at a later one."""
    sizes = [c.node("Slice", [c.node("Shape", [one]), c.whole([1]), c.whole([2])]) for one in (query, key)]
    whole = c.node("Expand", [c.number(1.0), c.node("Concat", sizes, {"axis": 0})])
    return c.node("Cast", [c.node("Trilu", [whole], {"upper": 0})], {"to": int(c.dtype("bool"))})

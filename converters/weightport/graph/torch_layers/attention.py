"""Attention: of one head as an expression, of several as a module of the file's own."""

from __future__ import annotations

from ...checkpoint import Array, Output
from ...errors import RefusedError
from ..operations import Operation
from ..torch_code import Code, call
from ..torch_context import Context
from ..torch_registry import emits


@emits("attention")
def attention(c: Context, operation: Operation) -> None:
    """Scores by a product or by a sum, then values weighted by them."""
    settings = operation.settings
    query, value, key = (c.get(operation, index) for index in range(3))
    if settings["score"] == "additive":
        scale = [_scale(c, operation)] if operation.weights else []
        scores: Code = call(c.part("attention.additive_scores"), query, key, *scale)
    elif settings["score"] == "dot":
        scores = f"{query} @ {key}.mT"
        scores = f"{_scale(c, operation)} * ({scores})" if operation.weights else scores
    else:
        raise RefusedError(f"{operation.layer}: scores by {settings['score']} are not supported yet")
    masks = {
        name: c.get(operation, index)
        for index, name in ((3, "query_mask"), (4, "value_mask"))
        if c.has(operation, index)
    }
    variable, weights = c.target(operation), c.beside("weights")
    c.line(weights, scores)
    wanted = settings["return_scores"] and c.is_used(operation.outputs[1].name)
    causal = True if settings["causal"] else None
    attended = call(c.part("attention.attend"), weights, value, **masks, causal=causal)
    c.line(f"{variable}, {weights if wanted else '_'}", attended, c.shape_comment(operation, 0))
    c.hold(operation, variable)
    if settings["return_scores"]:
        c.hold(operation, weights, index=1)


def _scale(c: Context, operation: Operation) -> str:
    (local,) = operation.weights
    return c.parameter(operation, "scale", c.stored(operation, local))


@emits("multi_head_attention")
def multi_head_attention(c: Context, operation: Operation) -> None:
    """Projections of query, key and value for every head, and of what they attend to."""
    settings = operation.settings
    if settings["gated"]:
        raise RefusedError(f"{operation.layer}: gated attention is not supported yet")
    if settings["key_heads"] != settings["heads"]:
        raise RefusedError(f"{operation.layer}: attention of grouped queries is not supported yet; ONNX has it")
    weights: dict[str, Output] = {}
    names = {"query": "query", "key": "key", "value": "value", "attention_output": "output"}
    for old, new in names.items():
        turn = _output if new == "output" else _projection
        weights[f"{new}.weight"] = c.stored(operation, f"{old}/kernel", turn)
        if f"{old}/bias" in operation.weights:
            weights[f"{new}.bias"] = c.stored(operation, f"{old}/bias", lambda array: array.reshape(-1))
    sizes = tuple(weights[f"{part}.weight"].shape[1] for part in ("query", "key", "value"))
    heads = settings["heads"]
    made = call(
        c.part("attention.MultiHeadAttention"),
        heads,
        (*sizes, weights["output.weight"].shape[0]),
        weights["query.weight"].shape[0] // heads,
        weights["value.weight"].shape[0] // heads,
        bias=None if "query.bias" in weights else False,
    )
    layer = c.layer(operation, made, weights)
    mask = c.get(operation, 3) if c.has(operation, 3) else None
    given = [c.get(operation, index) for index in range(3)]
    scores = settings["return_scores"]
    variable, other = c.target(operation), c.beside("weights") if scores else "_"
    causal = True if settings["causal"] else None
    c.line(f"{variable}, {other}", call(layer, *given, mask=mask, causal=causal), c.shape_comment(operation, 0))
    c.hold(operation, variable)
    if scores:
        c.hold(operation, other, index=1)


def _projection(kernel: Array) -> Array:
    """From ``(in, heads, size)`` to ``(heads * size, in)``."""
    return kernel.reshape(kernel.shape[0], -1).T


def _output(kernel: Array) -> Array:
    """From ``(heads, size, out)`` to ``(out, heads * size)``."""
    return kernel.reshape(-1, kernel.shape[-1]).T

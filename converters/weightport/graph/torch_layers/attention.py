"""Attention: of one head as an expression, of several as a module of the file's own."""

from __future__ import annotations

from ...checkpoint import Array, Output
from ..operations import Operation
from ..torch_code import Code, call
from ..torch_context import Context
from ..torch_registry import emits
from .convolution import unless

# What Keras calls each projection, and what the module does.
_PROJECTIONS = {"query": "query", "key": "key", "value": "value", "gate": "gate", "attention_output": "output"}


@emits("attention")
def attention(c: Context, operation: Operation) -> None:
    """Scores by a product or by a sum, then values weighted by them."""
    settings = operation.settings
    value = c.get(operation, 1)
    masks = {
        name: c.get(operation, index)
        for index, name in ((3, "query_mask"), (4, "value_mask"))
        if c.has(operation, index)
    }
    made = _scores(c, operation, c.get(operation), c.get(operation, 2))
    variable, scores = c.target(operation), c.beside("scores")
    c.line(scores, made)
    wanted = settings["return_scores"] and c.is_used(operation.outputs[1].name)
    weights = c.beside("weights") if wanted else "_"
    causal = True if settings["causal"] else None
    attended = call(c.part("attention.attend"), scores, value, **masks, causal=causal)
    c.line(f"{variable}, {weights}", attended, c.shape_comment(operation, 0))
    c.hold(operation, variable)
    if settings["return_scores"]:
        c.hold(operation, weights, index=1)


def _scores(c: Context, operation: Operation, query: str, key: str) -> Code:
    """Scores (batch, query steps, key steps), with what was learned for them: at most a scale before the product or the
    sum, and a factor of the sum."""
    score, locals_ = operation.settings["score"], list(operation.weights)
    if score == "dot":
        product = f"{query} @ {key}.mT"
        return f"{_learned(c, operation, locals_[0], 'scale')} * ({product})" if locals_ else product
    factors = [_learned(c, operation, local, name) for local, name in zip(locals_[::-1], _LEARNED[score], strict=False)]
    if len(factors) == 2:
        query, key = (f"{factors[1]} * {x}" for x in (query, key))
    return call(c.part("attention.additive_scores"), query, key, *factors[:1])


# What the weights of a score by a sum are, the last one first.
_LEARNED = {"additive": ("scale",), "concat": ("factor", "scale")}


def _learned(c: Context, operation: Operation, local: str, name: str) -> str:
    return c.parameter(operation, name, c.stored(operation, local))


@emits("multi_head_attention")
def multi_head_attention(c: Context, operation: Operation) -> None:
    """Projections of query, key and value for every head, and of what they attend to."""
    settings = operation.settings
    weights = _projections(c, operation)
    query, value, key = (c.get(operation, index) for index in range(3))
    mask = c.get(operation, 3) if c.has(operation, 3) else None
    layer = c.layer(operation, _made(c, operation, weights), weights)
    scores = settings["return_scores"]
    variable, other = c.target(operation), c.beside("weights") if scores else "_"
    causal = True if settings["causal"] else None
    c.line(
        f"{variable}, {other}",
        call(layer, query, key, value, mask=mask, causal=causal),
        c.shape_comment(operation, 0),
    )
    c.hold(operation, variable)
    if scores:
        c.hold(operation, other, index=1)


def _projections(c: Context, operation: Operation) -> dict[str, Output]:
    """The weights of the linear layers by their names in the module."""
    weights: dict[str, Output] = {}
    for old, new in _PROJECTIONS.items():
        if f"{old}/kernel" in operation.weights:
            turn = _output if new == "output" else _projection
            weights[f"{new}.weight"] = c.stored(operation, f"{old}/kernel", turn)
        if f"{old}/bias" in operation.weights:
            weights[f"{new}.bias"] = c.stored(operation, f"{old}/bias", lambda array: array.reshape(-1))
    return weights


def _made(c: Context, operation: Operation, weights: dict[str, Output]) -> Code:
    """The module, told what is not as usual only."""
    settings = operation.settings
    heads, key_heads = settings["heads"], settings["key_heads"]
    query, key, value = (weights[f"{part}.weight"].shape[1] for part in ("query", "key", "value"))
    key_dim = weights["query.weight"].shape[0] // heads
    return call(
        c.part("attention.MultiHeadAttention"),
        query,
        key_size=unless(key, query),
        value_size=unless(value, key),
        output_size=unless(weights["output.weight"].shape[0], query),
        heads=heads,
        key_dim=key_dim,
        value_dim=unless(weights["value.weight"].shape[0] // key_heads, key_dim),
        key_heads=unless(key_heads, heads),
        gated=True if settings["gated"] else None,
        zero_masked=True if settings["zero_masked"] and c.has(operation, 3) else None,
        bias=None if "query.bias" in weights else False,
    )


def _projection(kernel: Array) -> Array:
    """From ``(in, heads, size)`` to ``(heads * size, in)``."""
    return kernel.reshape(kernel.shape[0], -1).T


def _output(kernel: Array) -> Array:
    """From ``(heads, size, out)`` to ``(out, heads * size)``."""
    return kernel.reshape(-1, kernel.shape[-1]).T

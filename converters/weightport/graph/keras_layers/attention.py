"""Attention layers."""

from __future__ import annotations

from collections.abc import Sequence

from ..keras_call import Call, Nested, translates
from ..operations import Value

_PARTS = ("query", "key", "value", "attention_output", "gate")


@translates("Attention", "AdditiveAttention")
def attention(call: Call) -> Nested:
    """Dot-product, concatenating and additive attention of one head."""
    query, value, *rest = call.inputs[:3]
    key = rest[0] if rest else value
    masks = call.keywords.get("mask") or [call.mask(query), call.mask(value)]
    query_mask, value_mask = (one if isinstance(one, Value) else None for one in masks[:2])
    is_additive = call.entry.class_name == "AdditiveAttention"
    settings = {
        "score": "additive" if is_additive else call.config.get("score_mode", "dot"),
        "causal": bool(call.argument(4, "use_causal_mask", False)),
        "return_scores": bool(call.argument(3, "return_attention_scores", False)),
    }
    outputs = call.add_all(
        "attention",
        [query, value, key, query_mask, value_mask],
        settings,
        weights=call.weights.of(call.name),
        ends=["scores"],
    )
    if query_mask is not None:
        call.builder.masks[outputs[0].name] = query_mask
    return list(outputs) if settings["return_scores"] else outputs[0]


@translates("MultiHeadAttention", "GroupQueryAttention", "GroupedQueryAttention")
def multi_head_attention(call: Call) -> Nested:
    """Several heads with their projections, as one operation; its last input is one mask of all that is masked."""
    query = call.argument(0, "query")
    value = call.argument(1, "value")
    key = call.argument(2, "key")
    key = key if isinstance(key, Value) else value
    if any(one.rank != 3 for one in (query, value, key)):
        raise call.refused("attention over several axes is not supported")
    if call.config.get("sliding_window"):
        raise call.refused("a sliding window is not supported")
    settings = {
        "heads": call.config.get("num_query_heads", call.config.get("num_heads")),
        "key_heads": call.config.get("num_key_value_heads", call.config.get("num_heads")),
        "key_dim": call.config.get("head_dim", call.config.get("key_dim")),
        "causal": bool(call.argument(9, "use_causal_mask", False)),
        "return_scores": bool(call.argument(7, "return_attention_scores", False)),
        "gated": bool(call.config.get("use_gate")),
    }
    # Scores that are given, or dropped, go through Softmax, which gives no weight to what is masked; else a kernel
    # for all of it gives every masked step the same (keras/src/layers/attention, _compute_attention).
    is_softmax = settings["return_scores"] or call.config.get("dropout", 0.0) > 0
    settings["zero_masked"] = is_softmax and not call.models.is_legacy
    output = call.config.get("output_shape")
    width = query.shape[-1] if output is None else output if isinstance(output, int) else output[-1]
    shapes = [(*query.shape[:-1], width)]
    if settings["return_scores"]:
        shapes.append((query.shape[0], settings["heads"], query.shape[1], key.shape[1]))
    outputs = call.add_all(
        "multi_head_attention",
        [query, value, key, _one_mask(call, query, value, key)],
        settings,
        weights=_projections(call),
        shapes=shapes,
        ends=["scores"],
    )
    query_mask = call.mask(query)
    if call.entry.class_name == "MultiHeadAttention" and not call.models.is_legacy:
        for one in (query, value, key):  # as Keras 3 does: later layers see no mask of them
            call.builder.masks.pop(one.name, None)
    if query_mask is not None:
        call.builder.masks[outputs[0].name] = query_mask
    return list(outputs) if settings["return_scores"] else outputs[0]


def _one_mask(call: Call, query: Value, value: Value, key: Value) -> Value | None:
    """Who may look where, ``(batch, query steps, key steps)``; None where everyone may look everywhere."""
    given = [call.argument(3, "query_mask"), call.argument(4, "value_mask"), call.argument(5, "key_mask")]
    masks: list[Value] = []
    parts = ((query, 2), (value, 1), (key, 1))[: 2 if key is value else 3]
    for one, (of, axis) in zip(given, parts, strict=False):
        mask = one if isinstance(one, Value) else call.mask(of)
        if mask is not None:
            masks.append(call.add("expand", [mask], {"axes": (axis,)}, suffix="mask"))
    whole = call.argument(6, "attention_mask")
    if isinstance(whole, Value):
        masks.append(call.add("cast", [whole], {"dtype": "bool"}, suffix="mask", dtype="bool"))
    return _all_of(call, masks)


def _all_of(call: Call, masks: Sequence[Value]) -> Value | None:
    if not masks:
        return None
    merged = masks[0]
    for mask in masks[1:]:
        merged = call.add("logical_and", [merged, mask], {}, suffix="mask")
    return merged


def _projections(call: Call) -> dict[str, str]:
    """The weights by one name each, ``query/kernel``, however the file calls the parts."""
    named = {}
    for local, tensor in call.weights.of(call.name).items():
        part, _, name = local.lstrip("_").partition("/")
        part = part.removesuffix("_dense")
        part = "attention_output" if part == "output" else part
        if part in _PARTS:
            named[f"{part}/{ {'0': 'kernel', '1': 'bias'}.get(name, name) }"] = tensor
    return named

"""The mathematics of attention: multi-head attention with its products, and attention between inputs as they are.

Every function takes the layers' weights by role, the settings and the inputs (batch, time, ...): the features of
queries, keys and values side by side; where the weights tell their sizes, also one set of features that is all three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ._reference_activations import activation
from .checkpoint import Array, Setting
from .errors import LayoutError, UsageError

Layers = Sequence[Mapping[str, Array]]
Settings = Mapping[str, Setting]


def multi_head_attention(layers: Layers, settings: Settings, inputs: Array) -> Array:
    """Vaswani et al. 2017, arXiv:1706.03762; grouped queries: Ainslie et al. 2023, arXiv:2305.13245.

    x (batch, time, query_in + key_in + value_in), or (batch, time, in) where all three are of one size and the same
    inputs; y (batch, time, output). Heads h, queries of a head r, key features k, value features v."""
    weights = layers[0]
    sizes = [weights[f"{part}_weight"].shape[-1] for part in ("query", "key", "value")]
    query, key, value = _three(inputs, sizes)
    queries = np.einsum("bti,hrki->bthrk", query, weights["query_weight"]) + weights.get("query_bias", 0.0)
    keys = np.einsum("bsi,hki->bshk", key, weights["key_weight"]) + weights.get("key_bias", 0.0)
    values = np.einsum("bsi,hvi->bshv", value, weights["value_weight"]) + weights.get("value_bias", 0.0)
    for extra in _extra_places(weights, settings):
        keys, values = (_with_place(seen, extra.get(role)) for seen, role in ((keys, "key"), (values, "value")))
    scores = np.einsum("bthrk,bshk->bhrts", queries, keys) / np.sqrt(keys.shape[-1])
    result = np.einsum("bhrts,bshv->bthrv", softmax(scores), values)
    if "gate_weight" in weights:
        gate = np.einsum("bti,hrvi->bthrv", query, weights["gate_weight"]) + weights.get("gate_bias", 0.0)
        result = result * activation("sigmoid")(gate)
    return np.asarray(np.einsum("bthrv,ohrv->bto", result, weights["output_weight"]) + weights.get("output_bias", 0.0))


def attention(layers: Layers, settings: Settings, inputs: Array) -> Array:
    """Luong et al. 2015, arXiv:1508.04025: scores of queries and keys as they are; x (batch, time, 3 x feature).

    ``dot``: scale x q k. ``concat``: concat_weight x the sum of tanh(scale x (q + k))."""
    weights = layers[0]
    query, key, value = np.split(inputs, 3, axis=-1)
    scale = weights.get("scale", np.float64(1.0))
    if settings["score"] == "dot":
        scores = scale * np.einsum("btf,bsf->bts", query, key)
    elif settings["score"] == "concat":
        scores = weights["concat_weight"] * np.tanh(scale * _sums(query, key)).sum(axis=-1)
    else:
        raise UsageError(f"no score {settings['score']!r}; known are dot and concat")
    return np.asarray(softmax(scores) @ value)


def additive_attention(layers: Layers, settings: Settings, inputs: Array) -> Array:
    """Bahdanau et al. 2014, arXiv:1409.0473: the scores are the sums of scale x tanh(q + k), scale (feature);
    x (batch, time, 3 x feature), or (batch, time, feature) where the inputs are all three."""
    scale = layers[0].get("scale", np.ones(inputs.shape[-1] // 3))
    query, key, value = _three(inputs, [len(scale)] * 3)
    scores = (scale * np.tanh(_sums(query, key))).sum(axis=-1)
    return np.asarray(softmax(scores) @ value)


def softmax(scores: Array) -> Array:
    """The exponentials of the last axis, divided by their sum."""
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def _sums(query: Array, key: Array) -> Array:
    return np.asarray(query[:, :, None, :] + key[:, None, :, :])


def _three(inputs: Array, sizes: Sequence[int]) -> list[Array]:
    """The queries, keys and values that stand side by side, or the same inputs three times."""
    features = inputs.shape[-1]
    if features == sum(sizes):
        return np.split(inputs, [sizes[0], sizes[0] + sizes[1]], axis=-1)
    if {features} == set(sizes):
        return [inputs] * 3
    raise LayoutError(f"inputs of shape {list(inputs.shape)} are not {' + '.join(map(str, sizes))} features")


def _extra_places(weights: Mapping[str, Array], settings: Settings) -> list[dict[str, Array]]:
    """What there is to attend to beside the inputs: a learned place, and one of zeros."""
    learned = {"key": weights["extra_key"], "value": weights["extra_value"]} if "extra_key" in weights else None
    return [*([learned] if learned else []), *([{}] if settings["zero_attention"] else [])]


def _with_place(seen: Array, extra: Array | None) -> Array:
    """Keys or values (batch, time, head, feature) with one more place at the end; of zeros where none is given."""
    shape = (len(seen), 1, *seen.shape[2:])
    return np.concatenate([seen, np.zeros(shape) if extra is None else np.broadcast_to(extra, shape)], axis=1)

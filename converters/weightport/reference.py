"""What each kind of layer computes: its mathematics in float64 NumPy, short and plain, and slow.

This is what a kind *means*. Weights are given as :func:`weightport.logical.logical_arrays` returns them: one
dictionary a stacked layer, from role to an array whose axes are the role's own in ``layouts/kinds.toml`` without
``layer``, labels in the kind's order. A role that a layer does not have is not in the dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from . import _reference_attention as attention
from . import _reference_feed_forward as feed_forward
from . import _reference_normalization as normalization
from . import _reference_recurrent as recurrent
from .checkpoint import Array, Setting
from .errors import UsageError
from .kinds import all_kinds

Weights: TypeAlias = Mapping[str, Array]
Reference: TypeAlias = Callable[[Sequence[Weights], Mapping[str, Setting], Array], Array]

_REFERENCES: Mapping[str, Reference] = {
    "lstm": recurrent.lstm,
    "gru": recurrent.gru,
    "rnn": recurrent.rnn,
    "mgu": recurrent.mgu,
    "conv_lstm": recurrent.conv_lstm,
    "dense": feed_forward.dense,
    "conv": feed_forward.conv,
    "batch_norm": feed_forward.batch_norm,
    "layer_norm": feed_forward.layer_norm,
    "embedding": feed_forward.embedding,
    "multi_head_attention": attention.multi_head_attention,
    "attention": attention.attention,
    "additive_attention": attention.additive_attention,
    "group_norm": normalization.group_norm,
    "rms_norm": normalization.rms_norm,
    "conv_transpose": feed_forward.conv_transpose,
    "prelu": feed_forward.prelu,
    "bilinear": feed_forward.bilinear,
}


def run(kind: str, layers: Sequence[Weights], settings: Mapping[str, Setting], inputs: Array) -> Array:
    """What a layer of ``kind`` gives out for ``inputs``, which are channels last: (batch, time, in) for recurrent
    kinds, (batch, *space, in) for convolutions, (batch, time, *space, in) for convolutional LSTMs, (..., in) for
    dense layers, integers of any shape for embeddings.

    A setting that is not given has the kind's usual value. Raises UsageError for a kind or a setting that has no
    mathematics here, LayoutError for inputs that do not fit the weights."""
    if kind not in _REFERENCES:
        raise UsageError(f"no reference for kind {kind!r}; known are {', '.join(_REFERENCES)}")
    weights = [{role: np.asarray(array, np.float64) for role, array in layer.items()} for layer in layers]
    return _REFERENCES[kind](weights, {**all_kinds()[kind].settings, **settings}, np.asarray(inputs))

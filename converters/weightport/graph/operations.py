"""The neutral graph: operations, the values between them, and nothing of how a framework would run them.

**How an emitter consumes it.** ``graph.operations`` are in an order in which every input is made before it is used;
go through them once, look up your function for ``operation.kind``, and let it write what the operation computes.
Nested and shared models, ``TimeDistributed``, fused activations and dropout are taken apart or gone already, so the
kinds below are all there is. An operation that a shared layer makes twice stands twice, with another ``name`` and the
same ``layer``: modules belong to layers, calls to operations.

* ``operation.inputs`` are names of values; ``""`` stands for an optional input that is absent.
* ``graph.values[name]`` has the shape (``None`` for a free size; axis 0 is the batch) and the dtype.
* ``operation.weights`` has the checkpoint's tensor for each of the layer's own names (``kernel``), stored as the layout
  ``operation.layout`` says (``keras.lstm``); :func:`weightport.graph.weights.planned` carries them into another layout
  of the same kind, :func:`weightport.graph.weights.turned` turns the axes of those without a kind.
* Axes are counted from 0 with the batch as axis 0, and never negative. Values are channels-last unless
  ``channels_first`` is set; a target that wants it otherwise turns them at the borders.
* ``padding`` is ``"valid"``, ``"same"`` (Keras': the odd element at the end; :mod:`weightport.graph.sizes` has the
  amounts) or ``"causal"``.

==================  ======================  ==========================================================================
kind                inputs                  settings (weights)
==================  ======================  ==========================================================================
dense               x                       (kernel ``in out``, bias); of the last axis
einsum_dense        x                       equation (kernel, bias)
embedding           indices                 (embeddings)
conv                x                       strides, dilation, padding, groups, channels_first (kernel, bias)
depthwise_conv      x                       the same: a group for every channel (kernel ``... in multiplier``, bias)
conv_transpose      x                       the same without groups, and output_padding (kernel ``... out in``, bias)
pool                x                       function (max, average), size, strides, padding, channels_first; padding is
                                            not counted in an average
global_pool         x, mask                 function, keepdims, channels_first
adaptive_pool       x                       function, size, channels_first
batch_norm          x                       axis, epsilon (gamma, beta, moving_mean, moving_variance)
layer_norm          x                       axes, epsilon (gamma, beta)
rms_norm            x                       axes, epsilon (scale)
group_norm          x                       groups, axis, epsilon (gamma, beta)
unit_norm           x                       axes
activation          x                       function and its parameters: see ``activations`` in this folder
prelu               x                       (alpha, which broadcasts against x without its batch)
lstm gru rnn        x, mask, states ...     units, activation, cell_activation, recurrent_activation, reset, direction
                                            (forward, backwards, bidirectional), return_sequences, return_state,
                                            merge_mode, zero_output_for_mask; outputs: y (two of merge_mode none),
                                            then the last states (kernel, recurrent_kernel, bias; of two directions
                                            with the prefixes ``forward_layer/`` and ``backward_layer/``). ``backwards``
                                            gives its sequence in the order of processing.
conv_lstm           x, states ...           the same, and strides, dilation, padding, channels_first
attention           query, value, key,      score (dot, concat, additive), causal, return_scores (its scale as ``0`` or
                    two masks               ``scale``); the masks are those of query and value
multi_head_         query, value, key,      heads, key_heads, key_dim, causal, return_scores, gated, zero_masked
attention           one mask                (query/kernel and so on for key, value, attention_output, gate); the mask is
                                            (batch, query steps, key steps), any of which may be 1; zero_masked: a query
                                            that may look nowhere gives zeros, else the mean of all values
reshape             x                       shape without the batch, -1 for one that follows
transpose           x                       order
repeat              x                       axis, count: every element ``count`` times
tile                x                       counts
crop                x                       amounts (before, after) for every axis
pad                 x                       amounts, mode (constant, reflect, edge), value
upsample            x                       factors for every axis, method (nearest, linear, cubic, lanczos3, ...)
resize              x                       size (height, width), method, channels_first, antialias
affine              x                       scale, offset: numbers or one number a channel
prescale            x                       (its one weight: one factor a channel)
standardize         x                       axes, invert (mean, variance, or settings of these names)
reshape_all         x                       shape with the batch
fill                x                       value: a number everywhere in the shape of x
fold_time           x                       (batch, time, ...) becomes (batch * time, ...)
unfold_time         y, x                    and back, to the batch and the time of x
constant                                    value, dtype
add ... (binary)    two or more             elementwise and broadcasting: ``BINARY`` below
concatenate         two or more             axis
stack               one or more             axis
dot                 a, b                    axes, normalize
matmul              a, b
einsum              any                     equation
unary               x                       function: ``UNARY`` below
clip                x                       minimum, maximum
reduce              x                       function (sum, mean, max, min, prod, any, all, ...), axes, keepdims
arg_extreme         x                       function (max, min), axis, keepdims
where               condition, a, b
cast                x                       dtype
slice               x                       axes, starts, stops, steps; an end that is None is open
squeeze expand      x                       axes
split               x                       axis, sizes; one output each
take                x, indices              axis
broadcast           x                       shape without the batch
flip                x                       axes
cumulate            x                       axis
mask_steps          x                       value: which steps have any element other than value
==================  ======================  ==========================================================================

The kind of an operation that a user registered is its class' name, and its settings are the class' config.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

Shape: TypeAlias = tuple[int | None, ...]

COMPARISONS = frozenset(
    ("equal", "not_equal", "greater", "greater_equal", "less", "less_equal", "logical_and", "logical_or", "logical_xor")
)
BINARY = COMPARISONS | {
    *("add", "subtract", "multiply", "divide", "average", "maximum", "minimum", "power", "floor_divide", "mod"),
}
UNARY = frozenset(
    [
        *("abs", "negative", "exp", "log", "log1p", "expm1", "sqrt", "rsqrt", "square", "reciprocal", "sign"),
        *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
        *("floor", "ceil", "round", "erf", "logical_not", "isnan", "isinf"),
    ]
)


@dataclass(frozen=True)
class Value:
    """What one operation gives and others take. A size of None is free: it is known when the model runs."""

    name: str
    shape: Shape
    dtype: str = "float32"

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)


@dataclass(frozen=True)
class Operation:
    """One computation. ``name`` is its own; ``layer`` is the dotted name of the layer that it came from.

    ``models`` are the calls of nested models that it came from, outermost first: the model's dotted name, and which
    call of it. :mod:`weightport.graph.nesting` puts them together again for targets that have a word for it."""

    kind: str
    name: str
    layer: str
    inputs: tuple[str, ...]
    outputs: tuple[Value, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    layout: str = ""
    models: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Result:
    """An output of the whole model: its name, and the value that it is."""

    name: str
    value: str


@dataclass(frozen=True)
class Graph:
    """A whole model. ``notes`` say what was left out or changed on the way from its source; ``bookkeeping`` are tensors
    that no computation needs (how often a layer was trained, the states that a stateful layer had when it was saved).
    """

    name: str
    inputs: tuple[Value, ...]
    results: tuple[Result, ...]
    operations: tuple[Operation, ...]
    notes: tuple[str, ...] = ()
    bookkeeping: tuple[str, ...] = ()

    @property
    def values(self) -> dict[str, Value]:
        """Every value by its name."""
        made = [value for operation in self.operations for value in operation.outputs]
        return {value.name: value for value in (*self.inputs, *made)}

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that the operations came from, each once, in the order of their first operation."""
        return tuple(dict.fromkeys(operation.layer for operation in self.operations if operation.layer))


def pruned(graph: Graph) -> Graph:
    """The graph without operations on which no result depends."""
    needed = {result.value for result in graph.results}
    kept = []
    for operation in reversed(graph.operations):
        if any(value.name in needed for value in operation.outputs):
            needed.update(operation.inputs)
            kept.append(operation)
    return replace(graph, operations=tuple(reversed(kept)))

"""How an ONNX graph's nodes feed one another: which layers take in, or give out, a flattened feature map.

Convolutions have their channels first; an exporter from a channels-last framework turns the axes around each of them,
and what is flattened then has its channels last. See :mod:`._feature_flow`; what is not known is a doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from ..checkpoint import FeatureMap
from ._feature_flow import CHANNELS, PLACE, PLAIN, RAW, Activation, Axes, Axis, Flow, Lost, product_of
from ._feature_shapes import lost_in, reshaped, summed, window_count
from ._onnx_graph import Graph, Node
from ._onnx_sizes import sizes_of


def flattened_axes(graph: Graph, inputs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, FeatureMap | str]]:
    """For the weight of every layer, the axes of the layer that run over a feature map, or the reason of a doubt.

    ``inputs`` are the graph's, as its description has them. Axis 0 of each is taken for the batch."""
    walk = _Walk(graph, Flow())
    for value in inputs:
        if value["name"] not in graph.tensors:
            walk.enter(value)
    for node in graph.nodes:
        walk.run(node)
    return walk.flow.results()


@dataclass(frozen=True)
class _Walk:
    graph: Graph
    flow: Flow
    values: dict[str, Activation] = field(default_factory=dict)

    def enter(self, value: Mapping[str, Any]) -> None:
        """Take in one input of the graph."""
        batch, *sizes = [size if isinstance(size, int) else None for size in value["shape"]] or [None]
        self.values[value["name"]] = (self.flow.axis(PLAIN, batch), *self.flow.axes(RAW, sizes))

    def run(self, node: Node) -> None:
        """Find the axes of a node's results."""
        if node.op in _NO_ACTIVATION or not any(name in self.values for name in node.inputs):
            return  # it computes with weights and sizes alone
        rule = RULES.get(node.op) if not node.domain else None
        made = rule(_Call(self, node)) if rule else [self.lost(node)]
        for name, activation in zip(node.outputs, made, strict=False):
            if name:
                self.values[name] = activation

    def lost(self, node: Node) -> Lost:
        """What comes out of a node in a way that is not known."""
        return lost_in(node.label, [self.values[name] for name in node.inputs if name in self.values])


@dataclass(frozen=True)
class _Call:
    """One node with what is known of its inputs."""

    walk: _Walk
    node: Node

    @property
    def flow(self) -> Flow:
        return self.walk.flow

    @property
    def first(self) -> Activation:
        return self.walk.values.get(self.node.input(0), Lost())

    @property
    def activations(self) -> list[Activation]:
        """The inputs that are no weights."""
        return [self.walk.values[name] for name in self.node.inputs if name in self.walk.values]

    def lost(self) -> list[Activation]:
        return [self.walk.lost(self.node)]

    def weight(self, index: int) -> tuple[str, tuple[int, ...]]:
        """The name and the shape of the tensor behind an input; an empty name where there is none."""
        name, _ = self.walk.graph.origin(self.node.input(index))
        return (name, self.walk.graph.shape(name)) if name else ("", ())

    def integers(self, index: int, attribute: str) -> list[int | None] | None:
        """Integers that stand in an attribute, or since some opset in an input."""
        found = self.node.integers(attribute)
        if found or index >= len(self.node.inputs) or not self.node.input(index):
            return list(found) or None
        return sizes_of(self.walk.graph, self.walk.values, self.node.input(index))


_NO_ACTIVATION = {"Shape", "Size", "ConstantOfShape"}
Rule: TypeAlias = Callable[[_Call], list[Activation]]


def _keep(call: _Call) -> list[Activation]:
    return [call.first]


def _elementwise(call: _Call) -> list[Activation]:
    made = summed(call.flow, call.activations)
    return [made] if made is not None else call.lost()


def _norm(call: _Call) -> list[Activation]:
    name, _ = call.weight(1)
    one = call.first
    axis = call.flow.features_of(one) if isinstance(one, Lost) else one[1] if len(one) > 1 else None
    call.flow.uses(name, "channel", axis)
    return [one]


def _last_norm(call: _Call) -> list[Activation]:
    one = call.first
    axis = call.flow.features_of(one) if isinstance(one, Lost) else one[-1] if one else None
    call.flow.uses(call.weight(1)[0], "channel", axis)
    return [one]


def _map(call: _Call, rank: int) -> tuple[Axis, Axis, Axes]:
    """The batch, the channels and the places of what a convolution or a pooling reads."""
    one = call.first
    if isinstance(one, Lost) or len(one) != rank + 2:
        return call.flow.axis(PLAIN, None), call.flow.axis(CHANNELS, None), call.flow.axes(PLACE, [None] * rank)
    channels, *places = call.flow.as_map(one[1:], channels_first=True)
    return one[0], channels, tuple(places)


def _conv(call: _Call) -> list[Activation]:
    name, shape = call.weight(1)
    if len(shape) < 3:
        return call.lost()
    batch, channels, places = _map(call, len(shape) - 2)
    call.flow.uses(name, "in", channels)
    transposed = call.node.op == "ConvTranspose"
    made = shape[1] * call.node.integer("group", 1) if transposed else shape[0]
    out = call.flow.axis(CHANNELS, made)
    call.flow.uses(name, "out", out)
    sizes = [None] * len(places) if transposed else _windows(call, places, shape[2:])
    return [(batch, out, *call.flow.axes(PLACE, sizes))]


def _windows(call: _Call, places: Axes, kernel: Sequence[int]) -> list[int | None]:
    node, rank = call.node, len(places)
    strides = node.integers("strides") or (1,) * rank
    dilations = node.integers("dilations") or (1,) * rank
    pads = node.integers("pads") or (0,) * (2 * rank)
    same = node.text("auto_pad", "NOTSET").startswith("SAME")
    ceil = bool(node.integer("ceil_mode", 0))
    if not len(strides) == len(dilations) == len(kernel) == rank or len(pads) != 2 * rank:
        return [None] * rank
    return [
        window_count(
            None if place.size is None else place.size + (0 if same else pads[i] + pads[rank + i]),
            kernel[i],
            strides[i],
            dilations[i],
            whole=same,
            ceil=ceil,
        )
        for i, place in enumerate(places)
    ]


def _pool(call: _Call) -> list[Activation]:
    kernel = call.node.integers("kernel_shape")
    batch, channels, places = _map(call, len(kernel))
    return [(batch, channels, *call.flow.axes(PLACE, _windows(call, places, kernel)))]


def _global_pool(call: _Call) -> list[Activation]:
    one = call.first
    if isinstance(one, Lost):
        return call.lost()
    batch, channels, places = _map(call, len(one) - 2)
    return [(batch, channels, *call.flow.axes(PLACE, [1] * len(places)))]


def _other_sizes(call: _Call) -> list[Activation]:
    """Padding and resizing: the same axes of other sizes."""
    one = call.first
    if isinstance(one, Lost):
        return [one]
    return [tuple(axis if axis.role == CHANNELS else replace(axis, size=None) for axis in one)]


def _transpose(call: _Call) -> list[Activation]:
    one = call.first
    if isinstance(one, Lost):
        return [one]
    order = call.node.integers("perm") or tuple(range(len(one)))[::-1]
    return [tuple(one[axis] for axis in order)] if sorted(order) == list(range(len(one))) else call.lost()


def _flatten(call: _Call) -> list[Activation]:
    one, axis = call.first, call.node.integer("axis", 1)
    if isinstance(one, Lost):
        return [(call.flow.axis(PLAIN, None), call.flow.features_of(one))]
    axis = axis if axis >= 0 else axis + len(one)
    return [(call.flow.merged(one[:axis]) if axis != 1 else one[0], call.flow.merged(one[axis:]))]


def _reshape(call: _Call) -> list[Activation]:
    one, goal = call.first, call.integers(1, "shape")
    if isinstance(one, Lost) or goal is None:
        return call.lost()
    sizes = [one[i].size if size == 0 and i < len(one) else size for i, size in enumerate(goal)]
    if len(sizes) == 2 and (sizes[0] in (None, -1) or sizes[0] == one[0].size):
        return [(one[0], _sized(call.flow.merged(one[1:]), sizes[1]))] if _is_all(one, sizes[1]) else call.lost()
    made = reshaped(call.flow, one, sizes, call.node.label)
    return call.lost() if isinstance(made, Lost) else [made]


def _is_all(axes: Axes, size: int | None) -> bool:
    """Whether the axes but the batch can be flattened into one of this size."""
    total = product_of(axis.size for axis in axes[1:])
    return total is None or size in (None, -1, total)


def _sized(axis: Axis, size: int | None) -> Axis:
    return axis if axis.size is not None or size in (None, -1) else replace(axis, size=size)


def _squeeze(call: _Call) -> list[Activation]:
    one, axes = call.first, call.integers(1, "axes")
    if isinstance(one, Lost):
        return [one]
    if axes is None:
        return [tuple(axis for axis in one if axis.size != 1)]
    gone = {axis % len(one) for axis in axes if axis is not None}
    return [tuple(axis for index, axis in enumerate(one) if index not in gone)]


def _unsqueeze(call: _Call) -> list[Activation]:
    one, axes = call.first, call.integers(1, "axes")
    if isinstance(one, Lost) or axes is None or None in axes:
        return call.lost()
    rank = len(one) + len(axes)
    new = {axis % rank for axis in axes if axis is not None}
    rest = iter(one)
    return [tuple(call.flow.axis(PLAIN, 1) if index in new else next(rest) for index in range(rank))]


def _concat(call: _Call) -> list[Activation]:
    known = [one for one in call.activations if not isinstance(one, Lost)]
    axis = call.node.integer("axis", 0)
    ranks = {len(one) for one in known}
    if len(known) < len(call.node.inputs) or len(ranks) != 1 or not -len(known[0]) <= axis < len(known[0]):
        return call.lost()
    return [call.flow.joined(known, axis)]


def _product(call: _Call) -> list[Activation]:
    """Gemm and MatMul: a dense layer where the right factor is a tensor of the file."""
    name, shape = call.weight(1)
    if not name or len(shape) != 2 or call.node.input(1) in call.walk.values:
        return _of_two(call)
    one = call.first
    call.flow.uses(name, "in", call.flow.features_of(one) if isinstance(one, Lost) else one[-1])
    weight = call.walk.graph.weight(call.node, 1)
    by_rows = weight is not None and weight.transposed != bool(call.node.integer("transB", 0))
    out = call.flow.axis(PLAIN, shape[0 if by_rows else 1])
    call.flow.uses(name, "out", out)
    if isinstance(one, Lost):
        return [(call.flow.axis(PLAIN, None), out)]
    return [(*(replace(axis, role=PLAIN, split=None) for axis in one[:-1]), out)]


def _of_two(call: _Call) -> list[Activation]:
    """The product of two activations, as attention has it."""
    known = [one for one in call.activations if not isinstance(one, Lost)]
    if len(known) < 2 or len(call.activations) < 2 or len(known[0]) != len(known[1]):
        return call.lost()
    return [(*known[0][:-1], known[1][-1])]


def _recurrent(call: _Call) -> list[Activation]:
    """X is (steps, batch, in); Y is (steps, directions, batch, hidden)."""
    name, shape = call.weight(1)
    one = call.first
    call.flow.uses(name, "in", call.flow.features_of(one) if isinstance(one, Lost) else one[-1])
    steps, batch = one[:2] if not isinstance(one, Lost) and len(one) == 3 else call.flow.axes(PLAIN, [None, None])
    directions = call.flow.axis(PLAIN, shape[0] if shape else None)
    hidden = call.flow.axis(PLAIN, call.node.integer("hidden_size", 0) or None)
    steps, batch = (replace(axis, role=PLAIN, split=None) for axis in (steps, batch))
    state = (directions, batch, hidden)
    return [(steps, *state), state, state]


def _gather(call: _Call) -> list[Activation]:
    """An embedding, or a place or two along an axis of an activation."""
    name, shape = call.weight(0)
    if name:
        indices = call.walk.values.get(call.node.input(1), Lost())
        if isinstance(indices, Lost):
            return call.lost()
        return [(*(replace(a, role=PLAIN) for a in indices), *call.flow.axes(PLAIN, shape[1:]))]
    one, axis = call.first, call.node.integer("axis", 0)
    index, size = call.weight(1)
    if isinstance(one, Lost) or not index or not -len(one) <= axis < len(one) or len(size) > 1:
        return call.lost()
    taken = list(one)
    taken[axis : axis + 1 or None] = [replace(one[axis], size=size[0])] if size else []
    return [tuple(taken)]


def _slice(call: _Call) -> list[Activation]:
    one, axes = call.first, call.integers(3, "axes")
    if isinstance(one, Lost):
        return [one]
    cut = {axis % len(one) for axis in axes if axis is not None} if axes else set(range(len(one)))
    if any(one[index].role in (CHANNELS, PLAIN) and index for index in cut) and len(one) > 1:
        return [tuple(call.flow.axis(a.role, None, mixes=[a.features]) if i in cut else a for i, a in enumerate(one))]
    return [tuple(replace(a, size=None) if i in cut else a for i, a in enumerate(one))]


def _reduce(call: _Call) -> list[Activation]:
    one, axes = call.first, call.integers(1, "axes")
    if isinstance(one, Lost) or axes is None or None in axes:
        return call.lost()
    gone = {axis % len(one) for axis in axes if axis is not None}
    if call.node.integer("keepdims", 1):
        return [tuple(replace(axis, size=1) if index in gone else axis for index, axis in enumerate(one))]
    left = tuple(axis for index, axis in enumerate(one) if index not in gone)
    has_places = any(axis.role == PLACE for axis in left)
    return [left if has_places else tuple(replace(axis, role=PLAIN) for axis in left)]


def _for(rule: Rule, operators: str) -> dict[str, Rule]:
    return dict.fromkeys(operators.split(), rule)


RULES: dict[str, Rule] = {
    **_for(_keep, "Relu LeakyRelu Elu Selu Celu Sigmoid HardSigmoid Tanh Softplus Softsign Gelu Mish HardSwish Erf"),
    **_for(_keep, "Exp Log Sqrt Neg Abs Reciprocal Softmax LogSoftmax Clip Dropout Identity Cast LRN PRelu"),
    **_for(_keep, "Sign Floor Ceil Round Not"),
    **_for(_elementwise, "Add Sub Mul Div Pow Max Min Mean Sum Where"),
    **_for(_norm, "BatchNormalization InstanceNormalization GroupNormalization"),
    **_for(_last_norm, "LayerNormalization RMSNormalization"),
    **_for(_conv, "Conv ConvTranspose"),
    **_for(_pool, "MaxPool AveragePool LpPool"),
    **_for(_global_pool, "GlobalAveragePool GlobalMaxPool"),
    **_for(_other_sizes, "Pad Resize Upsample"),
    **_for(_transpose, "Transpose"),
    **_for(_flatten, "Flatten"),
    **_for(_reshape, "Reshape"),
    **_for(_squeeze, "Squeeze"),
    **_for(_unsqueeze, "Unsqueeze"),
    **_for(_concat, "Concat"),
    **_for(_product, "Gemm MatMul"),
    **_for(_recurrent, "LSTM GRU RNN"),
    **_for(_gather, "Gather"),
    **_for(_slice, "Slice"),
    **_for(_reduce, "ReduceMean ReduceMax ReduceMin ReduceSum"),
}

"""What each Keras class makes of the axes of its inputs; see :mod:`._keras_flow`. One function for classes alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from ._feature_flow import CHANNELS, PLACE, PLAIN, Activation, Axes, Axis, Flow, Lost
from ._feature_shapes import lost_in, reshaped, summed, window_count
from ._keras_config import Entry


@dataclass(frozen=True)
class Call:
    """One call of a layer: where it stands, what it says of itself, and the axes of its inputs without their batch."""

    flow: Flow
    entry: Entry
    name: str
    inputs: Sequence[Activation]

    @property
    def where(self) -> str:
        return f"the {self.entry.class_name} {self.name}"

    @property
    def channels_first(self) -> bool:
        return self.entry.config.get("data_format") == "channels_first"

    def numbers(self, key: str, count: int) -> tuple[int | None, ...]:
        """As many integers as there are axes, from one integer or a list."""
        value = self.entry.config.get(key)
        values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value] * count
        found = [item if isinstance(item, int) and not isinstance(item, bool) else None for item in values]
        return tuple(found) if len(found) == count else (None,) * count

    def last(self, activation: Activation) -> Axis:
        """The features of an input."""
        if isinstance(activation, Lost) or not activation:
            return self.flow.features_of(activation if isinstance(activation, Lost) else Lost())
        return activation[-1]


Rule: TypeAlias = Callable[[Call], list[Activation]]


def lost(call: Call) -> list[Activation]:
    """What comes out of a layer in a way that is not known."""
    return [lost_in(call.where, call.inputs)]


def _keep(call: Call) -> list[Activation]:
    return [call.inputs[0]]


def _normalise(call: Call) -> list[Activation]:
    (one, *_), axes = call.inputs, call.entry.config.get("axis", -1)
    if isinstance(one, Lost):
        call.flow.uses(call.name, "channel", call.flow.features_of(one))
        return [one]
    axis = axes[0] if isinstance(axes, list) and len(axes) == 1 else axes
    if isinstance(axis, int) and -len(one) <= axis <= len(one) and axis:
        call.flow.uses(call.name, "channel", one[axis if axis < 0 else axis - 1])
    else:
        for each in one:
            call.flow.uses(call.name, "channel", each)
    return [one]


def _as_map(call: Call, rank: int) -> Axes:
    one = call.inputs[0]
    if isinstance(one, Lost) or len(one) != rank + 1:
        axes = tuple(call.flow.axis(PLACE, None) for _ in range(rank))
        channels = call.flow.axis(CHANNELS, None)
        return (channels, *axes) if call.channels_first else (*axes, channels)
    return call.flow.as_map(one, channels_first=call.channels_first)


def _with_places(call: Call, sizes: Sequence[int | None], channels: Axis) -> Axes:
    places = tuple(call.flow.axes(PLACE, sizes))
    return (channels, *places) if call.channels_first else (*places, channels)


def _divided(call: Call, axes: Axes) -> tuple[Axes, Axis]:
    return (axes[1:], axes[0]) if call.channels_first else (axes[:-1], axes[-1])


def _rank(entry: Entry) -> int:
    digits = [letter for letter in entry.class_name if letter.isdigit()]
    return int(digits[0]) if digits else 2


def _window(
    size: int | None, kernel: int | None, stride: int | None, dilation: int | None, padding: object
) -> int | None:
    if kernel is None or stride is None:
        return None
    return window_count(size, kernel, stride, dilation or 1, whole=padding != "valid")


def _convolution(call: Call) -> list[Activation]:
    rank = _rank(call.entry)
    places, channels = _divided(call, _as_map(call, rank))
    call.flow.uses(call.name, "in", channels)
    made = call.entry.whole("filters")
    if "Depthwise" in call.entry.class_name:
        times = call.entry.whole("depth_multiplier") or 1
        made = None if channels.size is None else channels.size * times
    sizes: list[int | None]
    if "Transpose" in call.entry.class_name or "LSTM" in call.entry.class_name:
        sizes = [None] * rank
    else:
        window = zip(
            places,
            call.numbers("kernel_size", rank),
            call.numbers("strides", rank),
            call.numbers("dilation_rate", rank),
            strict=True,
        )
        sizes = [_window(p.size, k, s, d, call.entry.config.get("padding")) for p, k, s, d in window]
    out = call.flow.axis(CHANNELS, made)
    call.flow.uses(call.name, "out", out)
    return [_with_places(call, sizes, out)]


def _conv_lstm(call: Call) -> list[Activation]:
    rank, one = _rank(call.entry), call.inputs[0]
    inner = replace(call, inputs=[Lost() if isinstance(one, Lost) else one[1:]])
    places, channels = _divided(call, _as_map(inner, rank))
    call.flow.uses(call.name, "in", channels)
    out = call.flow.axis(CHANNELS, call.entry.whole("filters"))
    made = _with_places(call, [None] * len(places), out)
    if not call.entry.flag("return_sequences"):
        return [made]
    return [Lost(f"it passes through {call.where}", (out.features,))]


def _pooling(call: Call) -> list[Activation]:
    rank = _rank(call.entry)
    places, channels = _divided(call, _as_map(call, rank))
    sizes = call.numbers("pool_size", rank)
    strides = call.numbers("strides", rank) if call.entry.config.get("strides") is not None else sizes
    padding = call.entry.config.get("padding")
    made = [_window(p.size, k, s, 1, padding) for p, k, s in zip(places, sizes, strides, strict=True)]
    return [_with_places(call, made, channels)]


def _other_places(call: Call) -> list[Activation]:
    """Padding, cropping, resizing: other sizes of the same places."""
    places, channels = _divided(call, _as_map(call, _rank(call.entry)))
    return [_with_places(call, [None] * len(places), channels)]


def _global_pooling(call: Call) -> list[Activation]:
    places, channels = _divided(call, _as_map(call, _rank(call.entry)))
    if call.entry.flag("keepdims"):
        return [_with_places(call, [1] * len(places), channels)]
    return [(replace(channels, role=PLAIN),)]


def _dense(call: Call) -> list[Activation]:
    one = call.inputs[0]
    call.flow.uses(call.name, "in", call.last(one))
    out = call.flow.axis(PLAIN, call.entry.whole("units"))
    call.flow.uses(call.name, "out", out)
    return [(*_plain(call, one), out)]


def _plain(call: Call, activation: Activation) -> Axes:
    """All axes but the last, of a layer that has its features last in every framework."""
    if isinstance(activation, Lost):
        return ()
    return tuple(replace(axis, role=PLAIN, split=None) for axis in activation[:-1])


def _embedding(call: Call) -> list[Activation]:
    one = call.inputs[0]
    call.flow.uses(call.name, "feature", None)
    out = call.flow.axis(PLAIN, call.entry.whole("output_dim"))
    if isinstance(one, Lost):
        return [Lost("", (out.features,))]
    return [(*(replace(axis, role=PLAIN, split=None) for axis in one), out)]


def _recurrent(call: Call) -> list[Activation]:
    cell = call.entry.inner("cell")
    cells = (cell.inner_list("cells") or (cell,)) if cell else ()
    units = (cells[-1] if cells else call.entry).whole("units")
    names = [call.name, *(f"{call.name}.{one.name}" for one in cells)]
    return _sequence(call, call.entry, units, names)


def _bidirectional(call: Call) -> list[Activation]:
    inner = call.entry.inner("layer")
    if inner is None:
        return lost(call)
    cell = inner.inner("cell")
    units = (cell or inner).whole("units")
    joins = call.entry.config.get("merge_mode", "concat") == "concat"
    names = [call.name, f"{call.name}.forward_layer", f"{call.name}.backward_layer"]
    return _sequence(call, inner, units * 2 if joins and units is not None else units, names)


def _sequence(call: Call, entry: Entry, units: int | None, names: Sequence[str]) -> list[Activation]:
    """What a recurrent layer gives: its steps or the last of them, then its states."""
    one = call.inputs[0]
    features = call.last(one)
    call.flow.uses(names[0], "in", features)
    for name in names[1:2]:
        call.flow.uses(name, "in", features)
    for name in names[2:]:
        call.flow.uses(name, "in", features if "backward_layer" in name else None)
    out = call.flow.axis(PLAIN, units)
    steps = _plain(call, one) or call.flow.axes(PLAIN, [None])
    made: Axes = (*steps, out) if entry.flag("return_sequences") else (out,)
    states = [(call.flow.axis(PLAIN, units),) for _ in range(4)] if entry.flag("return_state") else []
    return [made, *states]


def _attention(call: Call) -> list[Activation]:
    call.flow.uses(call.name, "in", call.last(call.inputs[0]))
    one = call.inputs[0]
    size = None if isinstance(one, Lost) or not one else one[-1].size
    return [(*_plain(call, one), call.flow.axis(PLAIN, size))]


def _flatten(call: Call) -> list[Activation]:
    one = call.inputs[0]
    if isinstance(one, Lost):
        return [(call.flow.features_of(one),)]
    if call.channels_first and len(one) > 1:  # Keras turns the channels to the end first
        one = (*one[1:], one[0])
    return [(call.flow.merged(one),)]


def _reshape(call: Call) -> list[Activation]:
    one, shape = call.inputs[0], call.entry.config.get("target_shape")
    if isinstance(one, Lost) or not isinstance(shape, Sequence):
        return lost(call)
    sizes = [size if isinstance(size, int) else None for size in shape]
    made = reshaped(call.flow, one, sizes, call.where)
    return [replace(made, mixes=tuple(axis.features for axis in one)) if isinstance(made, Lost) else made]


def _permute(call: Call) -> list[Activation]:
    one, order = call.inputs[0], call.entry.config.get("dims")
    if isinstance(one, Lost) or not isinstance(order, Sequence) or sorted(order) != list(range(1, len(one) + 1)):
        return lost(call)
    return [tuple(one[axis - 1] for axis in order)]


def _repeat(call: Call) -> list[Activation]:
    one = call.inputs[0]
    if isinstance(one, Lost):
        return [one]
    return [(*call.flow.axes(PLAIN, [call.entry.whole("n")]), *one)]


def _elementwise(call: Call) -> list[Activation]:
    made = summed(call.flow, call.inputs)
    return [made] if made is not None else lost(call)


def _concatenate(call: Call) -> list[Activation]:
    known = [one for one in call.inputs if not isinstance(one, Lost)]
    axis = call.entry.whole("axis")
    axis = -1 if axis is None else axis
    if len(known) < len(call.inputs) or len({len(one) for one in known}) != 1 or not axis:
        return lost(call)
    at = axis if axis < 0 else axis - 1
    return [call.flow.joined(known, at)] if -len(known[0]) <= at < len(known[0]) else lost(call)


def _for(rule: Rule, classes: str, ranks: str = "") -> dict[str, Rule]:
    """The rule under the name of every class; ``*`` in one stands for each of the ranks."""
    names = [name.replace("*", f"{rank}D") for name in classes.split() for rank in (ranks if "*" in name else " ")]
    return dict.fromkeys(names, rule)


RULES: dict[str, Rule] = {
    **_for(_keep, "Activation ReLU LeakyReLU ELU ThresholdedReLU Softmax Relu Relu6 Sigmoid Tanh Gelu Silu Elu Selu"),
    **_for(_keep, "Dropout AlphaDropout GaussianDropout GaussianNoise ActivityRegularization SpatialDropout*", "123"),
    **_for(_keep, "Masking Rescaling Normalization UnitNormalization Identity"),
    **_for(_normalise, "BatchNormalization BatchNormalizationV1 BatchNormalizationV2 SyncBatchNormalization"),
    **_for(_normalise, "LayerNormalization GroupNormalization RMSNormalization PReLU"),
    **_for(_convolution, "Conv* Convolution* DepthwiseConv* SeparableConv* LocallyConnected* Conv*Transpose", "123"),
    **_for(_conv_lstm, "ConvLSTM*", "123"),
    **_for(_pooling, "MaxPooling* AveragePooling*", "123"),
    **_for(_global_pooling, "GlobalMaxPooling* GlobalAveragePooling*", "123"),
    **_for(_other_places, "ZeroPadding* Cropping* UpSampling* AdaptiveMaxPooling* AdaptiveAveragePooling*", "123"),
    **_for(_other_places, "Resizing CenterCrop RandomFlip RandomRotation RandomZoom RandomTranslation"),
    **_for(_dense, "Dense", "TimeDistributedDense"),
    **_for(_embedding, "Embedding"),
    **_for(_recurrent, "LSTM CuDNNLSTM GRU CuDNNGRU SimpleRNN RNN"),
    **_for(_bidirectional, "Bidirectional"),
    **_for(_attention, "MultiHeadAttention GroupQueryAttention Attention AdditiveAttention"),
    **_for(_flatten, "Flatten"),
    **_for(_reshape, "Reshape"),
    **_for(_permute, "Permute"),
    **_for(_repeat, "RepeatVector"),
    **_for(_elementwise, "Add Subtract Multiply Average Maximum Minimum Merge"),
    **_for(_concatenate, "Concatenate"),
}

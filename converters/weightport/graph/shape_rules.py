"""Shape inference: the shapes that an operation of each kind makes, free sizes included. One function a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from .operations import BINARY, Shape
from .sizes import broadcast, product, transposed_length, windows

Settings: TypeAlias = Mapping[str, Any]
Rule: TypeAlias = Callable[[Settings, Sequence[Shape], Mapping[str, tuple[int, ...]]], list[Shape]]

RULES: dict[str, Rule] = {}


def inferred(
    kind: str, settings: Settings, inputs: Sequence[Shape], weights: Mapping[str, tuple[int, ...]]
) -> list[Shape]:
    """The shapes of an operation's outputs. A kind without a rule keeps its first input's shape."""
    rule = RULES.get(kind)
    return rule(settings, inputs, weights) if rule else [inputs[0]]


def rule_for(*kinds: str) -> Callable[[Rule], Rule]:
    """Make a function the rule of these kinds."""

    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, rule))
        return rule

    return register


def spatial_axes(rank: int, *, channels_first: bool) -> range:
    """The axes between the batch and the channels."""
    return range(2, rank) if channels_first else range(1, rank - 1)


def _replaced(shape: Shape, sizes: Mapping[int, int | None]) -> Shape:
    return tuple(sizes.get(axis, size) for axis, size in enumerate(shape))


@rule_for("dense")
def _dense(settings: Settings, inputs: Sequence[Shape], weights: Mapping[str, tuple[int, ...]]) -> list[Shape]:
    return [(*inputs[0][:-1], weights["kernel"][-1])]


@rule_for("embedding")
def _embedding(settings: Settings, inputs: Sequence[Shape], weights: Mapping[str, tuple[int, ...]]) -> list[Shape]:
    return [(*inputs[0], weights["embeddings"][-1])]


@rule_for("conv")
def _conv(settings: Settings, inputs: Sequence[Shape], weights: Mapping[str, tuple[int, ...]]) -> list[Shape]:
    return [_windowed(settings, inputs[0], weights["kernel"], weights["kernel"][-1])]


@rule_for("depthwise_conv")
def _depthwise_conv(settings: Settings, inputs: Sequence[Shape], weights: Mapping[str, tuple[int, ...]]) -> list[Shape]:
    kernel = weights["kernel"]
    return [_windowed(settings, inputs[0], kernel, kernel[-2] * kernel[-1])]


def _windowed(settings: Settings, shape: Shape, kernel: Sequence[int], channels: int) -> Shape:
    channels_first = settings["channels_first"]
    sizes: dict[int, int | None] = {1 if channels_first else len(shape) - 1: channels}
    axes = spatial_axes(len(shape), channels_first=channels_first)
    for axis, length, stride, dilation in zip(axes, kernel, settings["strides"], settings["dilation"], strict=False):
        sizes[axis] = windows(shape[axis], length, stride, dilation, settings["padding"])
    return _replaced(shape, sizes)


@rule_for("conv_transpose")
def _conv_transpose(settings: Settings, inputs: Sequence[Shape], weights: Mapping[str, tuple[int, ...]]) -> list[Shape]:
    (shape,), kernel, channels_first = inputs, weights["kernel"], settings["channels_first"]
    sizes: dict[int, int | None] = {1 if channels_first else len(shape) - 1: kernel[-2]}
    for index, axis in enumerate(spatial_axes(len(shape), channels_first=channels_first)):
        added = settings["output_padding"]
        window = kernel[index], settings["strides"][index], settings["dilation"][index], settings["padding"]
        sizes[axis] = transposed_length(shape[axis], *window, None if added is None else added[index])
    return [_replaced(shape, sizes)]


@rule_for("pool")
def _pool(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    (shape,) = inputs
    axes = spatial_axes(len(shape), channels_first=settings["channels_first"])
    window = zip(axes, settings["size"], settings["strides"], strict=True)
    return [_replaced(shape, {axis: windows(shape[axis], k, s, 1, settings["padding"]) for axis, k, s in window})]


@rule_for("global_pool")
def _global_pool(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    axes = spatial_axes(len(inputs[0]), channels_first=settings["channels_first"])
    if settings["keepdims"]:
        return [_replaced(inputs[0], dict.fromkeys(axes, 1))]
    return [tuple(size for axis, size in enumerate(inputs[0]) if axis not in axes)]


@rule_for("adaptive_pool")
def _adaptive_pool(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    axes = spatial_axes(len(inputs[0]), channels_first=settings["channels_first"])
    return [_replaced(inputs[0], dict(zip(axes, settings["size"], strict=True)))]


@rule_for("resize")
def _resize(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    axes = spatial_axes(len(inputs[0]), channels_first=settings["channels_first"])
    return [_replaced(inputs[0], dict(zip(axes, settings["size"], strict=True)))]


@rule_for("lstm", "gru", "rnn")
def _recurrent(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    batch, time, _ = inputs[0]
    units, mode = settings["units"], settings["merge_mode"]
    both = settings["direction"] == "bidirectional"
    width = 2 * units if both and mode == "concat" else units
    output: Shape = (batch, time, width) if settings["return_sequences"] else (batch, width)
    states = (2 if both else 1) * (2 if "cell_activation" in settings else 1)
    outputs = [output] * (2 if both and mode == "none" else 1)
    return [*outputs, *([(batch, units)] * states if settings["return_state"] else [])]


@rule_for("conv_lstm")
def _conv_lstm(settings: Settings, inputs: Sequence[Shape], weights: Mapping[str, tuple[int, ...]]) -> list[Shape]:
    batch, time, *rest = inputs[0]
    step = _windowed(settings, (batch, *rest), weights["kernel"], settings["units"])
    output = (batch, time, *step[1:]) if settings["return_sequences"] else step
    return [output, *([step, step] if settings["return_state"] else [])]


@rule_for("attention")
def _attention(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    query, value, key = inputs[:3]
    scores = [(*query[:-1], key[-2])] if settings["return_scores"] else []
    return [(*query[:-1], value[-1]), *scores]


@rule_for("reshape")
def _reshape(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    shape: Sequence[int] = settings["shape"]
    whole = product(inputs[0][1:])
    if -1 not in shape:
        return [(inputs[0][0], *shape)]
    others = product([size for size in shape if size != -1]) or 1
    missing = None if whole is None else whole // others
    return [(inputs[0][0], *(missing if size == -1 else size for size in shape))]


@rule_for("transpose")
def _transpose(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    return [tuple(inputs[0][axis] for axis in settings["order"])]


@rule_for("repeat")
def _repeat(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    axis, count = settings["axis"], settings["count"]
    size = inputs[0][axis]
    return [_replaced(inputs[0], {axis: None if size is None else size * count})]


@rule_for("tile", "upsample")
def _tile(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    counts = settings["counts"] if "counts" in settings else settings["factors"]
    return [tuple(None if n is None else n * count for n, count in zip(inputs[0], counts, strict=True))]


@rule_for("crop")
def _crop(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    pairs = zip(inputs[0], settings["amounts"], strict=True)
    return [tuple(None if size is None else size - sum(amounts) for size, amounts in pairs)]


@rule_for("pad")
def _pad(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    pairs = zip(inputs[0], settings["amounts"], strict=True)
    return [tuple(None if size is None else size + sum(amounts) for size, amounts in pairs)]


@rule_for("fold_time")
def _fold_time(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    return [(product(inputs[0][:2]), *inputs[0][2:])]


@rule_for("unfold_time")
def _unfold_time(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    return [(*inputs[1][:2], *inputs[0][1:])]


@rule_for("constant")
def _constant(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    return [tuple(settings["value"].shape)]


@rule_for("concatenate")
def _concatenate(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    axis = settings["axis"]
    sizes = [shape[axis] for shape in inputs]
    known = [size for size in sizes if size is not None]
    others = broadcast([_replaced(shape, {axis: 1}) for shape in inputs])
    return [_replaced(others, {axis: sum(known) if len(known) == len(sizes) else None})]


@rule_for("stack")
def _stack(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    shape = broadcast(inputs)
    axis = settings["axis"]
    return [(*shape[:axis], len(inputs), *shape[axis:])]


@rule_for("dot")
def _dot(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    one, other = (
        tuple(size for axis, size in enumerate(shape) if axis not in (0, gone))
        for shape, gone in zip(inputs, settings["axes"], strict=True)
    )
    return [(inputs[0][0], *one, *other) if one or other else (inputs[0][0], 1)]


@rule_for("matmul")
def _matmul(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    one, other = inputs
    row: Shape = one[-2:-1] if len(one) > 1 else ()
    column: Shape = other[-1:] if len(other) > 1 else ()
    return [(*broadcast([one[:-2], other[:-2]]), *row, *column)]


@rule_for("einsum", "einsum_dense")
def _einsum(settings: Settings, inputs: Sequence[Shape], weights: Mapping[str, tuple[int, ...]]) -> list[Shape]:
    operands = [*inputs, *([weights["kernel"]] if "kernel" in weights else [])]
    left, _, right = settings["equation"].replace(" ", "").partition("->")
    sizes: dict[str, int | None] = {}
    batch: Shape = ()
    for term, shape in zip(left.split(","), operands, strict=True):
        before, dots, after = term.partition("...")
        if dots:
            batch = shape[len(before) : len(shape) - len(after)]
        ends = [*shape[: len(before)], *shape[len(shape) - len(after) :]] if dots else shape
        for letter, size in zip(before + after, ends, strict=True):
            sizes[letter] = size if sizes.get(letter) is None else sizes[letter]
    before, dots, after = right.partition("...")
    return [(*(sizes[x] for x in before), *(batch if dots else ()), *(sizes[x] for x in after))]


@rule_for("where", *BINARY)
def _elementwise(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    return [broadcast(inputs)]


@rule_for("reduce", "arg_extreme")
def _reduce(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    axes = settings["axes"]
    if settings["keepdims"]:
        return [_replaced(inputs[0], dict.fromkeys(axes, 1))]
    return [tuple(size for axis, size in enumerate(inputs[0]) if axis not in axes)]


@rule_for("slice")
def _slice(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    sizes: dict[int, int | None] = {}
    for axis, *ends in zip(*(settings[key] for key in ("axes", "starts", "stops", "steps")), strict=True):
        size = inputs[0][axis]
        sizes[axis] = _sliced(size, *ends)
    return [_replaced(inputs[0], sizes)]


def _sliced(size: int | None, start: int | None, stop: int | None, step: int) -> int | None:
    if size is not None:
        return len(range(*slice(start, stop, step).indices(size)))
    is_one = start is not None and stop is not None and step == 1 and (start >= 0) == (stop >= 0) and stop - start == 1
    return 1 if is_one or (start == -1 and stop is None) else None


@rule_for("squeeze")
def _squeeze(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    return [tuple(size for axis, size in enumerate(inputs[0]) if axis not in settings["axes"])]


@rule_for("expand")
def _expand(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    axes, sizes = settings["axes"], iter(inputs[0])
    return [tuple(1 if axis in axes else next(sizes) for axis in range(len(inputs[0]) + len(axes)))]


@rule_for("split")
def _split(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    return [_replaced(inputs[0], {settings["axis"]: size}) for size in settings["sizes"]]


@rule_for("take")
def _take(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    axis = settings["axis"]
    return [(*inputs[0][:axis], *inputs[1], *inputs[0][axis + 1 :])]


@rule_for("broadcast")
def _broadcast(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    return [(inputs[0][0], *settings["shape"])]


@rule_for("mask_steps")
def _mask_steps(settings: Settings, inputs: Sequence[Shape], weights: object) -> list[Shape]:
    return [inputs[0][:-1]]

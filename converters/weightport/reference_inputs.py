"""Random inputs for the NumPy references: of the shape that a layer's weights and settings ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from .checkpoint import Array, Setting
from .errors import UsageError

Weights: TypeAlias = Mapping[str, Array]
Settings: TypeAlias = Mapping[str, Setting]

BATCH = 3
EXTRA = 4
"""Places that an axis of space has beyond what the kernel reaches."""


def random_inputs(
    kind: str, layers: Sequence[Weights], settings: Settings, generator: np.random.Generator, time: int = 5
) -> Array:
    """Inputs as :func:`weightport.reference.run` takes them: batch 3, ``time`` steps for kinds that read sequences,
    a few places more than the kernel reaches on every axis of space, every token for embeddings.

    Raises UsageError for a kind whose inputs are not known."""
    if kind not in _INPUTS:
        raise UsageError(f"no inputs are known for kind {kind!r}; known are {', '.join(_INPUTS)}")
    return _INPUTS[kind](layers[0], settings, generator, time)


def _sequence(weights: Weights, settings: Settings, generator: np.random.Generator, time: int) -> Array:
    return generator.normal(size=(BATCH, time, weights["input_weight"].shape[-1]))


def _frames(weights: Weights, settings: Settings, generator: np.random.Generator, time: int) -> Array:
    channels, kernel = weights["input_weight"].shape[2], weights["input_weight"].shape[3:]
    return generator.normal(size=(BATCH, time, *_space(kernel, settings), channels))


def _features(weights: Weights, settings: Settings, generator: np.random.Generator, time: int) -> Array:
    return generator.normal(size=(BATCH, weights["weight"].shape[1]))


def _image(weights: Weights, settings: Settings, generator: np.random.Generator, time: int) -> Array:
    channels, kernel = weights["weight"].shape[1], weights["weight"].shape[2:]
    (groups,) = _numbers(settings, "groups", 1)
    return generator.normal(size=(BATCH, *_space(kernel, settings), channels * groups))


def _transposed_image(weights: Weights, settings: Settings, generator: np.random.Generator, time: int) -> Array:
    return generator.normal(size=(BATCH, *_space(weights["weight"].shape[2:], settings), len(weights["weight"])))


def _sloped(weights: Weights, settings: Settings, generator: np.random.Generator, time: int) -> Array:
    channels, *space = weights["slope"].shape
    sizes = [size if size > 1 else time for size in space]
    return generator.normal(size=(BATCH, *(sizes or [time]), channels if channels > 1 else EXTRA))


def _two_sides(weights: Weights, settings: Settings, generator: np.random.Generator, time: int) -> Array:
    return generator.normal(size=(BATCH, sum(weights["weight"].shape[1:])))


def _normalised(weights: Weights, settings: Settings, generator: np.random.Generator, time: int) -> Array:
    shapes = [weights[role].shape for role in ("scale", "bias", "running_mean") if role in weights]
    return generator.normal(size=(BATCH, time, *shapes[0]))


def _grouped(weights: Weights, settings: Settings, generator: np.random.Generator, time: int) -> Array:
    (groups,) = _numbers(settings, "groups", 1)
    channels = [len(weights[role]) for role in ("scale", "bias") if role in weights]
    return generator.normal(size=(BATCH, time, EXTRA, channels[0] if channels else 2 * groups))


def _queries_keys_values(weights: Weights, settings: Settings, generator: np.random.Generator, time: int) -> Array:
    sizes = [weights[f"{part}_weight"].shape[-1] for part in ("query", "key", "value")]
    return generator.normal(size=(BATCH, time, sum(sizes)))


def _three_alike(weights: Weights, settings: Settings, generator: np.random.Generator, time: int) -> Array:
    features = max(weights["scale"].size, EXTRA) if "scale" in weights else EXTRA
    return generator.normal(size=(BATCH, time, 3 * features))


def _tokens(weights: Weights, settings: Settings, generator: np.random.Generator, time: int) -> Array:
    return np.arange(len(weights["weight"]))


def _space(kernel: Sequence[int], settings: Settings) -> list[int]:
    spread = _numbers(settings, "dilation", len(kernel))
    return [step * (size - 1) + 1 + EXTRA + axis for axis, (step, size) in enumerate(zip(spread, kernel, strict=True))]


def _numbers(settings: Settings, name: str, count: int) -> list[int]:
    """A setting that is one number, or one for each axis. Raises UsageError where it is neither."""
    value = settings.get(name, 1)
    numbers = [value] * count if isinstance(value, int) else list(value) if isinstance(value, list | tuple) else []
    if len(numbers) != count:
        raise UsageError(f"{name} must be a number or {count} numbers, found {value!r}")
    return numbers


_INPUTS: Mapping[str, Callable[[Weights, Settings, np.random.Generator, int], Array]] = {
    "lstm": _sequence,
    "gru": _sequence,
    "rnn": _sequence,
    "mgu": _sequence,
    "conv_lstm": _frames,
    "dense": _features,
    "conv": _image,
    "conv_transpose": _transposed_image,
    "prelu": _sloped,
    "bilinear": _two_sides,
    "batch_norm": _normalised,
    "layer_norm": _normalised,
    "group_norm": _grouped,
    "rms_norm": _normalised,
    "embedding": _tokens,
    "multi_head_attention": _queries_keys_values,
    "attention": _three_alike,
    "additive_attention": _three_alike,
}

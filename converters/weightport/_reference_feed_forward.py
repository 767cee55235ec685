"""The mathematics of layers without a state: dense, convolution, normalisation, embedding.

Every function takes the layers' weights by role, the settings and the inputs; channels are the last axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ._reference_activations import activation
from .checkpoint import Array, Setting
from .errors import LayoutError, UsageError

Layers = Sequence[Mapping[str, Array]]
Settings = Mapping[str, Setting]

_COMBINED: Mapping[str, Callable[[Array], Array]] = {
    "none": lambda rows: rows,
    "sum": lambda rows: np.asarray(rows.sum(axis=-2)),
    "mean": lambda rows: np.asarray(rows.mean(axis=-2)),
    "max": lambda rows: np.asarray(rows.max(axis=-2)),
}


def dense(layers: Layers, settings: Settings, inputs: Array) -> Array:
    """``y = activation(x W^T + b)``; x (..., in), W (out, in), b (out), y (..., out)."""
    weight = layers[0]["weight"]
    check_channels(inputs, weight.shape[1])
    return activation(settings["activation"])(inputs @ weight.T + layers[0].get("bias", 0.0))


def conv(layers: Layers, settings: Settings, inputs: Array) -> Array:
    """A cross-correlation with bias and activation; x (batch, *space, in), W (out, in of a group, *kernel), b (out).

    Output channels stand group by group, as in every framework (torch.nn.Conv2d, keras.layers.Conv2D)."""
    weight = layers[0]["weight"]
    given = int(_number(settings, "groups"))
    check_channels(inputs, weight.shape[1] * given)
    result = convolve(inputs, weight, settings["strides"], settings["padding"], settings["dilation"], given)
    return activation(settings["activation"])(result + layers[0].get("bias", 0.0))


def convolve(
    inputs: Array, weight: Array, strides: Setting, padding: Setting, dilation: Setting, groups: int = 1
) -> Array:
    """The sum over the kernel's places of the inputs seen there, times the weight there."""
    kernel = weight.shape[2:]
    space = inputs.shape[1:-1]
    if len(space) != len(kernel):
        raise LayoutError(f"inputs of shape {list(inputs.shape)} for a convolution over {len(kernel)} axes of space")
    steps, spread = _each(strides, len(kernel), "strides"), _each(dilation, len(kernel), "dilation")
    reach = [spread[a] * (size - 1) + 1 for a, size in enumerate(kernel)]
    margins = _margins(padding, space, reach, steps)
    padded = np.pad(np.asarray(inputs, np.float64), [(0, 0), *margins, (0, 0)])
    sizes = [(padded.shape[a + 1] - reach[a]) // steps[a] + 1 for a in range(len(kernel))]
    grouped = padded.reshape(*padded.shape[:-1], groups, -1)
    by_group = weight.reshape(groups, -1, *weight.shape[1:])
    total = np.zeros((len(inputs), *sizes, groups, by_group.shape[1]))
    for place in np.ndindex(*kernel):
        start = [index * spread[a] for a, index in enumerate(place)]
        seen = tuple(slice(start[a], start[a] + (sizes[a] - 1) * steps[a] + 1, steps[a]) for a in range(len(kernel)))
        total += np.einsum("b...gi,goi->b...go", grouped[(slice(None), *seen)], by_group[(..., *place)])
    return total.reshape(*total.shape[:-2], -1)


def conv_transpose(layers: Layers, settings: Settings, inputs: Array) -> Array:
    """Each input spreads its product with the kernel from place ``stride x i`` on, the kernel not turned round; then
    the ends are cut off. x (batch, *space, in), W (in, out of a group, *kernel), b (channel).

    As torch.nn.ConvTranspose2d, keras.layers.Conv2DTranspose and ONNX' ConvTranspose."""
    weight, groups = layers[0]["weight"], int(_number(settings, "groups"))
    check_channels(inputs, len(weight))
    kernel, space = weight.shape[2:], inputs.shape[1:-1]
    steps = _each(settings["strides"], len(kernel), "strides")
    spread = _each(settings["dilation"], len(kernel), "dilation")
    whole = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(space, steps, spread, kernel, strict=True)]
    grouped = inputs.reshape(*inputs.shape[:-1], groups, -1)
    by_group = weight.reshape(groups, -1, *weight.shape[1:])
    total = np.zeros((len(inputs), *whole, groups, weight.shape[1]))
    for place in np.ndindex(*kernel):
        seen = tuple(
            slice(p * d, p * d + (n - 1) * s + 1, s) for p, d, n, s in zip(place, spread, space, steps, strict=True)
        )
        total[(slice(None), *seen)] += np.einsum("b...gi,gio->b...go", grouped, by_group[(..., *place)])
    kept = _kept(total.reshape(*total.shape[:-2], -1), settings, space, steps)
    return activation(settings["activation"])(kept + layers[0].get("bias", 0.0))


def _kept(total: Array, settings: Settings, space: Sequence[int], steps: Sequence[int]) -> Array:
    """What a transposed convolution keeps of the sum that all inputs spread; beyond its ends there are zeros."""
    padding, extra = settings["padding"], settings["output_padding"]
    named = isinstance(padding, str)
    ends = [(0, 0)] * len(space) if named else _margins(padding, space, steps, steps)
    added = [extra] * len(space) if extra == "fill" else _each(extra, len(space), "output_padding")
    for axis, (size, step) in enumerate(zip(space, steps, strict=True), start=1):
        start, kept = _window(padding if named else ends[axis - 1], added[axis - 1], total.shape[axis], size, step)
        missing = max(start + kept - total.shape[axis], 0)
        filled = np.pad(total, [(0, missing if other == axis else 0) for other in range(total.ndim)])
        total = np.take(filled, range(start, start + kept), axis=axis)
    return total


def _window(padding: Setting | tuple[int, int], added: Setting, whole: int, size: int, step: int) -> tuple[int, int]:
    """Where what is kept of one axis begins, and how long it is (keras/src/backend/common/backend_utils.py)."""
    fill = added == "fill"
    more = added if isinstance(added, int) else 0
    if padding == "same":
        reach = whole - (size - 1) * step
        kept = size * step if fill else whole - 2 * (reach // 2) + more
        return max(whole - kept, 0) // 2, kept
    if isinstance(padding, tuple):
        return padding[0], whole - sum(padding) + more
    return 0, max(whole, size * step) if fill else whole + more


def prelu(layers: Layers, settings: Settings, inputs: Array) -> Array:
    """x where it is positive, slope times x elsewhere; x (..., channel), slope (channel, *space), one for all places
    along an axis that it does not have.

    He et al. 2015, arXiv:1502.01852."""
    slope = np.moveaxis(layers[0]["slope"], 0, -1)
    if slope.shape[-1] != 1:
        check_channels(inputs, slope.shape[-1])
    return np.where(inputs > 0, inputs, inputs * slope)


def bilinear(layers: Layers, settings: Settings, inputs: Array) -> Array:
    """``y_o = first W_o second + b_o``; x (..., first + second) has both inputs one after the other, W (out, first,
    second), b (out), y (..., out). As torch.nn.Bilinear."""
    weight = layers[0]["weight"]
    check_channels(inputs, weight.shape[1] + weight.shape[2])
    first, second = np.split(inputs, [weight.shape[1]], axis=-1)
    return np.asarray(np.einsum("...i,oij,...j->...o", first, weight, second) + layers[0].get("bias", 0.0))


def batch_norm(layers: Layers, settings: Settings, inputs: Array) -> Array:
    """As in inference: ``y = (x - mean) / sqrt(variance + epsilon) * scale + bias``; x (..., channel).

    Ioffe and Szegedy 2015, arXiv:1502.03167. ``invert``: ``y = x * sqrt(variance + epsilon) + mean``."""
    weights = layers[0]
    check_channels(inputs, len(weights["running_mean"]))
    deviation = np.sqrt(weights["running_variance"] + _number(settings, "epsilon"))
    if settings["invert"]:
        return np.asarray(inputs * deviation + weights["running_mean"])
    normal = (inputs - weights["running_mean"]) / deviation
    return np.asarray(normal * weights.get("scale", 1.0) + weights.get("bias", 0.0))


def layer_norm(layers: Layers, settings: Settings, inputs: Array) -> Array:
    """``y = (x - mean) / sqrt(variance + epsilon) * scale + bias``, over the trailing axes that the weights have.

    Ba, Kiros and Hinton 2016, arXiv:1607.06450. ``rms_scaling`` leaves the mean in (keras.layers.LayerNormalization).
    """
    weights = layers[0]
    shapes = [weights[role].shape for role in ("scale", "bias") if role in weights]
    if not shapes or inputs.shape[inputs.ndim - len(shapes[0]) :] != shapes[0]:
        raise LayoutError(f"layer_norm over inputs of shape {list(inputs.shape)}: its weights have {shapes or 'none'}")
    axes = tuple(range(inputs.ndim - len(shapes[0]), inputs.ndim))
    centred = inputs - inputs.mean(axis=axes, keepdims=True)
    variance = np.mean(centred**2, axis=axes, keepdims=True)
    normal = (inputs if settings["rms_scaling"] else centred) / np.sqrt(variance + _number(settings, "epsilon"))
    return np.asarray(normal * weights.get("scale", 1.0) + weights.get("bias", 0.0))


def embedding(layers: Layers, settings: Settings, inputs: Array) -> Array:
    """Row ``x`` of the weight (token, feature), for integers x of any shape; masking hides rows from later layers
    and does not change them. ``combine`` makes one row of those of a bag, the last axis of x (torch.nn.EmbeddingBag).
    """
    weight = layers[0]["weight"]
    tokens = np.asarray(inputs)
    if tokens.size and not (tokens.dtype.kind in "iu" and tokens.min() >= 0 and tokens.max() < len(weight)):
        raise LayoutError(f"an embedding of {len(weight)} tokens needs integers from 0 to {len(weight) - 1}")
    rows, combine = weight[tokens], settings["combine"]
    if combine not in _COMBINED:
        raise UsageError(f"no combine {combine!r}; known are {', '.join(_COMBINED)}")
    return _COMBINED[str(combine)](rows)


def check_channels(inputs: Array, channels: int) -> None:
    """Raise LayoutError unless the inputs' last axis has that many channels."""
    if not inputs.ndim or inputs.shape[-1] != channels:
        raise LayoutError(f"inputs of shape {list(inputs.shape)} do not end in the {channels} channels of the weights")


def _number(settings: Settings, name: str) -> float:
    value = settings[name]
    if not isinstance(value, int | float):
        raise UsageError(f"{name} must be a number, found {value!r}")
    return value


def _each(value: Setting, axes: int, name: str) -> list[int]:
    """One number for each axis of space."""
    numbers = [value] * axes if isinstance(value, int) else value
    if not isinstance(numbers, list | tuple) or len(numbers) != axes:
        raise UsageError(f"{name} must be a number or {axes} numbers, found {value!r}")
    return [int(number) for number in numbers]


def _margins(
    padding: Setting, space: Sequence[int], reach: Sequence[int], steps: Sequence[int]
) -> list[tuple[int, int]]:
    """The elements added before and after each axis of space.

    ``same`` gives ceil(size / stride) outputs, the odd element after (tensorflow.nn.convolution, torch's "same");
    ``causal`` puts all before; numbers are for both ends, or for all beginnings and then all ends (as in ONNX)."""
    if padding == "valid":
        return [(0, 0)] * len(space)
    if padding == "causal":
        return [(size - 1, 0) for size in reach]
    if padding == "same":
        wanted = [-(-size // step) for size, step in zip(space, steps, strict=True)]
        totals = [max((n - 1) * s + r - size, 0) for n, s, r, size in zip(wanted, steps, reach, space, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    if isinstance(padding, tuple | list) and len(padding) == 2 * len(space):
        return list(zip(padding[: len(space)], padding[len(space) :], strict=True))
    if isinstance(padding, str):
        raise UsageError(f"no padding {padding!r}; known are valid, same, causal and numbers")
    return [(number, number) for number in _each(padding, len(space), "padding")]

"""The mathematics of layers without a state: dense, convolution, normalisation, embedding.

Every function takes the layers' weights by role, the settings and the inputs; channels are the last axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ._reference_activations import activation
from .checkpoint import Array, Setting
from .errors import LayoutError, UsageError

Layers = Sequence[Mapping[str, Array]]
Settings = Mapping[str, Setting]


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
    and does not change them."""
    weight = layers[0]["weight"]
    tokens = np.asarray(inputs)
    if tokens.size and not (tokens.dtype.kind in "iu" and tokens.min() >= 0 and tokens.max() < len(weight)):
        raise LayoutError(f"an embedding of {len(weight)} tokens needs integers from 0 to {len(weight) - 1}")
    return np.asarray(weight[tokens])


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

"""The mathematics of normalisation by what the inputs themselves are: of groups of channels, by the root mean square.

Every function takes the layers' weights by role, the settings and the inputs; channels are the last axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .checkpoint import Array, Setting
from .errors import LayoutError, UsageError

Layers = Sequence[Mapping[str, Array]]
Settings = Mapping[str, Setting]


def group_norm(layers: Layers, settings: Settings, inputs: Array) -> Array:
    """``y = (x - mean) / sqrt(variance + epsilon) * scale + bias``, each sample's mean and variance over space and the
    channels of one group; x (batch, *space, channel). A scale of a group applies before that of a channel.

    Wu and He 2018, arXiv:1803.08494; with one channel a group, Ulyanov et al. 2016, arXiv:1607.08022."""
    weights, groups = layers[0], settings["groups"]
    channels = inputs.shape[-1]
    _check_channels(weights, channels)
    if not isinstance(groups, int) or groups < 1 or channels % groups:
        raise UsageError(f"{channels} channels cannot be {groups} groups")
    grouped = inputs.reshape(len(inputs), -1, groups, channels // groups)
    centred = grouped - grouped.mean(axis=(1, 3), keepdims=True)
    variance = np.mean(centred**2, axis=(1, 3), keepdims=True)
    normal = centred / np.sqrt(variance + _epsilon(settings))
    by_group = normal * _column(weights.get("group_scale", 1.0)) + _column(weights.get("group_bias", 0.0))
    return np.asarray(by_group.reshape(inputs.shape) * weights.get("scale", 1.0) + weights.get("bias", 0.0))


def rms_norm(layers: Layers, settings: Settings, inputs: Array) -> Array:
    """``y = x / sqrt(mean of x^2 + epsilon) * scale``, over the trailing axes that the scale has.

    Zhang and Sennrich 2019, arXiv:1910.07467."""
    scale = layers[0]["scale"]
    if inputs.shape[inputs.ndim - scale.ndim :] != scale.shape:
        raise LayoutError(f"rms_norm over inputs of shape {list(inputs.shape)}: its scale has {list(scale.shape)}")
    axes = tuple(range(inputs.ndim - scale.ndim, inputs.ndim))
    mean = np.mean(np.square(inputs), axis=axes, keepdims=True)
    return np.asarray(inputs / np.sqrt(mean + _epsilon(settings)) * scale)


def _check_channels(weights: Mapping[str, Array], channels: int) -> None:
    for role in ("scale", "bias"):
        if role in weights and weights[role].shape != (channels,):
            raise LayoutError(f"group_norm over {channels} channels: its {role} has {list(weights[role].shape)}")


def _column(value: Array | float) -> Array:
    """One value a group, beside the channels of the group."""
    return np.asarray(value)[..., None]


def _epsilon(settings: Settings) -> float:
    epsilon = settings["epsilon"]
    if not isinstance(epsilon, int | float):
        raise UsageError(f"epsilon must be a number, found {epsilon!r}")
    return epsilon

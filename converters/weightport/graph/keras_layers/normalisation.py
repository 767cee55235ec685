"""Normalisation, as a trained model does it."""

from __future__ import annotations

from typing import Any

from ..keras_call import Call, Nested, translates


@translates("BatchNormalization", "SyncBatchNormalization")
def batch_norm(call: Call) -> Nested:
    """By the moving statistics of one axis."""
    x = call.x
    axes = _axes(call, x.rank)
    if len(axes) != 1:
        raise call.refused(f"normalises the axes {axes} together; only one axis is supported")
    weights = call.own_weights("moving_mean", "moving_variance", "gamma", "beta")
    layout = call.weights.layout(call.name, "batch_norm")
    return call.add("batch_norm", [x], {"axis": axes[0], "epsilon": _epsilon(call)}, weights=weights, layout=layout)


@translates("LayerNormalization")
def layer_norm(call: Call) -> Nested:
    """By the statistics of each sample over some axes."""
    x = call.x
    if call.config.get("rms_scaling"):
        raise call.refused("rms_scaling is not supported")
    settings = {"axes": _axes(call, x.rank), "epsilon": _epsilon(call)}
    return call.add("layer_norm", [x], settings, weights=call.optional_weights("gamma", "beta"))


@translates("RMSNormalization")
def rms_norm(call: Call) -> Nested:
    """By the root of the mean square."""
    x = call.x
    settings = {"axes": _axes(call, x.rank), "epsilon": call.config.get("epsilon", 1e-6)}
    return call.add("rms_norm", [x], settings, weights=call.optional_weights("scale"))


@translates("GroupNormalization")
def group_norm(call: Call) -> Nested:
    """By the statistics of groups of channels."""
    x = call.x
    axis = _axes(call, x.rank)[0]
    channels = x.shape[axis]
    groups = call.config.get("groups", 32)
    settings = {"axis": axis, "groups": channels if groups == -1 else groups, "epsilon": _epsilon(call)}
    return call.add("group_norm", [x], settings, weights=call.optional_weights("gamma", "beta"))


@translates("UnitNormalization")
def unit_norm(call: Call) -> Nested:
    """To length one."""
    return call.add("unit_norm", [call.x], {"axes": _axes(call, call.x.rank)})


def _epsilon(call: Call) -> float:
    return float(call.config.get("epsilon", 1e-3))


def _axes(call: Call, rank: int) -> tuple[int, ...]:
    axis: Any = call.config.get("axis", -1)
    axes = [axis] if isinstance(axis, int) else list(axis)
    return tuple(sorted(one % rank for one in axes))

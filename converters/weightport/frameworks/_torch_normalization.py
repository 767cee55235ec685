"""The normalisation modules of torch.nn: their kinds and settings. Source: torch/nn/modules/{batchnorm,instancenorm,
normalization}.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..checkpoint import Setting

KIND_OF_MODULE = {
    "BatchNorm1d": "batch_norm",
    "BatchNorm2d": "batch_norm",
    "BatchNorm3d": "batch_norm",
    "SyncBatchNorm": "batch_norm",
    "InstanceNorm1d": "group_norm",
    "InstanceNorm2d": "group_norm",
    "InstanceNorm3d": "group_norm",
    "GroupNorm": "group_norm",
    "LayerNorm": "layer_norm",
    "RMSNorm": "rms_norm",
}


def described(module: Any, class_name: str) -> dict[str, Any]:
    """What a live normalisation says of itself.

    An InstanceNorm that keeps running values normalises by them, as a batch norm does, once it is trained."""
    is_running = class_name.startswith("InstanceNorm") and module.track_running_stats
    kind = "batch_norm" if is_running else KIND_OF_MODULE[class_name]
    notes = ["normalises each sample by itself when it trains"] if is_running else []
    return {"kind": kind, "settings": dict(_settings(module, kind)), "notes": notes}


def _settings(module: Any, kind: str) -> Iterator[tuple[str, Setting]]:
    yield "epsilon", _epsilon(module)
    if kind == "batch_norm" and module.momentum is not None:
        yield "momentum", 1 - module.momentum
    if kind == "group_norm":
        yield "groups", getattr(module, "num_groups", None) or module.num_features


def _epsilon(module: Any) -> float:
    """RMSNorm without an epsilon uses that of its dtype."""
    if module.eps is not None:
        return float(module.eps)
    import torch

    return float(torch.finfo(module.weight.dtype).eps)

"""Functions that PyTorch does not have under one name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def hard_sigmoid(x: Tensor) -> Tensor:
    """The hard sigmoid of Keras 1 and 2; that of ``torch.nn`` has the slope 1/6."""
    return (0.2 * x + 0.5).clamp(0, 1)


def identity(x: Tensor) -> Tensor:
    """No activation."""
    return x


def sparse_plus(x: Tensor) -> Tensor:
    """Nothing below -1, x above 1, and a parabola between."""
    return torch.where(x < 1, (x + 1).clamp(min=0).square() / 4, x)


def bent_relu(
    x: Tensor,
    negative_slope: float = 0.0,
    threshold: float = 0.0,
    max_value: float | None = None,
) -> Tensor:
    """ReLU from a threshold on, with a slope below it and a ceiling."""
    y = torch.where(x >= threshold, x, negative_slope * (x - threshold))
    return y if max_value is None else y.clamp(max=max_value)


def pad_same(
    x: Tensor, size: Sequence[int], stride: Sequence[int], value: float = 0.0
) -> Tensor:
    """Borders with which windows of that reach give ceil(length / stride) places.

    x is (batch, channels, ...). Where the amount is odd, there is one more at the end.
    """
    amounts: list[int] = []
    for length, reach, step in zip(x.shape[2:], size, stride, strict=True):
        total = max((-(-length // step) - 1) * step + reach - length, 0)
        amounts = [total // 2, total - total // 2, *amounts]
    return nn.functional.pad(x, amounts, value=value)


def average_pool_same(x: Tensor, size: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Means of windows over x (batch, channels, ...); the borders are not counted."""
    pool = {1: nn.functional.avg_pool1d, 2: nn.functional.avg_pool2d}
    pool[3] = nn.functional.avg_pool3d
    average = pool[len(size)]
    counts = pad_same(torch.ones_like(x), size, stride)
    total = average(pad_same(x, size, stride), size, stride)
    return total / average(counts, size, stride)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """The mean over time of x (batch, time, features) where mask is set."""
    weights = mask.to(x.dtype).unsqueeze(-1)
    return (x * weights).sum(1) / weights.sum(1)

"""Interpolations that PyTorch does not have, as products with a matrix an axis."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def resize(
    x: Tensor, size: tuple[int, int], kernel: Callable[[Tensor], Tensor]
) -> Tensor:
    """Interpolate x (batch, channels, height, width) to another height and width.

    ``kernel`` gives the weight of a pixel by its distance; weights add up to one.
    """
    rows, columns = (
        interpolation(length, wanted, kernel).to(x)
        for length, wanted in zip(x.shape[2:], size, strict=True)
    )
    return rows @ x @ columns.mT


def interpolation(
    length: int, wanted: int, kernel: Callable[[Tensor], Tensor]
) -> Tensor:
    """The weights (wanted, length) of pixels, which are squares with a centre."""
    centres = (torch.arange(wanted, dtype=torch.float64) + 0.5) * length / wanted
    pixels = torch.arange(length, dtype=torch.float64) + 0.5
    weights = kernel((pixels - centres.unsqueeze(1)).abs())
    return weights / weights.sum(1, keepdim=True)


def cubic(distance: Tensor) -> Tensor:
    """The kernel of Keys, by a table of 1,024 places as in TensorFlow."""
    x = (distance * 1024).round() / 1024
    near = (1.5 * x - 2.5) * x.square() + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def lanczos3(distance: Tensor) -> Tensor:
    """A sinc in the window of a wider one, three pixels to each side."""
    return torch.where(distance < 3, torch.sinc(distance) * torch.sinc(distance / 3), 0)


def lanczos5(distance: Tensor) -> Tensor:
    """A sinc in the window of a wider one, five pixels to each side."""
    return torch.where(distance < 5, torch.sinc(distance) * torch.sinc(distance / 5), 0)

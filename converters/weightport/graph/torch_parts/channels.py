"""Layers that want the channels at axis 1, for values that have them last."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def channels_last(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Run a layer of (batch, channels, ...) on x (batch, ..., channels).

    Nothing is copied: convolutions run on such views as they are.
    """
    return layer(x.movedim(-1, 1)).movedim(1, -1)

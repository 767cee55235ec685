"""Interpolation by a kernel, as a product with a matrix an axis: TensorFlow's, which no operator of ONNX computes.

``torch_parts/resizing.py`` has the same for PyTorch source (tensorflow/core/kernels/image/scale_and_translate_op.cc and
resize_bicubic_op.cc).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..checkpoint import Array


def pixel_weights(length: int, wanted: int, method: str) -> Array:
    """The weights ``(wanted, length)`` of pixels, which are squares with a centre; each row adds up to one."""
    centres = (np.arange(wanted) + 0.5) * length / wanted
    pixels = np.arange(length) + 0.5
    weights = KERNELS[method](np.abs(pixels - centres[:, None]))
    made: Array = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return made


def _cubic(distance: Array) -> Array:
    """The kernel of Keys, by a table of 1,024 places."""
    x = np.round(distance * 1024) / 1024
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _lanczos(radius: int, distance: Array) -> Array:
    """A sinc in the window of a wider one."""
    return np.where(distance < radius, np.sinc(distance) * np.sinc(distance / radius), 0.0)


KERNELS: Mapping[str, Callable[[Array], Array]] = {
    "cubic": _cubic,
    "lanczos3": lambda distance: _lanczos(3, distance),
    "lanczos5": lambda distance: _lanczos(5, distance),
}
"""The weight of a pixel by its distance."""

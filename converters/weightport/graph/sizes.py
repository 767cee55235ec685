"""Sizes along one axis: what a window makes of a length, and how much padding that takes. A free length is None."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..errors import RefusedError
from .operations import Shape


def spread(kernel: int, dilation: int) -> int:
    """The number of elements that a dilated window reaches over."""
    return (kernel - 1) * dilation + 1


def windows(length: int | None, kernel: int, stride: int, dilation: int, padding: str) -> int | None:
    """How many windows fit, None for a free length."""
    if length is None:
        return None
    if padding in ("same", "causal"):
        return -(-length // stride)
    return max(0, (length - spread(kernel, dilation)) // stride + 1)


def padding_amounts(
    length: int | None, kernel: int, stride: int, dilation: int, padding: str
) -> tuple[int, int] | None:
    """How many elements ``padding`` adds before and after; None where that depends on a free length.

    ``same`` is Keras' (and TensorFlow's): as few as are needed, the odd one after."""
    reach = spread(kernel, dilation)
    if padding == "causal":
        return reach - 1, 0
    if padding != "same" or reach == 1:
        return 0, 0
    if length is None and stride > 1:
        return None
    total = max(0, reach - 1 if stride == 1 else (-(-(length or 0) // stride) - 1) * stride + reach - (length or 0))
    return total // 2, total - total // 2


def transposed_cut(
    kernel: int, stride: int, dilation: int, padding: str, output_padding: int | None
) -> tuple[int, int]:
    """How many elements Keras cuts from the beginning and the end of a full transposed convolution, which makes
    ``(length - 1) * stride + reach`` of them; where it is less than none, zeros are added.

    (keras/src/backend/common/backend_utils.py, compute_conv_transpose_output_crops_for_torch)"""
    reach = spread(kernel, dilation)
    if padding == "valid":
        added = max(reach, stride) - reach if output_padding is None else output_padding
        return 0, -added
    total = stride + reach - 2 if output_padding is None else reach + reach % 2 - 2 + output_padding
    before = min(total // 2 + total % 2, reach - 1)
    return reach - 1 - before, reach - 1 - (total - before)


def transposed_length(
    length: int | None, kernel: int, stride: int, dilation: int, padding: str, output_padding: int | None
) -> int | None:
    """The length that a transposed convolution makes, None of a free one."""
    if length is None:
        return None
    cut = transposed_cut(kernel, stride, dilation, padding, output_padding)
    return (length - 1) * stride + spread(kernel, dilation) - sum(cut)


def product(sizes: Sequence[int | None]) -> int | None:
    """The product of sizes, None where any is free."""
    known = [size for size in sizes if size is not None]
    return prod(known) if len(known) == len(sizes) else None


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape of elementwise arithmetic, by NumPy's rules. A free size gives way to a known one other than 1.

    Raises RefusedError where the shapes do not fit one another."""
    rank = max(map(len, shapes))
    aligned = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(_broadcast_size(sizes, shapes) for sizes in zip(*aligned, strict=True))


def _broadcast_size(sizes: Sequence[int | None], shapes: Sequence[Shape]) -> int | None:
    known = {size for size in sizes if size not in (None, 1)}
    if len(known) > 1:
        raise RefusedError(f"shapes {', '.join(map(str, shapes))} do not fit one another")
    if known:
        return known.pop()
    return None if None in sizes else 1

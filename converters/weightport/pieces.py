"""Cutting a large move into pieces that can be carried out side by side."""

from __future__ import annotations

from dataclasses import replace

from .notation import Block
from .plan import Move

PIECE_BYTES = 1 << 22
"""About what one piece reads. Smaller pieces cost more in threads than they save."""


def pieces(move: Move, itemsize: int) -> list[Move]:
    """The move, cut along the axis that lies widest apart in its source, so that each piece reads one run of it.

    A move that fills with a constant, computes from several blocks or regroups rows stays whole."""
    if len(move.sources) != 1 or move.target.regroup or move.sources[0].block.regroup:
        return [move]
    source = move.sources[0]
    count = source.block.size * itemsize // PIECE_BYTES
    if count < 2:
        return [move]
    name, size, _ = max(source.block.axes, key=lambda axis: (axis[1] > 1, axis[2]))
    step = -(-size // count)
    return [_piece(move, name, start, min(step, size - start)) for start in range(0, size, step)]


def _piece(move: Move, axis: str, start: int, size: int) -> Move:
    source = move.sources[0]
    return replace(
        move,
        target=_part(move.target, axis, start, size),
        sources=(replace(source, block=_part(source.block, axis, start, size)),),
    )


def _part(block: Block, axis: str, start: int, size: int) -> Block:
    stride = next(stride for name, _, stride in block.axes if name == axis)
    axes = tuple((name, size if name == axis else whole, step) for name, whole, step in block.axes)
    return Block(block.offset + start * stride, axes)

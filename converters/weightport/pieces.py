"""Cutting large moves into pieces that are carried out side by side, each from a few runs of one source tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from math import prod
from typing import TypeAlias

from .notation import Block
from .plan import Move

PIECE_BYTES = 1 << 22
"""About what one piece reads. Smaller pieces cost more in threads than they save."""
SOURCE_RUN, TARGET_RUN = 1 << 12, 1 << 6
"""So many elements in a row are read, and written, about as fast as any more."""
GAP = 1 << 14
"""So many elements between two runs are read with them: that costs less than to read twice."""

Rows: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Piece:
    """Parts of moves, and the elements of their source that they need: a run of ``length`` from ``first`` on, and the
    same again at each place of ``rows``, which are (number, elements from one to the next), outermost first."""

    first: int
    length: int
    rows: Rows
    moves: tuple[Move, ...]

    @property
    def size(self) -> int:
        """The number of elements in all runs."""
        return self.length * prod(number for number, _ in self.rows)

    def runs(self) -> Iterator[tuple[int, int]]:
        """Where each run begins, and how long it is. Runs that follow one another are one."""
        length, rows = self.length, list(self.rows)
        while rows and rows[-1][1] == length:
            length *= rows.pop()[0]
        for places in product(*(range(number) for number, _ in rows)):
            yield self.first + sum(at * step for at, (_, step) in zip(places, rows, strict=True)), length

    def gathered(self) -> Iterator[Move]:
        """The moves as they are where the source is these runs alone, one after the other."""
        steps, length = {}, self.length
        for number, step in reversed(self.rows):
            steps[step] = length
            length *= number
        for move in self.moves:
            block = move.sources[0].block
            axes = tuple((name, size, steps.get(step, step)) for name, size, step in block.axes)
            yield _from_block(move, Block(block.offset - self.first, axes))


def can_be_cut(move: Move) -> bool:
    """Whether a move reads one block as it lies. One that fills with a constant, computes from several blocks, regroups
    rows or reads from the end to the start stays whole."""
    if len(move.sources) != 1 or move.target.regroup or move.sources[0].block.regroup:
        return False
    return all(stride >= 0 for _, _, stride in move.sources[0].block.axes)


def pieces(moves: Sequence[Move], itemsize: int) -> list[Piece]:
    """Moves from one source tensor, cut so that no piece reads more than ``PIECE_BYTES``. Parts that read neighbouring
    elements (the gates of the same rows) are one piece."""
    limit = max(PIECE_BYTES // itemsize, 1)
    parts = [part for move in moves for part in _cut(move, limit)]
    joined: list[Piece] = []
    for part in sorted(parts, key=lambda part: (part.rows, part.first)):
        last = joined[-1] if joined else None
        whole = _union(last, part) if last and last.rows == part.rows else None
        if whole and whole.size <= limit:
            joined[-1] = whole
        else:
            joined.append(part)
    return joined


def _union(one: Piece, other: Piece) -> Piece:
    """Both pieces, of which ``other`` does not begin before ``one``."""
    length = max(one.length, other.first - one.first + other.length)
    return Piece(one.first, length, one.rows, (*one.moves, *other.moves))


def _cut(move: Move, limit: int) -> Iterator[Piece]:
    """The move in parts that read at most ``limit`` elements."""
    whole = _reading(move)
    if whole.size <= limit:
        yield whole
        return
    axes = [axis for axis in move.sources[0].block.axes if axis[1] > 1]
    steps = {name: max(size * limit // whole.size, 1) for name, size, _ in axes}
    name, size, _ = max(axes, key=partial(_quality, move, steps, limit))
    for start in range(0, size, steps[name]):
        yield from _cut(_part(move, name, start, min(steps[name], size - start)), limit)


def _quality(move: Move, steps: Mapping[str, int], limit: int, axis: tuple[str, int, int]) -> tuple[float, int]:
    """How well a move can be cut along an axis: the runs on both sides should stay long. Of several that are as good,
    the one that lies widest apart in the source is the best."""
    name, _, stride = axis
    if move.target.size <= limit:  # what remains to be cut away is gaps
        return 1.0, stride
    in_target = next(abs(step) for other, _, step in move.target.axes if other == name)
    return min(stride * steps[name] / SOURCE_RUN, in_target * steps[name] / TARGET_RUN, 1.0), stride


def _part(move: Move, axis: str, start: int, size: int) -> Move:
    part = replace(move, target=_part_of(move.target, axis, start, size))
    return _from_block(part, _part_of(move.sources[0].block, axis, start, size))


def _from_block(move: Move, block: Block) -> Move:
    return replace(move, sources=(replace(move.sources[0], block=block),))


def _part_of(block: Block, axis: str, start: int, size: int) -> Block:
    stride = next(stride for name, _, stride in block.axes if name == axis)
    axes = tuple((name, size if name == axis else whole, step) for name, whole, step in block.axes)
    return Block(block.offset + start * stride, axes)


def _reading(move: Move) -> Piece:
    """One move, and what it reads."""
    block = move.sources[0].block
    length, rows = 1, list[tuple[int, int]]()
    for _, size, stride in sorted(block.axes, key=lambda axis: axis[2]):
        if size > 1 and (rows or stride - length > GAP):
            rows.append((size, stride))
        else:
            length += (size - 1) * stride
    return Piece(block.offset, length, tuple(reversed(rows)), (move,))

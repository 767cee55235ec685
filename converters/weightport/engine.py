"""The engine: carries out moves on arrays, one target tensor at a time. It knows blocks, not layers.

Plain copies move bits: the dtype is only looked at where a block is computed (a sum, a sign, a constant) or cast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import groupby
from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .checkpoint import Array, DType, Stored, in_memory
from .errors import RefusedError
from .memory import Scratch
from .notation import Block
from .pieces import Piece, can_be_cut, pieces
from .plan import LayerPlan, Move, Plan, Requirement, TensorPlan
from .threads import side_by_side

Read = Callable[[str], Array]
Locate = Callable[[str], Array | Stored]
TILE = 256
SMALLEST_TILE = 16
PAD = 8
LONG_ROW = 64
SMALL_BYTES = 1 << 18

_scratch = Scratch()


def settle(plan: Plan, read: Read) -> Plan:
    """Look at the values that decide verdicts: the terms of sums, and the blocks that must be of one value.

    A sum whose other terms are all zero becomes a plain copy. Raises RefusedError listing every requirement that
    does not hold."""
    problems = [
        f"{' + '.join(layer.sources)} ({need.tensor}): {need.reason}"
        for layer in plan.layers
        for need in layer.requirements
        if not _holds(need, read)
    ]
    if problems:
        raise RefusedError("the target cannot hold these weights", list(dict.fromkeys(problems)))
    return Plan(tuple(_settle_layer(layer, read) for layer in plan.layers))


def execute(tensor: TensorPlan, locate: Locate, memory: Array) -> None:
    """Fill ``memory`` (C-contiguous, of the plan's shape and dtype) with one target tensor.

    Of a source that is stored in a file, only the elements that are needed are read, a piece at a time."""
    if memory.shape != tensor.shape or memory.dtype != tensor.dtype or not memory.flags.c_contiguous:
        raise ValueError(f"{tensor.name}: the memory is not a contiguous {tensor.dtype}{list(tensor.shape)}")
    read = cache(partial(_whole, locate))
    moves = [move for move in tensor.moves if move.target.size]
    for source, group in groupby(moves, key=lambda move: move.sources[0].tensor if can_be_cut(move) else None):
        if source is None:
            for move in group:
                _carry_out_whole(move, read, memory)
        else:
            found = locate(source)
            if isinstance(found, np.ndarray):
                found = _contiguous(found)
            side_by_side([partial(_carry_out_piece, p, found, memory) for p in pieces([*group], found.dtype.itemsize)])


def strided(array: Array, block: Block, axes: Sequence[str] | None = None) -> Array:
    """The block of a C-contiguous array, its axes in the block's order or in the order of ``axes``.

    It is a view, but for a block whose rows are regrouped: that one is a copy."""
    names = block.names
    stored = _rows(array, block)
    if block.regroup:
        stored = np.ascontiguousarray(stored).reshape([size for _, size in block.regroup])
    return stored if axes is None else stored.transpose([names.index(name) for name in axes])


def _rows(array: Array, block: Block) -> Array:
    """The block as it lies in the array, as a view."""
    order = [(size, stride) for _, size, stride in block.axes]
    reach = [(size - 1) * stride for size, stride in order]
    first, last = (block.offset + sum(way for way in reach if (way > 0) == forward) for forward in (False, True))
    if block.size and not 0 <= first <= last < array.size:
        raise ValueError(f"a block reaches from element {first} to {last} of an array of {array.size}")
    flat = array.reshape(-1)[block.offset if block.size else 0 :].view(_bits(array.dtype))
    strides = tuple(stride * array.itemsize for _, stride in order)
    strided_bits = as_strided(flat, shape=tuple(size for size, _ in order), strides=strides)
    return strided_bits.view(array.dtype)  # as_strided itself does not know every dtype


def _settle_layer(layer: LayerPlan, read: Read) -> LayerPlan:
    tensors = [replace(t, moves=tuple(_settle_move(move, read) for move in t.moves)) for t in layer.tensors]
    return replace(layer, tensors=tuple(tensors))


def _settle_move(move: Move, read: Read) -> Move:
    if len(move.sources) < 2:
        return move
    kept = [source for source in move.sources if _any_nonzero(strided(_contiguous(read(source.tensor)), source.block))]
    return replace(move, sources=tuple(kept or move.sources[:1]))


def _holds(need: Requirement, read: Read) -> bool:
    block = strided(_contiguous(read(need.tensor)), need.block)
    return not _any_nonzero(block) if need.value == 0 else bool(np.all(block.astype(np.float64) == need.value))


def _any_nonzero(block: Array) -> bool:
    return bool(np.any(block != block.dtype.type(0)))


def _whole(locate: Locate, name: str) -> Array:
    return _contiguous(in_memory(locate(name)))


def _contiguous(array: Array) -> Array:
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def _carry_out_piece(piece: Piece, source: Array | Stored, memory: Array) -> None:
    if isinstance(source, np.ndarray):
        elements, moves = source, iter(piece.moves)
    else:
        elements, moves = _gather(piece, source), piece.gathered()
    for move in moves:
        _carry_out(move, lambda _: elements, strided(memory, move.target))


def _gather(piece: Piece, source: Stored) -> Array:
    """The piece's runs, one after the other, in memory that the thread uses again for the next."""
    elements, at = _scratch.array((piece.size,), source.dtype), 0
    for first, length in piece.runs():
        source.read_run(first, elements[at : at + length])
        at += length
    return elements


def _carry_out_whole(move: Move, read: Read, memory: Array) -> None:
    if move.target.regroup:
        _carry_out_regrouped(move, read, memory)
    else:
        _carry_out(move, read, strided(memory, move.target))


def _carry_out_regrouped(move: Move, read: Read, memory: Array) -> None:
    """Make the block in memory of its own, then lay its elements out along the target's rows."""
    made = np.empty([size for _, size in move.target.regroup], memory.dtype)
    _carry_out(move, read, made)
    rows = _rows(memory, move.target)
    rows[...] = made.reshape(rows.shape)


def _carry_out(move: Move, read: Read, target: Array) -> None:
    axes = move.target.names
    if not move.sources:
        target[...] = np.asarray(move.constant).astype(target.dtype)
        return
    source = move.sources[0]
    first = strided(read(source.tensor), source.block, axes)
    if not move.folds and source.sign == 1:
        copy(first, target)
    elif not move.folds and first.dtype == target.dtype:
        np.negative(first, out=target)
    else:
        total = _wide(first) * source.sign
        for other in move.sources[1:]:
            total = total + _wide(strided(read(other.tensor), other.block, axes)) * other.sign
        target[...] = (total + move.constant).astype(target.dtype) if move.constant else total.astype(target.dtype)


def _wide(block: Array) -> Array:
    """The block in float64, where the sum of two narrower values is exact before it is rounded once."""
    return block.astype(np.float64)


def copy(source: Array, target: Array) -> None:
    """Copy (and cast, where the dtypes differ) between two views of one shape, whatever their strides.

    Where rows of one are columns of the other, a plain assignment walks one of them against its cache lines;
    square tiles keep both within the cache.
    """
    if source.dtype == target.dtype:
        bits = _bits(source.dtype)
        source, target = source.view(bits), target.view(bits)
    source, target = source.squeeze(), target.squeeze()  # the strides of axes of one element say nothing
    if source.ndim < 2 or source.nbytes < SMALL_BYTES or _same_order(source, target):
        np.copyto(target, source, casting="unsafe")
        return
    _copy_tiles(source, target)


def _bits(dtype: DType) -> DType:
    """The unsigned integer of the same width, so that a copy moves bits whatever they mean."""
    return np.dtype(f"u{dtype.itemsize}") if dtype.itemsize in {1, 2, 4, 8} else dtype


def _same_order(source: Array, target: Array) -> bool:
    """Whether the axis with the smallest stride is the same on both sides."""
    return _fastest(source) == _fastest(target)


def _fastest(array: Array) -> int:
    return int(np.argmin(np.abs(array.strides)))


def _copy_tiles(source: Array, target: Array) -> None:
    """Copy tile by tile through a buffer that is laid out as the source is.

    The buffer's rows are longer than a tile's by PAD: rows that are a power of two apart would all fall into the same
    few sets of the cache. Figures of the variants: ``tests/benchmarks/copies.py``."""
    fast = _fastest(target), _fastest(source)
    source, target = (np.moveaxis(array, fast, (-2, -1)) for array in (source, target))
    *leading, rows, columns = source.shape
    height, width = _tile(prod(leading), rows, columns)
    buffer = _buffer_like(source, (*leading, height, width))
    for row in range(0, rows, height):
        for column in range(0, columns, width):
            tile = (..., slice(row, row + height), slice(column, column + width))
            part = source[tile]
            held = buffer[..., : part.shape[-2], : part.shape[-1]]
            np.copyto(held, part)
            np.copyto(target[tile], held, casting="unsafe")


def _buffer_like(source: Array, shape: Sequence[int]) -> Array:
    """An uninitialised array whose axes lie in memory as the source's do, its rows padded where they are long."""
    order = sorted(range(source.ndim), key=lambda axis: -abs(source.strides[axis]))
    lengths = [shape[axis] for axis in order]
    padded = [*lengths[:-1], lengths[-1] + (PAD if lengths[-1] >= LONG_ROW else 0)]
    buffer = np.empty(padded, source.dtype)[..., : lengths[-1]]
    return buffer.transpose([order.index(axis) for axis in range(source.ndim)])


def _tile(leading: int, rows: int, columns: int) -> tuple[int, int]:
    """Height and width of a tile whose elements, the leading axes' included, are about TILE x TILE."""
    height = min(rows, TILE)
    width = max(TILE * TILE // (height * leading), SMALLEST_TILE)
    if width > columns:
        height = min(rows, max(TILE * TILE // (columns * leading), SMALLEST_TILE))
    return height, min(width, columns)

"""Large moves are cut into pieces that are carried out side by side: the same bits, and little held at a time."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import weightport.pieces
from weightport import threads
from weightport.engine import execute, strided
from weightport.notation import Block
from weightport.pieces import pieces
from weightport.plan import Move, SourceBlock, TensorPlan
from weightport.threads import side_by_side

ROWS, COLUMNS = 40, 30


def turned(rows: int = ROWS, columns: int = COLUMNS) -> Move:
    """The move that turns a matrix of rows and columns."""
    stored = Block(0, (("in", rows, columns), ("out", columns, 1)))
    target = Block(0, (("out", columns, rows), ("in", rows, 1)))
    return Move("weight", target, (SourceBlock("kernel", stored),))


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([64, 256, 4096]))
@settings(deadline=None)
def test_the_pieces_of_a_move_cover_it_exactly_once(rows: int, columns: int, piece_bytes: int) -> None:
    source = np.arange(1, rows * columns + 1, dtype=np.float32).reshape(rows, columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weightport.pieces, "PIECE_BYTES", piece_bytes)
        cut = pieces(turned(rows, columns), source.itemsize)
    found = np.zeros((columns, rows), np.float32)
    for piece in cut:
        axes = piece.target.names
        strided(found, piece.target)[...] += strided(source, piece.sources[0].block, axes)
    np.testing.assert_array_equal(found, source.T)


def test_each_piece_reads_one_run_of_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weightport.pieces, "PIECE_BYTES", ROWS * COLUMNS * 4 // 5)
    cut = pieces(turned(), 4)
    ranges = [(p.sources[0].block.offset, p.sources[0].block.offset + p.sources[0].block.size) for p in cut]
    assert len(ranges) == 5
    assert [begin for begin, _ in ranges[1:]] == [end for _, end in ranges[:-1]]


def test_a_sum_and_a_constant_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weightport.pieces, "PIECE_BYTES", 64)
    move = turned()
    summed = Move("bias", move.target, (*move.sources, *move.sources))
    filled = Move("bias", move.target, (), 1.0)
    assert pieces(summed, 4) == [summed]
    assert pieces(filled, 4) == [filled]


def mapped(values: np.ndarray) -> np.ndarray:
    memory = mmap.mmap(-1, values.nbytes)
    array = np.ndarray(values.shape, values.dtype, buffer=memory)
    array[...] = values
    return array


@pytest.mark.parametrize(("make", "reads"), [(mapped, 5), (np.copy, 1)], ids=["mapped", "in memory"])
def test_a_large_mapped_source_is_let_go_after_each_piece(make: Any, reads: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(weightport.pieces, "PIECE_BYTES", ROWS * COLUMNS * 4 // 5)
    monkeypatch.setattr(weightport.engine, "KEPT_BYTES", 0)
    source = np.random.default_rng(3).random((ROWS, COLUMNS), np.float32)
    asked = []

    def read(name: str) -> np.ndarray:
        asked.append(name)
        return make(source)

    memory = np.empty((COLUMNS, ROWS), np.float32)
    execute(TensorPlan("weight", memory.shape, memory.dtype, (turned(),)), read, memory)
    np.testing.assert_array_equal(memory, source.T)
    assert asked == ["kernel"] * reads


@pytest.mark.parametrize("workers", [1, 2])
def test_actions_side_by_side_give_their_results_in_order_or_the_first_error(workers: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(threads, "WORKERS", workers)
    assert side_by_side([lambda: 1, lambda: 2, lambda: 3]) == [1, 2, 3]
    with pytest.raises(ZeroDivisionError):
        side_by_side([lambda: 1, lambda: 1 // 0, lambda: int("no")])

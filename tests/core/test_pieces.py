"""Large moves are cut into pieces that are carried out side by side: the same bits, and little held at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import weightport.pieces
from weightport import threads
from weightport.engine import execute
from weightport.notation import Block
from weightport.pieces import can_be_cut, pieces
from weightport.plan import Move, SourceBlock, TensorPlan
from weightport.threads import side_by_side

ROWS, COLUMNS = 40, 30


@dataclass(frozen=True)
class OnDisk:
    """A stored array that notes what is read of it; reading it whole is a mistake."""

    values: np.ndarray
    asked: list[tuple[int, int]] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def dtype(self) -> np.dtype:
        return self.values.dtype

    def read(self) -> np.ndarray:
        raise AssertionError("read whole")

    def read_run(self, first: int, memory: np.ndarray) -> None:
        self.asked.append((first, memory.size))
        memory[...] = self.values.reshape(-1)[first : first + memory.size]


def moves_of(sizes: dict[str, int], stored: list[str], wanted: list[str], apart: str | None) -> list[Move]:
    """The moves that bring a tensor's axes into another order, one for each place of the axis ``apart``."""

    def block(order: list[str], at: int) -> Block:
        strides = {name: prod(sizes[inner] for inner in order[i + 1 :]) for i, name in enumerate(order)}
        axes = tuple((name, sizes[name], strides[name]) for name in order if name != apart)
        return Block(at * strides[apart] if apart else 0, axes)

    places = range(sizes[apart] if apart else 1)
    return [Move("block", block(wanted, at), (SourceBlock("in", block(stored, at)),)) for at in places]


@st.composite
def problems(draw: st.DrawFn) -> tuple[dict[str, int], list[str], list[str], str | None]:
    sizes = {name: draw(st.integers(1, 9)) for name in draw(st.sampled_from(["ab", "abc", "abcd"]))}
    orders = (draw(st.permutations(list(sizes))) for _ in range(2))
    return sizes, *orders, draw(st.sampled_from([None, *list(sizes)[1:]]))


LIMITS = {"PIECE_BYTES": [32, 64, 400], "SOURCE_RUN": [1, 4, 64], "TARGET_RUN": [1, 8], "GAP": [0, 3, 20]}


@given(problems(), st.fixed_dictionaries({name: st.sampled_from(values) for name, values in LIMITS.items()}))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_any_cut_of_any_turn_gives_the_same_bits(problem: Any, limits: dict[str, int]) -> None:
    sizes, stored, wanted, apart = problem
    source = np.arange(1, prod(sizes.values()) + 1, dtype="f4").reshape([sizes[name] for name in stored])
    expected = source.transpose([stored.index(name) for name in wanted])
    moves = moves_of(sizes, stored, wanted, apart)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in limits.items():
            patch.setattr(weightport.pieces, name, value)
        for found in (source, OnDisk(source)):
            memory = np.zeros(expected.shape, "f4")
            execute(TensorPlan("out", memory.shape, memory.dtype, tuple(moves)), lambda _, found=found: found, memory)
            np.testing.assert_array_equal(memory, expected)


def turned(rows: int = ROWS, columns: int = COLUMNS) -> list[Move]:
    """The move that turns a matrix of rows and columns."""
    return moves_of({"in": rows, "out": columns}, ["in", "out"], ["out", "in"], None)


def test_each_piece_of_a_turned_matrix_reads_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weightport.pieces, "PIECE_BYTES", ROWS * COLUMNS * 4 // 5)
    cut = pieces(turned(), 4)
    runs = [run for piece in cut for run in piece.runs()]
    assert runs == [(ROWS * COLUMNS * at // 5, ROWS * COLUMNS // 5) for at in range(5)]


def test_the_gates_of_the_same_rows_are_read_together_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weightport.pieces, "PIECE_BYTES", 1 << 16)
    sizes = {"in": 100, "gate": 4, "unit": 64}
    cut = pieces(moves_of(sizes, ["in", "gate", "unit"], ["gate", "unit", "in"], "gate"), 4)
    assert len(cut) == 2
    assert all(len(piece.moves) == 4 for piece in cut)
    runs = [run for piece in cut for run in piece.runs()]
    assert runs == [(0, 64 * 4 * 64), (64 * 4 * 64, 36 * 4 * 64)]


def test_a_convolution_is_cut_so_that_each_piece_writes_whole_kernels() -> None:
    """Cut along its height and width, the pieces would write a few elements here and there."""
    sizes = {"kh": 3, "kw": 3, "in": 512, "out": 1024}
    cut = pieces(moves_of(sizes, list(sizes), ["out", "in", "kh", "kw"], None), 4)
    assert len(cut) > 4
    for piece in cut:
        (move,) = piece.moves
        assert {name: size for name, size, _ in move.target.axes if name in ("kh", "kw")} == {"kh": 3, "kw": 3}
        assert len(list(piece.runs())) == 9
        assert piece.size * 4 <= weightport.pieces.PIECE_BYTES


def test_no_piece_of_a_huge_tensor_holds_much() -> None:
    """One row alone may be larger than a piece."""
    for sizes in ({"in": 3, "out": 1 << 28}, {"kh": 3, "kw": 3, "in": 1 << 14, "out": 1 << 14}):
        names = list(sizes)
        cut = pieces(moves_of(sizes, names, names[::-1], None), 4)
        assert max(piece.size for piece in cut) * 4 <= weightport.pieces.PIECE_BYTES
        assert sum(piece.size for piece in cut) == prod(sizes.values())


def test_a_sum_and_a_constant_stay_whole() -> None:
    (move,) = turned()
    assert can_be_cut(move)
    assert not can_be_cut(Move("bias", move.target, (*move.sources, *move.sources)))
    assert not can_be_cut(Move("bias", move.target, (), 1.0))


def test_of_a_stored_tensor_only_what_is_needed_is_read() -> None:
    source = OnDisk(np.random.default_rng(3).random((3000, 40), np.float32))
    block = Block(1000 * 40, (("row", 1000, 40), ("column", 40, 1)))
    move = Move("middle", Block(0, block.axes), (SourceBlock("in", block),))
    memory = np.empty((1000, 40), np.float32)
    execute(TensorPlan("out", memory.shape, memory.dtype, (move,)), lambda _: source, memory)
    np.testing.assert_array_equal(memory, source.values[1000:2000])
    assert source.asked == [(40_000, 40_000)]


@pytest.mark.parametrize("workers", [1, 2])
def test_actions_side_by_side_give_their_results_in_order_or_the_first_error(workers: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(threads, "WORKERS", workers)
    assert side_by_side([lambda: 1, lambda: 2, lambda: 3]) == [1, 2, 3]
    with pytest.raises(ZeroDivisionError):
        side_by_side([lambda: 1, lambda: 1 // 0, lambda: int("no")])

"""The engine moves bits and rounds once. Expected values are cut and turned by hand, with NumPy alone."""

from __future__ import annotations

import tracemalloc
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import weightport as wp
from weightport import RefusedError
from weightport.engine import copy, execute, settle, strided
from weightport.notation import Block
from weightport.plan import LayerPlan, Move, Plan, Requirement, SourceBlock, TensorPlan

IN, UNIT = 3, 5
FLOATS = ["float16", "float32", "float64", "bfloat16", "float8_e4m3fn", "float8_e5m2"]


def dtype_named(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))


def bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def same_bits(found: np.ndarray, expected: np.ndarray) -> bool:
    return found.dtype == expected.dtype and np.array_equal(bits(found), bits(expected))


def whole(*axes: tuple[str, int]) -> Block:
    """A whole C-contiguous tensor with these axes."""
    sizes = [size for _, size in axes]
    return Block(0, tuple((name, size, prod(sizes[i + 1 :])) for i, (name, size) in enumerate(axes)))


def filled(moves: list[Move], shape: tuple[int, ...], dtype: Any, sources: dict[str, np.ndarray]) -> np.ndarray:
    memory = np.empty(shape, dtype)
    execute(TensorPlan("out", shape, memory.dtype, tuple(moves)), sources.__getitem__, memory)
    return memory


# Copies.


@pytest.mark.parametrize("dtype", [*FLOATS, "int8", "int64"])
def test_copies_are_bit_exact(dtype: str, random_bits: Any) -> None:
    """NaN payloads, infinities, negative zeros and all: Keras' gates in columns become ONNX's in rows."""
    shapes = {"kernel": (IN, 20), "recurrent_kernel": (UNIT, 20), "bias": (20,)}
    keras = {name: random_bits(shape, dtype_named(dtype), seed) for seed, (name, shape) in enumerate(shapes.items())}
    onnx = wp.translate(keras, "keras.lstm", "onnx.lstm")
    order = [0, 3, 1, 2]  # input, output, forget, candidate
    assert same_bits(onnx["W"], keras["kernel"].reshape(IN, 4, UNIT)[:, order].transpose(1, 2, 0).reshape(1, 20, IN))
    assert same_bits(onnx["B"][0, :20], keras["bias"].reshape(4, UNIT)[order].reshape(-1))
    assert not bits(onnx["B"][0, 20:]).any()


def test_random_bits_have_what_a_careless_copy_loses(random_bits: Any) -> None:
    """The values of the tests above and below: NaNs with payloads, and a negative zero."""
    for name in FLOATS[:4]:
        with np.errstate(invalid="ignore"):
            assert np.isnan(random_bits((200, 200), dtype_named(name)).astype(np.float64)).any()
    tiny = random_bits((200, 200), dtype_named("float8_e5m2"))
    assert (bits(tiny) == 0x80).any()


def turned(draw: st.DrawFn, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array of that shape whose memory is in another order, with gaps, or runs backwards."""
    order = draw(st.permutations(range(len(shape))))
    gaps = [draw(st.sampled_from([1, 1, 2, -1])) for _ in shape]
    memory = np.zeros([shape[axis] * abs(gaps[axis]) for axis in order], dtype_named(name))
    view = memory.transpose(np.argsort(order))
    return view[tuple(slice(None, None, gap) for gap in gaps)]


@st.composite
def two_views(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    lengths = st.sampled_from([1, 1, 2, 3, 7, 63, 64, 65, 130])
    shape = tuple(draw(st.lists(lengths, min_size=1, max_size=4).filter(lambda sizes: prod(sizes) < 200_000)))
    name = draw(st.sampled_from(FLOATS))
    return turned(draw, name, shape), turned(draw, name, shape)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(two_views(), st.integers(0, 9))
def test_a_copy_between_any_two_memory_orders(views: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    source, target = views
    source[...] = (
        np.random.default_rng(seed)
        .integers(0, 256, (*source.shape, source.dtype.itemsize), np.uint8)
        .view(source.dtype)[..., 0]
    )
    copy(source, target)
    assert same_bits(target.copy(), source.copy())


@pytest.mark.parametrize(
    "shape", [(301, 1, 257), (1, 130, 1, 70), (65, 64, 63), (4097, 2), (2, 4097), (1, 5000), (0, 7)]
)
def test_transposed_copies_of_odd_shapes(shape: tuple[int, ...], random_bits: Any) -> None:
    source = random_bits(shape, np.float32)
    axes = [f"a{i}" for i in range(len(shape))]
    for turn in range(1, len(shape) + 1):
        order = np.roll(range(len(shape)), turn)
        target = tuple(shape[axis] for axis in order)
        move = Move(
            "block",
            whole(*((axes[axis], shape[axis]) for axis in order)),
            (SourceBlock("in", whole(*zip(axes, shape, strict=True))),),
        )
        assert same_bits(filled([move], target, np.float32, {"in": source}), source.transpose(order))


def test_a_source_that_is_not_contiguous(random_bits: Any) -> None:
    stored = random_bits((8, 2, 6), np.float32)
    move = Move("block", whole(("b", 6), ("a", 4)), (SourceBlock("in", whole(("a", 4), ("b", 6))),))
    assert same_bits(filled([move], (6, 4), np.float32, {"in": stored[::-2, 1]}), stored[::-2, 1].T)


def test_blocks_fill_the_memory_that_is_given_and_no_more_is_used(random_bits: Any) -> None:
    """A tensor is not made twice: two turned blocks of 8 MB each go straight into the output."""
    source = random_bits((1024, 4096), np.float32)
    blocks = [Block(start, (("a", 1024, 4096), ("b", 2048, 1))) for start in (0, 2048)]
    targets = [Block(start * 1024, (("b", 2048, 1024), ("a", 1024, 1))) for start in (2048, 0)]
    moves = [Move("half", target, (SourceBlock("in", block),)) for block, target in zip(blocks, targets, strict=True)]
    memory = np.empty((4096, 1024), np.float32)
    plan = TensorPlan("out", memory.shape, memory.dtype, tuple(moves))
    tracemalloc.start()
    execute(plan, lambda _: source, memory)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert same_bits(memory, np.concatenate([source.T[2048:], source.T[:2048]]))
    assert peak < memory.nbytes / 20


def test_rows_of_another_grouping(random_bits: Any) -> None:
    """CuDNNLSTM's blocks, there and back: (in, unit) places that hold the (unit, in) matrix row by row."""
    shapes = {"kernel": (IN, 20), "recurrent_kernel": (UNIT, 20), "bias": (20,)}
    keras = {name: random_bits(shape, np.float32, seed) for seed, (name, shape) in enumerate(shapes.items())}
    cudnn = wp.translate(keras, "keras.lstm", "keras_cudnn.lstm")
    for gate in range(4):
        columns = slice(gate * UNIT, (gate + 1) * UNIT)
        expected = np.ascontiguousarray(keras["kernel"][:, columns].T).reshape(IN, UNIT)
        assert same_bits(cudnn["kernel"][:, columns], expected)
    back = wp.translate(cudnn, "keras_cudnn.lstm", "keras.lstm")
    assert all(same_bits(back[name], keras[name]) for name in keras)


# Computed blocks.


@pytest.mark.parametrize("name", FLOATS)
def test_a_sum_is_rounded_once(name: str) -> None:
    dtype = dtype_named(name)
    one, other = (np.random.default_rng(seed).normal(size=40).astype(dtype) for seed in (1, 2))
    sources = tuple(SourceBlock(key, whole(("unit", 40))) for key in ("one", "other"))
    found = filled([Move("bias", whole(("unit", 40)), sources)], (40,), dtype, {"one": one, "other": other})
    expected = (one.astype(np.float64) + other.astype(np.float64)).astype(dtype)
    assert same_bits(found, expected)
    assert not np.array_equal(bits(found), bits(one))


def test_a_sum_of_three_is_not_rounded_in_between() -> None:
    """In float32 the small number would be lost to the large one before that is taken away again."""
    values = {"a": np.float32([2**24]), "b": np.float32([1]), "c": np.float32([2**24])}
    one = whole(("unit", 1))
    move = Move("bias", one, (SourceBlock("a", one), SourceBlock("b", one), SourceBlock("c", one, sign=-1)), 0.5)
    assert filled([move], (1,), np.float32, values) == 1.5


@pytest.mark.parametrize("name", FLOATS)
def test_a_turned_sign_keeps_every_other_bit(name: str, random_bits: Any) -> None:
    dtype = dtype_named(name)
    source = random_bits((64,), dtype)
    move = Move("weight", whole(("unit", 64)), (SourceBlock("in", whole(("unit", 64)), sign=-1),))
    found = filled([move], (64,), dtype, {"in": source})
    assert np.array_equal(bits(found) ^ bits(source), np.full(64, 1 << (8 * dtype.itemsize - 1), bits(source).dtype))


@pytest.mark.parametrize("name", [*FLOATS, "int64"])
def test_constants(name: str) -> None:
    dtype = dtype_named(name)
    moves = [Move("zeros", Block(0, (("unit", 2, 1),))), Move("ones", Block(2, (("unit", 3, 1),)), constant=1.0)]
    assert same_bits(filled(moves, (5,), dtype, {}), np.array([0, 0, 1, 1, 1]).astype(dtype))


def test_a_constant_is_added_once() -> None:
    source = np.float32([0.1, 0.2])
    block = whole(("unit", 2))
    found = filled([Move("bias", block, (SourceBlock("in", block),), 1.0)], (2,), np.float32, {"in": source})
    assert same_bits(found, (source.astype(np.float64) + 1.0).astype(np.float32))


@pytest.mark.parametrize(("narrow", "wide"), [("float16", "float32"), ("bfloat16", "float32"), ("float32", "float64")])
def test_a_cast_is_numpys(narrow: str, wide: str, values: Any) -> None:
    source = values((130, 70), 3, wide)
    move = Move("weight", whole(("b", 70), ("a", 130)), (SourceBlock("in", whole(("a", 130), ("b", 70))),))
    for dtype, array in ((dtype_named(narrow), source), (np.dtype(wide), source.astype(dtype_named(narrow)))):
        assert same_bits(filled([move], (70, 130), dtype, {"in": array}), array.T.astype(dtype))


# What the values decide.

BLOCK = whole(("unit", 2))
TERMS = (SourceBlock("one", BLOCK), SourceBlock("other", BLOCK))


def plan_of(moves: tuple[Move, ...] = (), requirements: tuple[Requirement, ...] = ()) -> Plan:
    tensor = TensorPlan("out", (2,), np.dtype("float32"), moves)
    return Plan((LayerPlan("lstm", ("ours",), ("theirs",), (tensor,), requirements),))


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [
        ([1, 2], [0, -0.0], ["one"]),
        ([0, 0], [1, 2], ["other"]),
        ([0, 0], [0, 0], ["one"]),
        ([1, 2], [0, 1e-45], ["one", "other"]),
        ([1, 2], [np.nan, 0], ["one", "other"]),
    ],
)
def test_a_sum_with_zeros_becomes_a_copy(one: Any, other: Any, kept: list[str]) -> None:
    arrays = {"one": np.float32(one), "other": np.float32(other)}
    settled = settle(plan_of((Move("bias", BLOCK, TERMS),)), arrays.__getitem__)
    (layer,), (tensor,) = settled.layers, settled.tensors
    assert [source.tensor for source in tensor.moves[0].sources] == kept
    assert layer.verdict == ("folded" if len(kept) == 2 else "exact")


@pytest.mark.parametrize(("value", "array"), [(0.0, [0, -0.0]), (-1.0, [-1, -1])])
def test_a_requirement_that_holds(value: float, array: Any) -> None:
    need = Requirement("bias", "in", BLOCK, value, "because")
    assert settle(plan_of(requirements=(need,)), lambda _: np.float32(array)).layers[0].requirements == (need,)


@pytest.mark.parametrize(("value", "array"), [(0.0, [0, 1e-45]), (0.0, [np.nan, 0]), (-1.0, [-1, -0.999])])
def test_a_requirement_that_does_not_hold_is_refused_with_its_reason(value: float, array: Any) -> None:
    need = Requirement("bias", "in", BLOCK, value, "the target has no place for it")
    with pytest.raises(RefusedError) as caught:
        settle(plan_of(requirements=(need, need)), lambda _: np.float32(array))
    assert caught.value.problems == ("ours (in): the target has no place for it",)


# Axes that are walked from their end to their start.


@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (1, 3, 2, 2), (40, 30, 50, 60)], ids=str)
@pytest.mark.parametrize("backwards", ["source", "target", "both"])
def test_a_kernel_is_turned_round_bit_for_bit(shape: tuple[int, ...], backwards: str, random_bits: Any) -> None:
    """As NumPy's flip over the first two axes, with the others turned, in pieces and in tiles, too."""
    stored = random_bits(shape, "float32")
    h, w, i, o = shape

    def block(plain: Block, turned: bool) -> Block:
        if not turned:
            return plain
        offset = sum((size - 1) * step for name, size, step in plain.axes if name in "hw")
        return Block(offset, tuple((name, size, -step if name in "hw" else step) for name, size, step in plain.axes))

    source = Block(0, (("h", h, w * i * o), ("w", w, i * o), ("i", i, o), ("o", o, 1)))
    target = Block(0, (("o", o, i * h * w), ("i", i, h * w), ("h", h, w), ("w", w, 1)))
    move = Move(
        "weight",
        block(target, backwards in ("target", "both")),
        (SourceBlock("in", block(source, backwards in ("source", "both"))),),
    )
    memory = np.empty((o, i, h, w), np.float32)
    execute(TensorPlan("out", memory.shape, memory.dtype, (move,)), {"in": stored}.__getitem__, memory)
    expected = (stored if backwards == "both" else stored[::-1, ::-1]).transpose(3, 2, 0, 1)
    assert memory.tobytes() == np.ascontiguousarray(expected).tobytes()


def test_a_turned_block_outside_its_array_is_never_touched() -> None:
    for turned in (Block(1, (("a", 3, -1),)), Block(4, (("a", 2, -1),))):
        with pytest.raises(ValueError, match="a block reaches from element"):
            strided(np.zeros(4), turned)


# Misuse by our own code is an error, not a crash.


def test_a_block_outside_its_array_is_never_touched() -> None:
    for block in (Block(3, (("a", 2, 1),)), Block(0, (("a", 3, 2),)), Block(-1, (("a", 1, 1),))):
        with pytest.raises(ValueError, match="a block reaches from element"):
            strided(np.zeros(4), block)


@pytest.mark.parametrize("memory", [np.zeros((2, 3)), np.zeros((3, 2), np.float32), np.zeros((2, 3)).T])
def test_memory_that_is_not_the_plans(memory: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"out: the memory is not a contiguous float64\[3, 2\]"):
        execute(TensorPlan("out", (3, 2), np.dtype("float64"), ()), {}.__getitem__, memory)

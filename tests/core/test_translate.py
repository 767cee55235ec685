"""One layer's arrays from any layout into any other: the target framework computes what the source framework does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, event, given, reject, settings
from hypothesis import strategies as st

import weightport as wp
from sample_sizes import fitting
from weightport import LayoutError, RefusedError, UsageError
from weightport.engine import execute, settle
from weightport.layouts import Layout, all_layouts, layout_named
from weightport.logical import logical_arrays
from weightport.plan import Plan
from weightport.planner import Part, plan_layer
from weightport.reference import run
from weightport.settings import unsupported
from weightport.views import View, view_for

BATCH, TIME = 3, 4
FRAMEWORKS = ("keras", "torch", "onnx")
PAIRS = list(product(FRAMEWORKS, FRAMEWORKS))
RECTANGLE = {"in": 3, "unit": 5, "hidden": 5}
SQUARE = {"in": 4, "unit": 4, "hidden": 4}
WEIGHTS = ("input_weight", "recurrent_weight")
BIASED = (*WEIGHTS, "bias")


def precision(*frameworks: str) -> tuple[str, float]:
    """ONNX Runtime has recurrent operators in float32 only."""
    return ("float32", 1e-5) if "onnx" in frameworks else ("float64", 1e-12)


# Real frameworks at both ends.


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("sizes", [RECTANGLE, SQUARE], ids=["rectangle", "square"])
@pytest.mark.parametrize(
    ("kind", "stated"),
    [("lstm", {}), ("gru", {"reset": "after"}), ("gru", {"reset": "before"}), ("rnn", {})],
    ids=["lstm", "gru after", "gru before", "rnn"],
)
def test_recurrent_layers(
    source: str, target: str, kind: str, stated: Any, sizes: Any, make_layer: Any, compute: Any, values: Any
) -> None:
    dtype, tolerance = precision(source, target)
    if stated.get("reset") == "before" and source == "torch":
        assert unsupported(layout_named("torch.gru"), stated)
        return
    for roles, directions in product((BIASED, WEIGHTS), (1, 2)):
        ours = make_layer(
            layout_named(f"{source}.{kind}"), sizes, roles, directions=directions, settings=stated, dtype=dtype
        )
        if stated.get("reset") == "before" and target == "torch":
            with pytest.raises(RefusedError, match=r"reset is before, and torch\.gru can only be after"):
                wp.translate(ours, f"{source}.{kind}", f"{target}.{kind}", **stated)
            continue
        theirs = wp.translate(ours, f"{source}.{kind}", f"{target}.{kind}", **stated)
        inputs = values((BATCH, TIME, sizes["in"]), 99, dtype)
        expected = compute(f"{source}.{kind}", ours, stated, inputs)
        found = compute(f"{target}.{kind}", theirs, stated, inputs)
        assert np.abs(found - expected).max() <= tolerance, (roles, directions)
        assert {array.dtype.name for array in theirs.values()} == {dtype}


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize(
    ("kind", "sizes", "shape", "stated"),
    [
        ("dense", {"out": 5, "in": 3}, (BATCH, 3), {"transB": 1}),
        ("dense", {"out": 4, "in": 4}, (BATCH, 4), {"transB": 1}),
        ("conv", {"out": 6, "in": 4, "...0": 3}, (BATCH, 9, 4), {}),
        ("conv", {"out": 6, "in": 4, "...0": 3, "...1": 2}, (BATCH, 7, 6, 4), {}),
        ("conv", {"out": 4, "in": 4, "...0": 2, "...1": 2}, (BATCH, 7, 6, 4), {}),
        ("conv", {"out": 6, "in": 2, "...0": 3, "...1": 2, "...2": 1}, (BATCH, 5, 4, 3, 4), {"groups": 2}),
        ("batch_norm", {"channel": 4}, (BATCH, 5, 4), {"epsilon": 0.02}),
        ("layer_norm", {"...0": 4}, (BATCH, 5, 4), {"epsilon": 0.02}),
        ("layer_norm", {"...0": 5, "...1": 4}, (BATCH, 5, 4), {"epsilon": 0.02}),
    ],
)
def test_layers_without_a_state(
    source: str,
    target: str,
    kind: str,
    sizes: Any,
    shape: Any,
    stated: Any,
    make_layer: Any,
    compute: Any,
    values: Any,
) -> None:
    dtype, tolerance = precision(source, target)
    ours = make_layer(layout_named(f"{source}.{kind}"), sizes, settings=stated, dtype=dtype)
    storage = {name: value for name, value in stated.items() if name == "transB" and source == "onnx"}
    theirs = wp.translate(ours, f"{source}.{kind}", f"{target}.{kind}", storage=storage)
    inputs = values(shape, 99, dtype)
    expected = compute(f"{source}.{kind}", ours, stated, inputs)
    assert np.abs(compute(f"{target}.{kind}", theirs, stated, inputs) - expected).max() <= tolerance


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_embeddings(source: str, target: str, make_layer: Any, compute: Any) -> None:
    ours = make_layer(layout_named(f"{source}.embedding"), {"token": 4, "feature": 4}, dtype="float32")
    theirs = wp.translate(ours, f"{source}.embedding", f"{target}.embedding")
    tokens = np.array([[3, 0, 2], [1, 1, 3]])
    expected = compute(f"{source}.embedding", ours, {}, tokens)
    assert np.array_equal(compute(f"{target}.embedding", theirs, {}, tokens), expected)


# There and back.


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("directions", [1, 2])
def test_there_and_back_is_the_same_bits_where_one_bias_becomes_two(
    kind: str, directions: int, make_layer: Any, random_bits: Any
) -> None:
    stated = {"reset": "after"} if kind == "gru" else {}
    keras = layout_named(f"keras.{kind}")
    shapes = {n: a.shape for n, a in make_layer(keras, SQUARE, BIASED, directions=directions, settings=stated).items()}
    for other in ("torch", "onnx"):
        ours = {name: random_bits(shape, np.float32, seed) for seed, (name, shape) in enumerate(shapes.items())}
        back = wp.translate(
            wp.translate(ours, f"keras.{kind}", f"{other}.{kind}", **stated),
            f"{other}.{kind}",
            f"keras.{kind}",
            **stated,
        )
        assert all(np.array_equal(back[name].view("u4"), ours[name].view("u4")) for name in shapes)


def carry(source: View, target: View, arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str]:
    """The target's tensors, and the verdict."""
    ours, theirs = (
        Part(end, view, {name: name for name in view.shapes}) for end, view in (("a", source), ("b", target))
    )
    layer = plan_layer([ours], [theirs], {**source.settings, **target.settings}, lambda name: arrays[name].dtype)
    plan = settle(Plan((layer,)), arrays.__getitem__)
    made = {tensor.name: np.empty(tensor.shape, tensor.dtype) for tensor in plan.tensors}
    for tensor in plan.tensors:
        execute(tensor, arrays.__getitem__, made[tensor.name])
    return made, plan.layers[0].verdict


KINDS = {"lstm", "gru", "rnn", "mgu", "conv_lstm", "dense", "conv", "batch_norm", "multi_head_attention"}
"""Those whose layouts differ by more than names, and whose inputs follow from their sizes."""
LAYOUTS = [layout for layout in all_layouts().values() if layout.kind.name in KINDS]


@st.composite
def heads(draw: st.DrawFn) -> dict[str, int]:
    """The sizes of an attention: any, or such as PyTorch's has."""
    axes = ("head", "repeat", "key", "value", "query_in", "key_in", "value_in", "output", "feature")
    sizes = draw(st.fixed_dictionaries({axis: st.integers(1, 4) for axis in axes}))
    if draw(st.booleans()):
        features = sizes["head"] * sizes["key"]
        sizes |= {"repeat": 1, "value": sizes["key"], "query_in": features, "output": features}
    if draw(st.booleans()):
        sizes |= {"key_in": sizes["query_in"], "value_in": sizes["query_in"]}
    return sizes


@st.composite
def pairs_of_layers(draw: st.DrawFn) -> tuple[View, Layout, dict[str, Any]]:
    """A layer of any sizes in any layout, another layout of its kind, and settings that the first one can have."""
    source = draw(st.sampled_from(LAYOUTS))
    kind = source.kind
    target = draw(st.sampled_from([layout for layout in LAYOUTS if layout.kind is kind]))
    usual = [
        role.name for role in kind.roles.values() if role.needed or (role.name == "bias" and draw(st.integers(0, 3)))
    ]
    rare = [role.name for role in kind.roles.values() if role.name not in usual and draw(st.integers(0, 5)) == 0]
    counts = {"layer": draw(st.integers(1, 3)), "direction": draw(st.integers(1, 2))} if kind.counted else {}
    sizes = draw(st.fixed_dictionaries({axis: st.integers(1, 6) for axis in ("in", "unit", "out", "channel")}))
    sizes |= {one: sizes[other] for one, other in kind.equal.items()}
    sizes |= draw(heads()) | {"first": sizes["in"], "second": sizes["out"]}
    sizes |= {"channel": sizes["out"]} if kind.name == "conv_transpose" else {}
    for index in range(draw(st.integers(1, 2))):
        sizes[f"...{index}"] = sizes[f"...state{index}"] = draw(st.integers(1, 3))
    sizes = fitting(source, sizes)
    upper = {**sizes, "in": counts.get("direction", 1) * sizes.get("hidden", 1)}
    stated = {
        name: draw(st.sampled_from(source.settings.get(name, ("after", "before") if name == "reset" else (value,))))
        for name, value in kind.settings.items()
        if name != "direction"
    }
    for held in (counts, {**counts, "layer": 1}, {}):  # as many layers and directions as the layout can hold
        stacked = [upper if layer else sizes for layer in range(held.get("layer", 1))]
        try:
            return view_for(source, [*usual, *rare], held, stacked, stated), target, stated
        except RefusedError as error:
            refusal = str(error)
    assert re.search("has one size|cannot hold parts", refusal), f"{source.name} holds not even one layer"
    return reject()  # of sizes that this framework has not


def inputs_for(view: View, values: Any) -> np.ndarray:
    """Inputs of a shape that the kind takes."""
    kind, sizes = view.layout.kind.name, view.sizes[0]
    space = (6, 5)[: len([axis for axis in sizes if re.fullmatch(r"\.\.\.\d", axis)])]
    leading = {"dense": (), "batch_norm": (), **dict.fromkeys(("conv", "conv_transpose"), space)}
    leading |= {"conv_lstm": (TIME, *space)}
    features = {
        "batch_norm": ("channel",),
        "prelu": ("channel",),
        "bilinear": ("first", "second"),
        "multi_head_attention": ("query_in", "key_in", "value_in"),
    }
    return values((BATCH, *leading.get(kind, (TIME,)), sum(sizes[axis] for axis in features.get(kind, ("in",)))), 99)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(pairs_of_layers(), st.integers(0, 99))
def test_any_layer_in_any_layout_becomes_the_same_mathematics_in_any_other(
    values: Any, case: tuple[View, Layout, dict[str, Any]], seed: int
) -> None:
    """And comes back bit for bit where nothing was computed on the way; or is refused for what has no place."""
    source, target, stated = case
    assume(not unsupported(target, stated))
    arrays = {name: values(shape, seed + i) for i, (name, shape) in enumerate(source.shapes.items())}
    arrays |= {name: np.abs(array) for name, array in arrays.items() if "var" in name}
    try:
        goal = view_for(target, source.roles, source.counts, source.sizes, stated)
        carried, verdict = carry(source, goal, arrays)
    except RefusedError as error:
        assert source.layout is not target
        assert re.search(
            r"holds one|has one size|holds layers of one size|cannot hold parts|has no place for|the target has no",
            str(error),
        )
        event("refused")
        return
    kind, inputs = source.layout.kind.name, inputs_for(source, values)
    own = {
        **stated,
        "padding": "same",
        "direction": "bidirectional" if source.counts.get("direction") == 2 else "forward",
    }
    expected = run(kind, logical_arrays(source, arrays.__getitem__), own, inputs)
    found = run(kind, logical_arrays(goal, carried.__getitem__), own, inputs)
    assert np.abs(found - expected).max() <= 1e-12
    again, verdict_back = carry(goal, source, carried)
    event(f"{verdict}, {verdict_back} back")
    if verdict == verdict_back == "exact":
        incidental = {role.name for role in source.layout.kind.roles.values() if role.incidental}
        kept = {block.tensor for block in source.blocks if block.role not in incidental}
        assert all(np.array_equal(again[name].view("u8"), arrays[name].view("u8")) for name in kept & arrays.keys())


# What does not translate.

KERNEL, RECURRENT, BIAS = np.ones((3, 20)), np.ones((5, 20)), np.ones(20)
KERAS = {"kernel": KERNEL, "recurrent_kernel": RECURRENT, "bias": BIAS}


@pytest.mark.parametrize(
    ("source", "target", "stated", "error", "message"),
    [
        ("keras.lstm", "torch.gru", {}, UsageError, "keras.lstm and torch.gru are of two kinds"),
        ("keras.lstm", "torch.lstn", {}, UsageError, "no layout 'torch.lstn'; known are torch.lstm"),
        ("karas.lstm", "torch.lstm", {}, UsageError, "no layout 'karas.lstm'; known are"),
        ("torch.lstm", "keras.lstm", {}, LayoutError, "torch.lstm has no tensor 'kernel'; it has weight_ih_l{layer}"),
        (
            "keras.lstm",
            "torch.lstm",
            {"recurrent_activation": "hard_sigmoid"},
            RefusedError,
            "recurrent_activation is hard_sigmoid, and torch.lstm can only be sigmoid",
        ),
        (
            "keras.lstm",
            "keras2.lstm",
            {"recurrent_activation": "hard_sigmoid"},
            RefusedError,
            "recurrent_activation is hard_sigmoid, which keras2.lstm does not have",
        ),
    ],
)
def test_what_does_not_translate_is_told(
    source: str, target: str, stated: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        wp.translate(KERAS, source, target, **stated)


def test_one_activation_for_two_places() -> None:
    onnx = {"W": np.ones((1, 20, 3)), "R": np.ones((1, 20, 5))}
    message = "cell_activation is relu and activation tanh; keras.lstm has one for both"
    with pytest.raises(RefusedError, match=message):
        wp.translate(onnx, "onnx.lstm", "keras.lstm", activation="tanh", cell_activation="relu")
    assert wp.translate(onnx, "onnx.lstm", "keras.lstm", activation="relu", cell_activation="relu")


def test_a_setting_that_cannot_run_is_carried_where_that_is_allowed(values: Any) -> None:
    ours = {name: values(array.shape, 0) for name, array in KERAS.items()}
    plain = wp.translate(ours, "keras.lstm", "torch.lstm")
    allowed = wp.translate(
        ours, "keras.lstm", "torch.lstm", allow=["recurrent_activation"], recurrent_activation="hard_sigmoid"
    )
    assert all(np.array_equal(allowed[name], plain[name]) for name in plain)


def test_what_decides_the_meaning_of_the_weights_cannot_be_allowed() -> None:
    gru = {"kernel": np.ones((3, 15)), "recurrent_kernel": np.ones((5, 15)), "bias": np.ones(15)}
    with pytest.raises(RefusedError, match=r"reset is before, .*: no weights make it compute the same"):
        wp.translate(gru, "keras.gru", "torch.gru", allow=["*"])


def test_one_flat_buffer_there_and_back_with_its_sizes(make_layer: Any) -> None:
    ours = make_layer(layout_named("torch.gru"), RECTANGLE, BIASED, directions=2, layers=2)
    buffer = wp.translate(ours, "torch.gru", "cudnn.gru")
    assert buffer["weight_space"].size == sum(array.size for array in ours.values())
    first = [ours[name].reshape(-1) for name in ("weight_ih_l0", "weight_hh_l0", "weight_ih_l0_reverse")]
    assert np.array_equal(buffer["weight_space"][: 45 + 75 + 45], np.concatenate(first))
    back = wp.translate(buffer, "cudnn.gru", "torch.gru", sizes={"in": 3, "unit": 5, "layer": 2, "direction": 2})
    assert all(np.array_equal(back[name], ours[name]) for name in ours)


def test_a_bidirectional_layer_does_not_fit_a_cell() -> None:
    two = {f"{way}_layer/{name}": array for way in ("forward", "backward") for name, array in KERAS.items()}
    with pytest.raises(RefusedError, match=r"torch\.lstm_cell holds one direction, not 2"):
        wp.translate(two, "keras.lstm", "torch.lstm_cell")


def test_the_arrays_given_stay_as_they_are(values: Any) -> None:
    ours = {name: values(array.shape, 0) for name, array in KERAS.items()}
    for array in ours.values():
        array.flags.writeable = False
    theirs = wp.translate(ours, "keras.lstm", "torch.lstm")
    theirs["weight_ih_l0"][...] = 0
    assert ours["kernel"].all()


def test_lists_and_turned_arrays_are_taken_as_well(values: Any) -> None:
    ours = {name: values(array.shape, 0) for name, array in KERAS.items()}
    expected = wp.translate(ours, "keras.lstm", "torch.lstm")
    turned = {name: np.asfortranarray(array) for name, array in ours.items()}
    listed = {name: array.tolist() for name, array in ours.items()}
    for form in (turned, listed):
        found = wp.translate(form, "keras.lstm", "torch.lstm")
        assert all(np.array_equal(found[name], expected[name]) for name in expected)

"""Every mistake that a layout could hide is found: each mutant of a shipped layout disagrees with its framework.

The layouts of Keras, PyTorch and ONNX are changed in one place at a time (two labels swapped, dimensions turned, a
group interleaved, two tensors' roles or sides exchanged, a constant or a sign dropped). The real framework's output
for its own tensors must then no longer be what the mutant says, or the tensors no longer fit.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
import pytest

from weightport import LayoutError, RefusedError
from weightport.layouts import Layout, layout_named
from weightport.notation import parse_axes

BATCH, TIME = 3, 4
RECURRENT = [{"in": 3, "unit": 5, "hidden": 5}, {"in": 4, "unit": 4, "hidden": 4}]
FRAMEWORKS = ("keras", "torch", "onnx")
WEIGHTS = ("input_weight", "recurrent_weight", "bias")
SIZES: dict[str, list[dict[str, int]]] = {
    "lstm": RECURRENT,
    "gru": RECURRENT,
    "rnn": RECURRENT,
    "conv_lstm": [{**sizes, "...0": 3, "...1": 2, "...state0": 3, "...state1": 2} for sizes in RECURRENT],
    "dense": [{"out": 5, "in": 3}, {"out": 4, "in": 4}],
    "conv": [{"out": 6, "in": 4, "...0": 3, "...1": 2}, {"out": 4, "in": 4, "...0": 3, "...1": 3}],
    "batch_norm": [{"channel": 4}],
    "layer_norm": [{"...0": 4}],
    "embedding": [{"token": 5, "feature": 4}, {"token": 4, "feature": 4}],
}
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "keras.gru": [{"reset": "after"}, {"reset": "before"}],
    "torch.gru": [{"reset": "after"}],
    "onnx.gru": [{"reset": "after"}, {"reset": "before"}],
    "onnx.dense": [{"transB": 1, "bias": "vector"}, {"transB": 0, "bias": "row"}],
    **{f"{framework}.{kind}_norm": [{"epsilon": 0.02}] for framework in FRAMEWORKS for kind in ("batch", "layer")},
}
ROLES = {"keras": WEIGHTS, "torch": (*WEIGHTS, "projection"), "onnx": (*WEIGHTS, "peephole")}
LAYOUTS = [f"{framework}.{kind}" for framework in FRAMEWORKS for kind in SIZES if kind != "conv_lstm"]
LAYOUTS.append("keras.conv_lstm")
TOKENS = np.array([[3, 0, 2], [1, 1, 3]])

Evidence = list[tuple[dict[str, np.ndarray], dict[str, Any], np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def evidence(make_layer: Any, compute: Any, values: Any) -> Any:
    """What the framework computes with a layer's tensors, rectangular and square, in one direction and two."""

    def gather(name: str) -> Evidence:
        layout, (framework, kind) = layout_named(name), name.split(".")
        dtype = "float32" if framework == "onnx" else "float64"
        found: Evidence = []
        directions = (1, 2) if "direction" in layout.kind.labels else (1,)
        for full, count, own in product(SIZES[kind], directions, SETTINGS.get(name, [{}])):
            roles = roles_of(layout, framework)
            sizes = {**full, "hidden": 2} if roles and "projection" in roles else full  # to fewer than the units
            made = make_layer(layout, sizes, roles, directions=count, settings=own, dtype=dtype)
            tensors = {key: _stored(array, own) for key, array in made.items()}
            inputs = TOKENS if kind == "embedding" else values(_input_shape(kind, sizes), 99, dtype)
            found.append((tensors, own, inputs, compute(name, tensors, own, inputs)))
        return found

    return gather


def _stored(array: np.ndarray, settings: dict[str, Any]) -> np.ndarray:
    """A tensor in the other form that a Gemm has of it: its matrix turned, its bias as a row."""
    if array.ndim == 1:
        return array[np.newaxis] if settings.get("bias") == "row" else array
    return array.T.copy() if settings.get("transB") == 0 else array


def roles_of(layout: Layout, framework: str) -> list[str] | None:
    """The roles that the framework can run; all of them where a kind has no rare ones."""
    own = [role for role in ROLES[framework] if role in layout.kind.roles]
    return own if "input_weight" in own else None


def _input_shape(kind: str, sizes: dict[str, int]) -> tuple[int, ...]:
    space = {"conv": (7, 6), "conv_lstm": (TIME, 7, 6), "dense": ()}.get(kind, (TIME,))
    return (BATCH, *space, sizes.get("in", sizes.get("channel", 4)))


def mutants(table: dict[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every changed copy of one kind's table, with what was done to it."""
    for axis, order in table.items():
        if isinstance(order, list) and axis in {"gate", "side", "direction"}:
            for one, other in combinations(range(len(order)), 2):
                mutant = copy.deepcopy(table)
                mutant[axis][one], mutant[axis][other] = order[other], order[one]
                yield f"{axis} {order[one]} and {order[other]} swapped", mutant
        if isinstance(order, dict) and axis in {"gate", "side", "direction"}:
            words = [label for label in order if label != "only"]
            for one, other in combinations(words, 2):
                mutant = copy.deepcopy(table)
                mutant[axis][one], mutant[axis][other] = order[other], order[one]
                yield f"{axis} names {one} and {other} swapped", mutant
    for name, value in table["tensors"].items():
        for index, entry in enumerate(value if isinstance(value, list) else [value]):
            for text in _other_axes(entry["axes"]):
                mutant = copy.deepcopy(table)
                held = mutant["tensors"][name]
                (held[index] if isinstance(held, list) else held)["axes"] = text
                yield f"{name} {entry['axes']} -> {text}", mutant
    for one, other in combinations(table["tensors"], 2):
        entries = table["tensors"][one], table["tensors"][other]
        if entries[0] != entries[1]:
            mutant = copy.deepcopy(table)
            mutant["tensors"][one], mutant["tensors"][other] = entries[1], entries[0]
            yield f"{one} and {other} exchanged", mutant


def _other_axes(text: str) -> Iterator[str]:
    """The axes with dimensions in another order, and with each group in another order."""
    (dimensions,) = parse_axes(text).parts
    words = [f"({' '.join(group)})" if len(group) != 1 else group[0] for group in dimensions]
    yield from (" ".join(order) for order in permutations(words) if list(order) != words)
    for index, group in enumerate(dimensions):
        for order in permutations(group):
            if order != group:
                yield " ".join([*words[:index], f"({' '.join(order)})", *words[index + 1 :]])


def agrees(layout: Layout, evidence: Evidence, by_reference: Any) -> bool:
    for tensors, settings, inputs, expected in evidence:
        try:
            with np.errstate(invalid="ignore"):
                found = by_reference(layout, tensors, settings, inputs)
        except (LayoutError, RefusedError):
            return False
        if found.shape != expected.shape or not np.abs(found - expected).max() <= 1e-3:  # NaN is no agreement
            return False
    return True


def is_equivalent(kind: str, what: str) -> bool:
    """Mutants that compute the same: an LSTM and a plain RNN add their two biases, whichever is which."""
    of_biases = what == "side input and recurrent swapped" or ("bias_ih" in what and "bias_hh" in what)
    return kind in {"lstm", "rnn"} and of_biases


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_mutant_is_caught(
    name: str, evidence: Any, by_reference: Any, layouts_from: Any, shipped_table: Any
) -> None:
    framework, kind = name.split(".")
    table = shipped_table(framework)[kind]
    seen = evidence(name)
    assert agrees(layout_named(name), seen, by_reference)
    made = dict(mutants(table, kind))
    survivors = []
    for what, mutant in made.items():
        try:
            layout = layouts_from({kind: mutant})[f"made_up.{kind}"]
        except LayoutError:
            continue
        if agrees(layout, seen, by_reference):
            survivors.append(what)
    assert survivors == [what for what in made if is_equivalent(kind, what)]
    assert made


# Constants and signs: the frameworks that have them are not installed here, so a layout of PyTorch's GRU stands for
# them, with the constant and the sign written into its tensors by hand.

SHIFTED = """
[gru]
gate    = ["reset", "update", "candidate"]
side    = ["input", "recurrent"]
adds    = { bias = { reset = 0.75 } }
negates = ["update"]
settings = { reset = ["after"] }
[gru.tensors]
weight_ih = { role = "input_weight",     axes = "(gate unit) in" }
weight_hh = { role = "recurrent_weight", axes = "(gate unit) hidden" }
bias      = { role = "bias",             axes = "side (gate unit)" }
"""


@pytest.fixture(scope="module")
def shifted_evidence(make_layer: Any, compute: Any, values: Any) -> Evidence:
    torch_tensors = make_layer(layout_named("torch.gru"), RECURRENT[0], WEIGHTS)
    inputs = values((BATCH, TIME, 3), 99)
    expected = compute("torch.gru", torch_tensors, {}, inputs)
    bias = np.stack([torch_tensors["bias_ih_l0"], torch_tensors["bias_hh_l0"]])
    bias[0, :5] -= 0.75
    turned = {"weight_ih": torch_tensors["weight_ih_l0"].copy(), "weight_hh": torch_tensors["weight_hh_l0"].copy()}
    for rows in (*turned.values(), *bias):
        rows[5:10] *= -1
    return [({**turned, "bias": bias}, {}, inputs, expected)]


def test_a_constant_and_a_sign_are_what_the_layout_says(
    shifted_evidence: Evidence, layouts_from: Any, by_reference: Any
) -> None:
    assert agrees(layouts_from(SHIFTED)["made_up.gru"], shifted_evidence, by_reference)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("adds    = { bias = { reset = 0.75 } }", ""),
        ("reset = 0.75", "reset = -0.75"),
        ("reset = 0.75", "reset = 0.5"),
        ("reset = 0.75", "candidate = 0.75"),
        ('negates = ["update"]', ""),
        ('negates = ["update"]', 'negates = ["reset"]'),
        ('negates = ["update"]', 'negates = ["update", "candidate"]'),
        ('side    = ["input", "recurrent"]', 'side = ["recurrent", "input"]'),
    ],
)
def test_a_mutant_of_them_is_caught(
    old: str, new: str, shifted_evidence: Evidence, layouts_from: Any, by_reference: Any
) -> None:
    assert old in SHIFTED
    assert not agrees(layouts_from(SHIFTED.replace(old, new))["made_up.gru"], shifted_evidence, by_reference)

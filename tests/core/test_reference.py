"""The mathematics of each kind is that of the real frameworks, when their own tensors are read through the layouts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from weightport import LayoutError, UsageError
from weightport._reference_activations import _ACTIVATIONS, activation
from weightport.kinds import all_kinds
from weightport.layouts import layout_named
from weightport.reference import run

BATCH, TIME = 3, 4
SIZES = {"in": 3, "unit": 5, "hidden": 5}
SQUARE = {"in": 4, "unit": 4, "hidden": 4}
WEIGHTS = ("input_weight", "recurrent_weight")
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


def case(layout: str, name: str, sizes: Any, roles: Any = None, **options: Any) -> Any:
    return pytest.param(layout, sizes, roles, options, id=f"{layout}-{name}")


def recurrent(layout: str, *, stacked: bool = False, directions: int = 2, **settings: Any) -> list[Any]:
    """The cases that every framework has for a recurrent kind."""
    biased = (*WEIGHTS, "bias")
    cases = [
        case(layout, "plain", SIZES, biased, settings=settings),
        case(layout, "square", SQUARE, biased, settings=settings),
        case(layout, "no bias", SIZES, WEIGHTS, settings=settings),
    ]
    if directions == 2:
        cases.append(case(layout, "two directions", SIZES, biased, directions=2, settings=settings))
    if stacked:
        cases.append(case(layout, "stacked", SIZES, biased, directions=2, layers=3, settings=settings))
    return cases


RECURRENT = [
    *recurrent("torch.lstm", stacked=True),
    case("torch.lstm", "projected", {**SIZES, "hidden": 2}, (*WEIGHTS, "bias", "projection"), directions=2, layers=2),
    *recurrent("torch.gru", stacked=True, reset="after"),
    *recurrent("torch.rnn", stacked=True),
    case("torch.rnn", "relu", SIZES, (*WEIGHTS, "bias"), settings={"activation": "relu"}),
    *recurrent("keras.lstm"),
    case("keras.lstm", "backwards", SIZES, (*WEIGHTS, "bias"), settings={"direction": "backwards"}),
    case("keras.lstm", "last step", SIZES, (*WEIGHTS, "bias"), directions=2, settings={"return_sequences": False}),
    *(
        case("keras.lstm", f"merge {mode}", SIZES, (*WEIGHTS, "bias"), directions=2, settings={"merge_mode": mode})
        for mode in ("sum", "mul", "ave")
    ),
    *(
        case(
            "keras.lstm",
            f"{act} and {gates}",
            SIZES,
            (*WEIGHTS, "bias"),
            settings={"activation": act, "cell_activation": act, "recurrent_activation": gates},
        )
        for act, gates in (("softsign", "hard_sigmoid"), ("relu", "sigmoid"))
    ),
    *recurrent("keras.gru", reset="after"),
    *recurrent("keras.gru", reset="before"),
    *recurrent("keras.rnn"),
    *recurrent("onnx.lstm"),
    case("onnx.lstm", "peepholes", SIZES, (*WEIGHTS, "bias", "peephole"), directions=2),
    case("onnx.lstm", "reverse", SIZES, (*WEIGHTS, "bias"), settings={"direction": "reverse"}),
    case("onnx.lstm", "coupled gates", SIZES, (*WEIGHTS, "bias", "peephole"), settings={"input_forget": True}),
    case(
        "onnx.lstm",
        "own activations",
        SIZES,
        (*WEIGHTS, "bias"),
        settings={"recurrent_activation": "hard_sigmoid_0.2", "activation": "relu", "cell_activation": "tanh"},
    ),
    *recurrent("onnx.gru", reset="after"),
    *recurrent("onnx.gru", reset="before"),
    *recurrent("onnx.rnn"),
]


@pytest.mark.parametrize(("layout", "sizes", "roles", "options"), RECURRENT)
def test_recurrent_layers(
    layout: str, sizes: Any, roles: Any, options: Any, make_layer: Any, compute: Any, by_reference: Any, values: Any
) -> None:
    settings = options.get("settings", {})
    dtype = "float32" if layout.startswith("onnx") else "float64"
    tensors = make_layer(layout_named(layout), sizes, roles, **options, dtype=dtype)
    inputs = values((BATCH, TIME, sizes["in"]), 99, dtype)
    expected = compute(layout, tensors, settings, inputs)
    found = by_reference(layout_named(layout), tensors, settings, inputs)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE[dtype]


DENSE_SETTINGS = {"torch": {}, "keras": {"activation": "softsign"}, "onnx": {"transB": 1}}
CONV = {"out": 6, "in": 4, "...0": 3, "...1": 2}
CONV_INPUT = (BATCH, 9, 8, 4)
PLAIN = [
    *(
        (f"{framework}.dense", sizes, roles, (BATCH, 2, sizes["in"]), settings)
        for framework in ("torch", "keras", "onnx")
        for sizes, roles in (
            ({"out": 5, "in": 3}, None),
            ({"out": 4, "in": 4}, None),
            ({"out": 5, "in": 3}, ["weight"]),
        )
        for settings in [DENSE_SETTINGS[framework]]
    ),
    *(
        (f"{framework}.conv", sizes, None, shape, {})
        for framework in ("torch", "keras", "onnx")
        for sizes, shape in (
            ({"out": 6, "in": 4, "...0": 3}, (BATCH, 9, 4)),
            (CONV, CONV_INPUT),
            ({"out": 4, "in": 4, "...0": 2, "...1": 2}, CONV_INPUT),
            ({"out": 6, "in": 4, "...0": 3, "...1": 2, "...2": 4}, (BATCH, 5, 4, 6, 4)),
        )
    ),
    *(
        (f"{framework}.conv", {**CONV, "in": CONV["in"] // settings.get("groups", 1)}, roles, CONV_INPUT, settings)
        for framework in ("torch", "keras", "onnx")
        for roles, settings in (
            (["weight"], {}),
            (None, {"groups": 2}),
            (None, {"strides": 2}),
            (None, {"dilation": 2}),
            (None, {"padding": "same"}),
            (None, {"padding": "same", "dilation": 3}),
        )
        if (framework, settings) != ("onnx", {"padding": "same", "dilation": 3})  # ONNX Runtime does not run it
    ),
    ("torch.conv", CONV, None, CONV_INPUT, {"strides": (1, 3), "padding": (2, 1), "dilation": (2, 1)}),
    ("torch.conv", CONV, None, CONV_INPUT, {"padding": 2}),
    ("keras.conv", CONV, None, CONV_INPUT, {"strides": (2, 3), "padding": "same", "activation": "relu"}),
    ("keras.conv", {"out": 6, "in": 4, "...0": 3}, None, (BATCH, 9, 4), {"padding": "causal", "dilation": 2}),
    *(
        (f"{framework}.batch_norm", {"channel": 4}, roles, shape, {"epsilon": 0.02})
        for framework in ("torch", "keras", "onnx")
        for shape in ((BATCH, 4), (BATCH, 5, 3, 4))
        for roles in ([None] if framework == "onnx" else [None, ["running_mean", "running_variance", "batch_count"]])
    ),
    *(
        (f"{framework}.layer_norm", sizes, roles, (BATCH, 5, 4), {"epsilon": 0.02})
        for framework in ("torch", "keras", "onnx")
        for sizes in ({"...0": 4}, {"...0": 5, "...1": 4})
        for roles in (None, ["scale"])
    ),
]


def test_only_the_last_layer_of_a_stack_gives_its_last_step_alone(
    make_layer: Any, compute: Any, by_reference: Any, values: Any
) -> None:
    """Of each direction, the last step that it processed."""
    tensors = make_layer(layout_named("torch.gru"), SIZES, (*WEIGHTS, "bias"), directions=2, layers=2)
    inputs = values((BATCH, TIME, 3), 99)
    every_step = compute("torch.gru", tensors, {}, inputs)
    expected = np.concatenate([every_step[:, -1, :5], every_step[:, 0, 5:]], axis=-1)
    found = by_reference(layout_named("torch.gru"), tensors, {"return_sequences": False}, inputs)
    assert np.abs(found - expected).max() <= 1e-12


def name_of(layout: str, sizes: Any, roles: Any, shape: Any, settings: Any) -> str:
    stated = " ".join(f"{name}={value}" for name, value in settings.items())
    return f"{layout}-{'x'.join(map(str, sizes.values()))}-{' '.join(roles or ['all'])}-{len(shape)}D {stated}"


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(
    ("layout", "sizes", "roles", "shape", "settings"), PLAIN, ids=[name_of(*parameters) for parameters in PLAIN]
)
def test_layers_without_a_state(
    layout: str,
    sizes: Any,
    roles: Any,
    shape: Any,
    settings: Any,
    make_layer: Any,
    compute: Any,
    by_reference: Any,
    values: Any,
) -> None:
    dtype = "float32" if layout.startswith("onnx") else "float64"
    tensors = make_layer(layout_named(layout), sizes, roles, settings=settings, dtype=dtype)
    inputs = values(shape, 99, dtype)
    expected = compute(layout, tensors, settings, inputs)
    found = by_reference(layout_named(layout), tensors, settings, inputs)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE[dtype]


@pytest.mark.parametrize("layout", ["torch.embedding", "keras.embedding", "onnx.embedding"])
def test_embedding(layout: str, make_layer: Any, compute: Any, by_reference: Any) -> None:
    tensors = make_layer(layout_named(layout), {"token": 5, "feature": 4}, dtype="float32")
    inputs = np.array([[4, 0, 2], [1, 1, 3]])
    found = by_reference(layout_named(layout), tensors, {}, inputs)
    assert np.array_equal(found, compute(layout, tensors, {}, inputs))


@pytest.mark.parametrize(
    ("sizes", "space", "settings"),
    [
        ({"...0": 3, "...1": 2}, (5, 6), {}),
        ({"...0": 2}, (7,), {"padding": "same", "recurrent_activation": "hard_sigmoid"}),
        ({"...0": 3, "...1": 2}, (7, 6), {"strides": 2, "activation": "softsign", "cell_activation": "softsign"}),
        ({"...0": 3, "...1": 3}, (8, 7), {"dilation": 2, "return_sequences": False}),
        ({"...0": 1, "...1": 2, "...2": 3}, (3, 4, 5), {}),
    ],
)
def test_convolutional_lstm(
    sizes: Any, space: Any, settings: Any, make_layer: Any, compute: Any, by_reference: Any, values: Any
) -> None:
    layout = layout_named("keras.conv_lstm")
    kernels = {**sizes, **{axis.replace("...", "...state"): size for axis, size in sizes.items()}}
    tensors = make_layer(layout, {"in": 3, "unit": 2, "hidden": 2, **kernels})
    inputs = values((BATCH, TIME, *space, 3), 99)
    expected = compute("keras.conv_lstm", tensors, settings, inputs)
    found = by_reference(layout, tensors, settings, inputs)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-12


def test_activations_are_those_of_keras_and_torch(values: Any) -> None:
    import keras
    import torch

    x = np.concatenate([values((4, 9), 5) * 8, np.zeros((1, 9))])
    in_single_precision = {"gelu", "leaky_relu", "selu"}  # TensorFlow's, even of float64
    for name in set(_ACTIVATIONS) - {"hard_sigmoid_0.2"}:
        expected = np.asarray(keras.activations.get(name)(x))
        assert np.abs(activation(name)(x) - expected).max() <= (1e-6 if name in in_single_precision else 1e-12), name
    for name, own in (("gelu", {}), ("leaky_relu", {"negative_slope": 0.2}), ("selu", {})):
        expected = getattr(torch.nn.functional, name)(torch.from_numpy(x), **own).numpy()
        assert np.abs(activation(name)(x) - expected).max() <= 1e-14, name


def test_large_values_neither_overflow_nor_become_nan() -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for name in set(_ACTIVATIONS) - {"exponential"}:
            assert np.isfinite(activation(name)(np.array([-1e4, 1e4]))).all(), name


# What no framework that runs here computes: the formula, unit by unit in plain Python.


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def clip(x: float, limit: float) -> float:
    return max(-limit, min(limit, x)) if limit else x


def dot(row: Any, column: Any) -> float:
    return sum(float(a) * float(b) for a, b in zip(row, column, strict=True))


def lstm_by_hand(w: dict[str, Any], x: Any, cell_clip: float, projection_clip: float) -> list[list[float]]:
    """One sequence, one direction; every option at once. Gate order input, forget, candidate, output."""
    units = range(w["input_weight"].shape[1])
    h, c, outputs = list(w["initial_hidden"]), list(w["initial_cell"]), []
    for x_t in x:
        before = [
            [
                dot(w["input_weight"][g, u], x_t) + dot(w["recurrent_weight"][g, u], h) + w["bias"][:, g, u].sum()
                for u in units
            ]
            for g in range(4)
        ]
        old = list(c)
        for u in units:
            i = sigma(before[0][u] + w["peephole"][0, u] * old[u] + dot(w["peephole_matrix"][0, u], old))
            f = sigma(before[1][u] + w["peephole"][1, u] * old[u] + dot(w["peephole_matrix"][1, u], old))
            c[u] = clip(f * old[u] + i * math.tanh(before[2][u]), cell_clip)
        o = [sigma(before[3][u] + w["peephole"][3, u] * c[u] + dot(w["peephole_matrix"][3, u], c)) for u in units]
        raw = [o[u] * math.tanh(c[u]) for u in units]
        h = [
            clip(dot(row, raw) + b, projection_clip)
            for row, b in zip(w["projection"], w["projection_bias"], strict=True)
        ]
        outputs.append(h)
    return outputs


@pytest.mark.parametrize(("cell_clip", "projection_clip"), [(0, 0), (0.3, 0), (0.25, 0.1)])
def test_lstm_with_everything(cell_clip: float, projection_clip: float, values: Any) -> None:
    shapes = {
        "input_weight": (4, 5, 3),
        "recurrent_weight": (4, 5, 2),
        "bias": (2, 4, 5),
        "peephole": (4, 5),
        "peephole_matrix": (4, 5, 5),
        "projection": (2, 5),
        "projection_bias": (2,),
        "initial_hidden": (2,),
        "initial_cell": (5,),
    }
    weights = {role: values(shape, seed) for seed, (role, shape) in enumerate(shapes.items())}
    inputs = values((BATCH, TIME, 3), 99)
    settings = {"cell_clip": cell_clip, "projection_clip": projection_clip}
    found = run("lstm", [{role: array[None] for role, array in weights.items()}], settings, inputs)
    expected = [lstm_by_hand(weights, x, cell_clip, projection_clip) for x in inputs]
    assert np.abs(found - np.array(expected)).max() <= 1e-14


def gru_first_step_by_hand(w: dict[str, Any], x: Any) -> list[list[float]]:
    """chainer.links.StatefulGRU, with the update gate as this kind has it. Gate order update, reset, candidate."""
    units = range(w["input_weight"].shape[1])
    h: list[float] | None = None
    outputs = []
    for x_t in x:
        of_x = [[dot(w["input_weight"][g, u], x_t) + w["bias"][0, g, u] for u in units] for g in range(3)]
        if h is None:
            h = [(1 - sigma(of_x[0][u])) * math.tanh(of_x[2][u]) for u in units]
        else:
            z, r = (
                [sigma(of_x[g][u] + dot(w["recurrent_weight"][g, u], h) + w["bias"][1, g, u]) for u in units]
                for g in (0, 1)
            )
            reset = [r[u] * h[u] for u in units]
            n = [math.tanh(of_x[2][u] + dot(w["recurrent_weight"][2, u], reset) + w["bias"][1, 2, u]) for u in units]
            h = [z[u] * h[u] + (1 - z[u]) * n[u] for u in units]
        outputs.append(h)
    return outputs


def mgu_by_hand(w: dict[str, Any], x: Any, reset: str) -> list[list[float]]:
    """flax.linen.MGUCell. Gate order forget, candidate."""
    units = range(w["input_weight"].shape[1])
    h, outputs = [0.0] * len(units), []
    for x_t in x:
        of_x = [[dot(w["input_weight"][g, u], x_t) + w["bias"][0, g, u] for u in units] for g in (0, 1)]
        of_h = [[dot(w["recurrent_weight"][g, u], h) + w["bias"][1, g, u] for u in units] for g in (0, 1)]
        f = [sigma(of_x[0][u] + of_h[0][u]) for u in units]
        n = [math.tanh(of_x[1][u] + (f[u] if reset == "after" else 1) * of_h[1][u]) for u in units]
        h = [f[u] * h[u] + (1 - f[u]) * n[u] for u in units]
        outputs.append(h)
    return outputs


def test_gru_whose_first_step_has_no_recurrent_part(values: Any) -> None:
    weights = {
        "input_weight": values((3, 5, 3), 0),
        "recurrent_weight": values((3, 5, 5), 1),
        "bias": values((2, 3, 5), 2),
    }
    inputs = values((BATCH, TIME, 3), 99)
    layers = [{role: array[None] for role, array in weights.items()}]
    found = run("gru", layers, {"reset": "before", "first_step": "input only"}, inputs)
    assert np.abs(found - np.array([gru_first_step_by_hand(weights, x) for x in inputs])).max() <= 1e-14
    assert np.abs(found - run("gru", layers, {"reset": "before"}, inputs)).max() > 0.01


@pytest.mark.parametrize("reset", ["after", "none"])
def test_minimal_gated_unit(reset: str, values: Any) -> None:
    weights = {
        "input_weight": values((2, 5, 3), 0),
        "recurrent_weight": values((2, 5, 5), 1),
        "bias": values((2, 2, 5), 2),
    }
    inputs = values((BATCH, TIME, 3), 99)
    found = run("mgu", [{role: array[None] for role, array in weights.items()}], {"reset": reset}, inputs)
    assert np.abs(found - np.array([mgu_by_hand(weights, x, reset) for x in inputs])).max() <= 1e-14


@pytest.mark.parametrize("kind", ["gru", "rnn", "mgu"])
def test_a_learned_state_at_the_start(kind: str, values: Any) -> None:
    """Two steps from nothing are one step from the state after the first."""
    gates = {"gru": (3,), "rnn": (), "mgu": (2,)}[kind]
    shapes = {"input_weight": (1, *gates, 5, 3), "recurrent_weight": (1, *gates, 5, 5), "bias": (1, 2, *gates, 5)}
    weights = {role: values(shape, seed) for seed, (role, shape) in enumerate(shapes.items())}
    inputs = values((1, 2, 3), 99)
    whole = run(kind, [weights], {}, inputs)
    second = run(kind, [{**weights, "initial_hidden": whole[:, 0]}], {}, inputs[:, 1:])
    assert np.abs(second[:, 0] - whole[:, 1]).max() <= 1e-15
    assert np.abs(whole[:, 0] - whole[:, 1]).max() > 0.01


def test_every_kind_has_its_mathematics() -> None:
    for kind in all_kinds():
        with pytest.raises((LayoutError, IndexError)):  # known, and it needs inputs and weights
            run(kind, [], {}, np.zeros(()))


ONE_UNIT = [{"input_weight": np.ones((1, 4, 1, 2)), "recurrent_weight": np.ones((1, 4, 1, 1))}]
INPUTS = np.zeros((3, 4, 2))


@pytest.mark.parametrize(
    ("kind", "settings", "inputs", "message"),
    [
        ("lstn", {}, INPUTS, "no reference for kind 'lstn'; known are lstm, gru"),
        ("lstm", {"activation": "tan"}, INPUTS, "no activation 'tan'; known are linear, tanh"),
        ("lstm", {"direction": "up"}, INPUTS, "no direction 'up'; known are forward, reverse"),
        ("lstm", {"direction": "bidirectional"}, INPUTS, "bidirectional, but the weights are of one direction"),
        ("lstm", {}, INPUTS[..., :1], r"inputs of shape \[3, 4, 1\] do not end in the 2 channels"),
        ("lstm", {}, INPUTS[0], r"inputs of shape \[4, 2\] are not \(batch, time, in\)"),
        ("lstm", {}, INPUTS[:, :0], "with at least one step"),
    ],
)
def test_what_cannot_be_computed_is_told(kind: str, settings: Any, inputs: Any, message: str) -> None:
    with pytest.raises((UsageError, LayoutError), match=message):
        run(kind, ONE_UNIT, settings, inputs)

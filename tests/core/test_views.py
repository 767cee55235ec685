"""Views: where each place of each role is stored. What is found is compared with slices of the arrays cut by hand."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from sample_sizes import fitting
from weightport import LayoutError, RefusedError
from weightport.layouts import Layout, all_layouts, layout_named
from weightport.logical import logical_arrays
from weightport.views import view_for, view_of

IN, UNIT = 3, 5
SIZES = {"in": IN, "unit": UNIT, "hidden": UNIT}


def logical(layout: Layout, tensors: dict[str, np.ndarray], **options: Any) -> list[dict[str, np.ndarray]]:
    view = view_of(layout, {name: array.shape for name, array in tensors.items()}, **options)
    return logical_arrays(view, tensors.__getitem__)


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    return found.dtype == np.float64 and np.array_equal(found, expected)


# The shipped layouts, cut by hand.


def test_keras_gates_are_blocks_of_columns(values: Any) -> None:
    kernel, recurrent, bias = values((IN, 20), 0), values((UNIT, 20), 1), values((20,), 2)
    tensors = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias}
    (roles,) = logical(layout_named("keras.lstm"), tensors)
    for gate in range(4):  # input, forget, candidate, output in both
        columns = slice(gate * UNIT, (gate + 1) * UNIT)
        assert same(roles["input_weight"][0, gate], kernel[:, columns].T)
        assert same(roles["recurrent_weight"][0, gate], recurrent[:, columns].T)
        assert same(roles["bias"][0, 0, gate], bias[columns])
        assert not roles["bias"][0, 1, gate].any()


def test_torch_layers_and_directions_are_in_the_names(values: Any) -> None:
    layout = layout_named("torch.gru")
    names = [
        f"{part}_l{layer}{end}" for layer in (0, 1) for end in ("", "_reverse") for part in ("weight_ih", "weight_hh")
    ]
    shapes = {name: (15, UNIT if "hh" in name else IN if "l0" in name else 2 * UNIT) for name in names}
    tensors = {name: values(shape, seed) for seed, (name, shape) in enumerate(shapes.items())}
    layers = logical(layout, tensors)
    stored = [1, 0, 2]  # update, reset, candidate among PyTorch's reset, update, candidate
    for layer, direction, end in ((0, 0, ""), (0, 1, "_reverse"), (1, 0, ""), (1, 1, "_reverse")):
        blocks = tensors[f"weight_ih_l{layer}{end}"].reshape(3, UNIT, -1)
        assert same(layers[layer]["input_weight"][direction], blocks[stored])


def test_onnx_has_directions_sides_and_gates_in_one_bias(values: Any) -> None:
    tensors = {
        "W": values((2, 20, IN), 0),
        "R": values((2, 20, UNIT), 1),
        "B": values((2, 40), 2),
        "P": values((2, 15), 3),
    }
    (roles,) = logical(layout_named("onnx.lstm"), tensors)
    stored = [0, 2, 3, 1]  # input, forget, candidate, output among ONNX's input, output, forget, candidate
    assert same(roles["input_weight"], tensors["W"].reshape(2, 4, UNIT, IN)[:, stored])
    assert same(roles["bias"], tensors["B"].reshape(2, 2, 4, UNIT)[:, :, stored])
    peepholes = tensors["P"].reshape(2, 3, UNIT)  # input, output, forget
    expected = np.stack([peepholes[:, 0], peepholes[:, 2], np.zeros((2, UNIT)), peepholes[:, 1]], axis=1)
    assert same(roles["peephole"], expected)


def test_convolution_kernels_of_any_rank(values: Any) -> None:
    for rank in (1, 2, 3):
        kernel = values((*(2, 3, 4)[:rank], 5, 6), 0)
        (roles,) = logical(layout_named("keras.conv"), {"kernel": kernel, "bias": values((6,), 1)})
        assert same(roles["weight"], np.moveaxis(kernel, (-1, -2), (0, 1)))


def test_the_settings_that_shapes_force_are_found() -> None:
    shapes = {"kernel": (IN, 15), "recurrent_kernel": (UNIT, 15)}
    for bias, reset in (((2, 15), "after"), ((15,), "before")):
        assert view_of(layout_named("keras.gru"), {**shapes, "bias": bias}).settings["reset"] == reset
    assert "reset" not in view_of(layout_named("keras.gru"), shapes).settings


@pytest.mark.parametrize(
    ("name", "layers", "directions"),
    [
        (name, layers, directions)
        for name, layout in all_layouts().items()
        for layers, directions in ([(1, 1), (1, 2), (3, 1), (2, 2)] if "layer" in layout.kind.counted else [(1, 1)])
    ],
)
def test_a_view_that_is_laid_out_is_found_again(name: str, layers: int, directions: int, elements_of: Any) -> None:
    """From its names and shapes alone; from its sizes too, where no shape tells them."""
    layout = all_layouts()[name]
    sizes = fitting(layout)
    stacked = [{**sizes, "in": 5 * directions} if layer else sizes for layer in range(layers)]
    counts = {"layer": layers, "direction": directions}
    roles = [role.name for role in layout.kind.roles.values() if not role.optional]
    usual = {setting: layout.settings.get(setting, [value])[0] for setting, value in layout.kind.settings.items()}
    try:
        made = view_for(layout, roles, counts, stacked, usual)
    except RefusedError as error:
        assert (layers, directions) != (1, 1)
        assert re.search(
            f"^{re.escape(name)}(: '.*')? holds (one (layer|direction), not [23]|layers of one size)", str(error)
        )
        return
    storage = {setting: made.conditions[setting] for setting in layout.storage}
    found = view_of(layout, made.shapes, made.settings, storage, {**sizes, **counts})
    assert found.blocks == made.blocks
    assert found.counts == made.counts
    for tensor, shape in made.shapes.items():
        elements = np.concatenate([elements_of(block.block) for block in made.blocks if block.tensor == tensor])
        assert sorted(elements.tolist()) == list(range(math.prod(shape))), "every element is in one block"


# What does not fit.

KERAS_LSTM = {"kernel": (IN, 20), "recurrent_kernel": (UNIT, 20), "bias": (20,)}
TORCH_LSTM = {"weight_ih_l0": (20, IN), "weight_hh_l0": (20, UNIT), "bias_ih_l0": (20,), "bias_hh_l0": (20,)}


@pytest.mark.parametrize(
    ("layout", "shapes", "message"),
    [
        ("keras.lstm", {**KERAS_LSTM, "kernel": None}, "keras.lstm: tensor 'kernel' (input_weight) is missing"),
        ("keras.lstm", {**KERAS_LSTM, "beta": (4,)}, "keras.lstm has no tensor 'beta'; it has {direction}kernel"),
        (
            "keras.lstm",
            {**KERAS_LSTM, "kernel": (IN, 21)},
            "tensor 'kernel' of shape [3, 21] does not fit keras.lstm 'in (gate unit)': "
            "it has 21 where 4 gate x unit is expected",
        ),
        ("keras.lstm", {**KERAS_LSTM, "bias": (24,)}, "it has 24 where 4 gate x 5 unit = 20 is expected"),
        (
            "keras.lstm",
            {**KERAS_LSTM, "kernel": (20,)},
            "tensor 'kernel' has 1 dimensions where 'in (gate unit)' asks for 2",
        ),
        ("keras.lstm", {**KERAS_LSTM, "recurrent_kernel": (4, 20)}, "hidden is 4 and unit is 5, which must be equal"),
        ("keras.lstm", {**KERAS_LSTM, "forward_layer/kernel": (IN, 20)}, "tensors of one direction and of several"),
        ("torch.lstm", {**TORCH_LSTM, "bias_hh_l0": None}, "torch.lstm: tensor 'bias_hh_l0' (bias) is missing"),
        ("torch.lstm", {**TORCH_LSTM, "weight_ih_l2": (20, UNIT)}, "torch.lstm: tensor 'weight_ih_l1'"),
        ("torch.lstm", {**TORCH_LSTM, "weight_ih_l01": (20, UNIT)}, "torch.lstm has no tensor 'weight_ih_l01'"),
        (
            "torch.lstm",
            {**TORCH_LSTM, "weight_ih_l0_reverse": (20, IN)},
            "'weight_hh_l0_reverse' (recurrent_weight) is missing",
        ),
        ("onnx.dense", {"B": (4, 4)}, "onnx.dense: the shapes do not tell which of its forms this is"),
        ("keras.embedding", {}, "keras.embedding: tensor 'embeddings' (weight) is missing"),
        ("onnx.gru", {"W": (1, 15, 3), "R": (1, 15, 5), "B": (3, 30)}, "tensor 'B' of shape [3, 30] does not fit"),
    ],
)
def test_what_does_not_fit_is_one_line(layout: str, shapes: dict[str, Any], message: str) -> None:
    present = {name: shape for name, shape in shapes.items() if shape is not None}
    with pytest.raises(LayoutError, match=re.escape(message)) as caught:
        view_of(layout_named(layout), present)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layout", "shapes", "sizes", "message"),
    [
        (
            "torch.lstm",
            {**TORCH_LSTM, "weight_ih_l999999": (20, UNIT)},
            {},
            "1000000 places along layer, where there are 1 to 1000",
        ),
        (
            "onnx.rnn",
            {"W": (0, UNIT, IN), "R": (0, UNIT, UNIT)},
            {},
            "0 places along direction, where there are 1 to 2",
        ),
        (
            "onnx.rnn",
            {"W": (10**9, UNIT, IN), "R": (10**9, UNIT, UNIT)},
            {},
            r"of shape \[1000000000, 5, 5\] does not fit",
        ),
        (
            "onednn.rnn",
            {"weights_layer": (10**9, 1, IN, 1, UNIT), "weights_iter": (10**9, 1, UNIT, 1, UNIT)},
            {},
            "along layer",
        ),
        ("cudnn.rnn", {"weight_space": (50,)}, {"in": IN, "unit": UNIT, "layer": 0}, "0 places along layer"),
        ("chainer.rnn", {"0/w0": (UNIT, IN)}, {"direction": 3}, "3 places along direction, where there are 1 to 2"),
    ],
)
def test_numbers_of_layers_that_no_layer_has(layout: str, shapes: Any, sizes: Any, message: str) -> None:
    """They are refused before anything is counted out, however large they are."""
    with pytest.raises(LayoutError, match=message):
        view_of(layout_named(layout), shapes, sizes=sizes)


# The notation beyond the three frameworks, one made-up layout a feature.

TWO = ("input_weight", "recurrent_weight")
WEIGHTS = """
[lstm]
W = { role = "input_weight", axes = "(gate unit) in" }
"""


def test_gates_in_names(layouts_from: Any, values: Any) -> None:
    layout = layouts_from(
        """
        [rnn.tensors]
        W = { role = "input_weight", axes = "unit in" }
        U = { role = "recurrent_weight", axes = "unit hidden" }
        [gru]
        gate = { update = "z", reset = "r", candidate = "n" }
        [gru.tensors]
        "{gate}.x" = { role = "input_weight",     axes = "in unit" }
        "{gate}.h" = { role = "recurrent_weight", axes = "hidden unit" }
        "{gate}.b" = { role = "bias", side = "input", axes = "unit" }
        "n.c"      = { role = "bias", side = "recurrent", gate = "candidate", axes = "unit" }
        """
    )["made_up.gru"]
    sizes = {"x": (IN, UNIT), "h": (UNIT, UNIT), "b": (UNIT,)}
    tensors = {
        f"{gate}.{end}": values(shape, ord(gate) + i) for gate in "nrz" for i, (end, shape) in enumerate(sizes.items())
    }
    tensors["n.c"] = values((UNIT,), 7)
    (roles,) = logical(layout, tensors, settings={"reset": "after"})
    for index, gate in enumerate("zrn"):
        assert same(roles["input_weight"][0, index], tensors[f"{gate}.x"].T)
        assert same(roles["bias"][0, 0, index], tensors[f"{gate}.b"])
    assert same(roles["bias"][0, 1], np.stack([np.zeros(UNIT), np.zeros(UNIT), tensors["n.c"]]))
    for stranger in ("n_c", "n.cc", "o.x", "z.c"):
        with pytest.raises(LayoutError, match=re.escape(f"made_up.gru has no tensor {stranger!r}")):
            logical(layout, {**tensors, stranger: tensors["n.c"]}, settings={"reset": "after"})


def test_interleaved_stacked_and_added_and_negated(layouts_from: Any, values: Any) -> None:
    layout = layouts_from(
        """
        [gru]
        gate    = ["reset", "update", "candidate"]
        negates = ["update"]
        adds    = { bias = { reset = 1.0, update = 0.5 } }
        [gru.tensors]
        kernel = { role = ["input_weight", "recurrent_weight"], axes = "(in + hidden) (unit gate)" }
        bias   = { role = "bias", axes = "(unit gate)" }
        """
    )["made_up.gru"]
    tensors = {"kernel": values((IN + UNIT, 15), 0), "bias": values((15,), 1)}
    (roles,) = logical(layout, tensors, settings={"reset": "before"})
    stored = tensors["kernel"].reshape(IN + UNIT, UNIT, 3)
    for index, (gate, sign, added) in enumerate(((1, -1, 0.5), (0, 1, 1.0), (2, 1, 0.0))):
        assert same(roles["input_weight"][0, index], sign * stored[:IN, :, gate].T)
        assert same(roles["recurrent_weight"][0, index], sign * stored[IN:, :, gate].T)
        assert same(roles["bias"][0, 0, index], sign * tensors["bias"].reshape(UNIT, 3)[:, gate] + added)


def test_one_flat_buffer(layouts_from: Any, values: Any) -> None:
    """All weights layer by layer, then all biases, as cuDNN keeps them; only the sizes tell what is where."""
    layout = layouts_from(
        """
        [rnn]
        side = ["input", "recurrent"]
        [rnn.tensors.buffer]
        parts = [
            { each = ["layer", "direction"], parts = [
                { role = "input_weight",     axes = "(unit in)" },
                { role = "recurrent_weight", axes = "(unit hidden)" },
            ] },
            { each = ["layer", "direction"], role = "bias", axes = "(side unit)" },
        ]
        """
    )["made_up.rnn"]
    shapes = [(UNIT, width) for layer in (IN, 2 * UNIT) for _ in range(2) for width in (layer, UNIT)]
    blocks = [values(shape, seed) for seed, shape in enumerate([*shapes, *[(2, UNIT)] * 4])]
    buffer = np.concatenate([block.reshape(-1) for block in blocks])
    layers = logical(layout, {"buffer": buffer}, sizes={"in": IN, "unit": UNIT, "layer": 2, "direction": 2})
    for layer in (0, 1):
        for direction in (0, 1):
            place = 2 * layer + direction
            assert same(layers[layer]["input_weight"][direction], blocks[2 * place])
            assert same(layers[layer]["recurrent_weight"][direction], blocks[2 * place + 1])
            assert same(layers[layer]["bias"][direction], blocks[8 + place])


def test_blocks_whose_elements_are_in_another_order(values: Any) -> None:
    """CuDNNLSTM: each gate's (in, unit) block holds the (unit, in) matrix row by row."""
    kernel, recurrent, bias = values((IN, 20), 0), values((UNIT, 20), 1), values((40,), 2)
    tensors = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias}
    (roles,) = logical(layout_named("keras_cudnn.lstm"), tensors)
    for gate in range(4):
        block = np.ascontiguousarray(kernel[:, gate * UNIT : (gate + 1) * UNIT])
        assert same(roles["input_weight"][0, gate], block.reshape(UNIT, IN))
        assert same(roles["bias"][0, 1, gate], bias[20 + gate * UNIT : 20 + (gate + 1) * UNIT])


def test_layers_that_are_stored_apart_from_the_first(layouts_from: Any, values: Any) -> None:
    """NNabla keeps the first layer by itself and the others in one tensor; numbers count layers and directions."""
    layout = layouts_from(
        """
        [rnn]
        [rnn.tensors]
        first      = { role = "input_weight", layer = 0, axes = "unit in" }
        others     = { role = "input_weight", layer = "1..", axes = "layer unit in" }
        state      = { role = "recurrent_weight", axes = "layer unit hidden" }
        """
    )["made_up.rnn"]
    tensors = {"first": values((UNIT, IN), 0), "others": values((2, UNIT, UNIT), 1)}
    state = values((3, UNIT, UNIT), 2)
    layers = logical(layout, {**tensors, "state": state})
    assert len(layers) == 3
    assert same(layers[0]["input_weight"][0], tensors["first"])
    assert same(layers[2]["input_weight"][0], tensors["others"][1])
    assert same(layers[2]["recurrent_weight"][0], state[2])
    (one,) = logical(layout, {"first": tensors["first"], "state": state[:1]})
    assert same(one["input_weight"][0], tensors["first"])


def test_a_number_in_a_name_counts_layers_and_directions(layouts_from: Any, values: Any) -> None:
    layout = layouts_from(
        """
        [rnn.tensors]
        "{layer direction}/w" = { role = "input_weight",     axes = "unit in" }
        "{layer direction}/u" = { role = "recurrent_weight", axes = "unit hidden" }
        """
    )["made_up.rnn"]
    widths = [IN, IN, 2 * UNIT, 2 * UNIT]
    tensors = {f"{number}/w": values((UNIT, width), number) for number, width in enumerate(widths)}
    tensors |= {f"{number}/u": values((UNIT, UNIT), 9 + number) for number in range(4)}
    layers = logical(layout, tensors, settings={"direction": "bidirectional"})
    assert same(layers[1]["input_weight"][0], tensors["2/w"])
    assert same(layers[1]["input_weight"][1], tensors["3/w"])
    assert [len(layer["input_weight"]) for layer in layers] == [2, 2]


def test_a_constant_is_not_lost_where_its_tensor_is_missing(layouts_from: Any, values: Any) -> None:
    """A layer without a bias whose framework adds one to the forget gate all the same."""
    layout = layouts_from(
        """
        [lstm]
        gate = ["input", "forget", "candidate", "output"]
        adds = { bias = { forget = 1.0 } }
        [lstm.tensors]
        W = { role = "input_weight",     axes = "(gate unit) in" }
        R = { role = "recurrent_weight", axes = "(gate unit) hidden" }
        b = { role = "bias",             axes = "(gate unit)" }
        """
    )["made_up.lstm"]
    (roles,) = logical(layout, {"W": values((20, IN), 0), "R": values((20, UNIT), 1)})
    assert same(roles["bias"][0].sum(axis=0), np.repeat([[0.0], [1.0], [0.0], [0.0]], UNIT, axis=1))


def test_a_layout_that_sums_what_the_kind_keeps_apart_is_refused(layouts_from: Any) -> None:
    layout = layouts_from(
        """
        [gru]
        gate = ["reset", "update", "candidate"]
        [gru.tensors]
        W = { role = "input_weight",     axes = "(gate unit) in" }
        R = { role = "recurrent_weight", axes = "(gate unit) hidden" }
        b = { role = "bias",             axes = "(gate unit)" }
        """
    )["made_up.gru"]
    shapes = {"W": (15, IN), "R": (15, UNIT), "b": (15,)}
    assert view_of(layout, shapes, {"reset": "before"}).roles == ("input_weight", "recurrent_weight", "bias")
    with pytest.raises(LayoutError, match=r"made_up\.toml \[gru\] 'b': sums .* which gru keeps apart"):
        view_of(layout, shapes, {"reset": "after"})


def test_more_layers_or_directions_than_a_layout_holds() -> None:
    sizes = [SIZES, {**SIZES, "in": UNIT}]
    with pytest.raises(RefusedError, match=r"keras\.lstm holds one layer, not 2"):
        view_for(layout_named("keras.lstm"), TWO, {"layer": 2}, sizes)
    with pytest.raises(RefusedError, match=r"torch\.lstm_cell holds one direction, not 2"):
        view_for(layout_named("torch.lstm_cell"), TWO, {"direction": 2}, sizes[:1])

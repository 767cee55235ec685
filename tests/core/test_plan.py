"""Plans: what moves where, what folds, what is refused and why. Plain data, for every pair of layouts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pytest

from sample_sizes import SIZES, fitting
from weightport import LayoutError, RefusedError
from weightport.engine import settle
from weightport.kinds import all_kinds
from weightport.layouts import Layout, all_layouts, layout_named
from weightport.plan import LayerPlan, Plan
from weightport.planner import Part, plan_layer
from weightport.views import View, view_for, view_of

WEIGHTS = ("input_weight", "recurrent_weight")
BIASED = (*WEIGHTS, "bias")


def view(layout: Layout | str, roles: Any, settings: Mapping[str, Any] | None = None, layers: int = 1) -> View:
    found = layout_named(layout) if isinstance(layout, str) else layout
    sizes = fitting(found)
    stacked = [{**sizes, "in": 5} if layer else sizes for layer in range(layers)]
    return view_for(found, roles, {"layer": layers, "direction": 1}, stacked, settings or {})


def part(name: str, of: View, prefix: str = "", first_layer: int = 0) -> Part:
    return Part(name, of, {local: prefix + local for local in of.shapes}, first_layer)


def plan(source: View, target: View, dtype: str = "float32") -> LayerPlan:
    settings = {**source.settings, **target.settings}
    return plan_layer([part("ours", source)], [part("theirs", target)], settings, lambda _: np.dtype(dtype))


def settled(layer: LayerPlan, arrays: Mapping[str, np.ndarray]) -> LayerPlan:
    return settle(Plan((layer,)), arrays.__getitem__).layers[0]


def arrays_of(source: View, values: Any) -> dict[str, np.ndarray]:
    return {name: values(shape, seed, "float32") for seed, (name, shape) in enumerate(source.shapes.items())}


# Every pair of layouts.


def usual_settings(layout: Layout) -> dict[str, Any]:
    return {name: layout.settings.get(name, [value])[0] for name, value in layout.kind.settings.items()}


@pytest.mark.parametrize("kind", list(all_kinds()))
def test_every_plan_writes_every_element_once_and_reads_every_element_once(kind: str, elements_of: Any) -> None:
    """What is read is carried, or has to be of one value; or the pair is refused for what a layout cannot hold."""
    layouts = [layout for layout in all_layouts().values() if layout.kind.name == kind]
    rules = all_kinds()[kind].roles
    planned = 0
    for source, target in product(layouts, layouts):
        settings = usual_settings(source)
        ours = view(source, [name for name, role in rules.items() if not role.optional], settings)
        try:
            made = plan(ours, view(target, ours.roles, settings))
        except (RefusedError, LayoutError) as error:
            assert source is not target, error
            continue
        planned += 1
        moves = [(tensor.name, move) for tensor in made.tensors for move in tensor.moves]
        written = [(name, move.target) for name, move in moves]
        read = [(block.tensor, block.block) for _, move in moves for block in move.sources]
        read += [(need.tensor, need.block) for need in made.requirements]
        kept = {
            block.tensor for block in ours.blocks if not rules[block.role].incidental or block.role in made_roles(made)
        }
        for blocks, shapes in (
            (written, {tensor.name: tensor.shape for tensor in made.tensors}),
            (read, {name: shape for name, shape in ours.shapes.items() if name in kept}),
        ):
            for name, shape in shapes.items():
                elements = np.concatenate([elements_of(block) for tensor, block in blocks if tensor == name])
                assert sorted(elements.tolist()) == list(range(prod(shape))), (source.name, target.name, name)
    assert planned >= len(layouts)


def made_roles(layer: LayerPlan) -> set[str]:
    return {move.what.split()[0] for tensor in layer.tensors for move in tensor.moves}


def test_a_plan_is_plain_data() -> None:
    made = plan(view("torch.gru", BIASED), view("keras.gru", BIASED, {"reset": "after"}))
    written = json.loads(json.dumps(Plan((made,)).to_json()))
    assert [layer["verdict"] for layer in written] == ["exact"]
    assert [tensor["name"] for tensor in written[0]["tensors"]] == ["kernel", "recurrent_kernel", "bias"]
    assert written[0]["tensors"][0]["dtype"] == "float32"
    assert written[0]["tensors"][0]["moves"][0]["what"] == "input_weight update"
    assert hash(made.tensors[0].moves[0])  # immutable through and through


# Verdicts.


def test_a_permutation_is_exact(values: Any) -> None:
    made = plan(view("keras.lstm", BIASED), view("onnx.lstm", BIASED))
    assert made.verdict == "exact"
    assert not made.requirements
    assert all(len(move.sources) <= 1 for tensor in made.tensors for move in tensor.moves)


def test_two_biases_fold_into_one(values: Any) -> None:
    source = view("torch.lstm", BIASED)
    made = plan(source, view("keras.lstm", BIASED))
    arrays = arrays_of(source, values)
    assert settled(made, arrays).verdict == "folded"
    folded = [move for tensor in made.tensors for move in tensor.moves if move.folds]
    assert [move.what for move in folded] == ["bias input", "bias forget", "bias candidate", "bias output"]
    assert {source.tensor for move in folded for source in move.sources} == {"bias_ih_l0", "bias_hh_l0"}


def test_two_biases_of_which_one_is_zero_do_not_fold(values: Any) -> None:
    source = view("torch.lstm", BIASED)
    for zero, kept in (("bias_hh_l0", "bias_ih_l0"), ("bias_ih_l0", "bias_hh_l0")):
        arrays = arrays_of(source, values)
        arrays[zero][:] = 0
        made = settled(plan(source, view("keras.lstm", BIASED)), arrays)
        assert made.verdict == "exact"
        assert {s.tensor for move in made.tensors[2].moves for s in move.sources} == {kept}


def test_one_bias_becomes_two_with_zeros() -> None:
    made = plan(view("keras.lstm", BIASED), view("torch.lstm", BIASED))
    of_input, of_state = made.tensors[2:]
    assert (of_input.name, of_state.name) == ("bias_ih_l0", "bias_hh_l0")
    assert all(len(move.sources) == 1 and move.constant == 0 for move in of_input.moves)
    assert all(not move.sources and move.constant == 0 for move in of_state.moves)


def test_a_bias_that_the_source_does_not_have_is_zero() -> None:
    made = plan(view("keras.lstm", WEIGHTS), view("torch.lstm", BIASED))
    assert all(not move.sources and move.constant == 0 for tensor in made.tensors[2:] for move in tensor.moves)


def test_a_scale_that_the_source_does_not_have_is_one() -> None:
    roles = ["running_mean", "running_variance"]
    made = plan(view("keras.batch_norm", roles), view("torch.batch_norm", [*roles, "scale", "bias", "batch_count"]))
    constants = {tensor.name: tensor.moves[0].constant for tensor in made.tensors if not tensor.moves[0].sources}
    assert constants == {"weight": 1.0, "bias": 0.0, "num_batches_tracked": 0.0}
    assert {tensor.name: str(tensor.dtype) for tensor in made.tensors}["num_batches_tracked"] == "int64"


def test_bookkeeping_is_dropped_and_noted() -> None:
    source = view("torch.batch_norm", all_kinds()["batch_norm"].roles)
    made = plan(source, view("keras.batch_norm", source.roles))
    assert made.notes == ("batch_count is bookkeeping and is not carried",)
    assert not made.requirements


ONE_SIDED = """
[gru]
gate = ["reset", "update", "candidate"]
settings = { reset = ["after"] }
[gru.tensors]
W = { role = "input_weight",     axes = "(gate unit) in" }
R = { role = "recurrent_weight", axes = "(gate unit) hidden" }
b = { role = "bias", side = "input", axes = "(gate unit)" }
"""


def test_the_bias_inside_the_reset_gate_folds_into_nothing(layouts_from: Any, values: Any) -> None:
    """The other two gates' biases are summed; the candidate's must be zero, and then the layer is carried."""
    source = view("torch.gru", BIASED)
    made = plan(source, view(layouts_from(ONE_SIDED)["made_up.gru"], BIASED))
    assert [need.what for need in made.requirements] == ["bias recurrent candidate"]
    arrays = arrays_of(source, values)
    reason = "made_up.gru has no place for bias recurrent candidate, so it must be 0 everywhere"
    with pytest.raises(RefusedError) as caught:
        settled(made, arrays)
    assert caught.value.problems == (f"ours (bias_hh_l0): {reason}",)
    arrays["bias_hh_l0"][10:] = 0
    folded = [move.what for tensor in settled(made, arrays).tensors for move in tensor.moves if move.folds]
    assert folded == ["bias reset", "bias update"]


def test_all_gates_fold_where_the_reset_stands_before() -> None:
    before = {"reset": "before"}
    made = plan(view("onnx.gru", BIASED, before), view("keras.gru", BIASED, before))
    assert not made.requirements
    assert [len(move.sources) for move in made.tensors[2].moves] == [2, 2, 2]


def test_peepholes_have_to_be_zero_where_there_is_no_place_for_them(values: Any) -> None:
    source = view("onnx.lstm", (*BIASED, "peephole"))
    made = plan(source, view("torch.lstm", BIASED))
    assert sorted(need.what for need in made.requirements) == ["peephole forget", "peephole input", "peephole output"]
    arrays = arrays_of(source, values)
    with pytest.raises(RefusedError, match=r"torch\.lstm has no place for peephole forget"):
        settled(made, arrays)
    assert settled(made, {**arrays, "P": np.zeros_like(arrays["P"])})


def test_a_constant_that_the_framework_adds_is_taken_away_and_put_back(layouts_from: Any) -> None:
    layout = layouts_from(
        """
        [lstm]
        gate = ["input", "candidate", "forget", "output"]
        adds = { bias = { forget = 1.0 } }
        [lstm.tensors]
        kernel = { role = ["input_weight", "recurrent_weight"], axes = "(in + hidden) (gate unit)" }
        bias   = { role = "bias", axes = "(gate unit)" }
        """
    )["made_up.lstm"]
    away = plan(view("keras.lstm", BIASED), view(layout, BIASED))
    assert [move.constant for move in away.tensors[1].moves] == [0, 0, -1, 0]  # input, candidate, forget, output
    assert away.verdict == "folded"
    back = plan(view(layout, BIASED), view("keras.lstm", BIASED))
    assert [move.constant for move in back.tensors[2].moves] == [0, 1, 0, 0]
    unbiased = plan(view("keras.lstm", WEIGHTS), view(layout, WEIGHTS))
    assert [move.constant for move in unbiased.tensors[1].moves] == [0, 0, -1, 0]


TURNED = """negates = ["update"]
adds = { bias = { update = 0.5, reset = 0.25 } }
[gru.tensors]"""


def test_a_gate_that_the_framework_turns_round_changes_its_sign(layouts_from: Any) -> None:
    """Stored = 0.5 - mathematics and mathematics = 0.5 - stored, in the turned gate; in the other, as it is added."""
    turned = view(layouts_from(ONE_SIDED.replace("[gru.tensors]", TURNED))["made_up.gru"], BIASED)
    keras = view("keras.gru", BIASED, {"reset": "after"})
    for made, in_reset in ((plan(keras, turned), -0.25), (plan(turned, keras), 0.25)):
        moves = {move.what: move for tensor in made.tensors for move in tensor.moves if move.sources}
        assert {source.sign for source in moves["input_weight update"].sources} == {-1}
        assert {source.sign for source in moves["input_weight reset"].sources} == {1}
        update, reset = moves["bias update"], moves["bias reset"]
        assert ({source.sign for source in update.sources}, update.constant) == ({-1}, 0.5)
        assert ({source.sign for source in reset.sources}, reset.constant) == ({1}, in_reset)


# Refusals.


def test_every_size_that_differs_is_listed() -> None:
    target = view_for(layout_named("torch.lstm"), BIASED, {}, [{"in": 4, "unit": 6, "hidden": 6}])
    with pytest.raises(RefusedError) as caught:
        plan(view("keras.lstm", BIASED), target)
    assert "theirs: ours does not fit" in str(caught.value)
    assert "in is 3 in the source, 4 in the target" in caught.value.problems
    assert "unit is 5 in the source, 6 in the target" in caught.value.problems


def test_other_numbers_of_layers_and_directions_are_told() -> None:
    target = view_for(layout_named("torch.rnn"), WEIGHTS, {"layer": 2, "direction": 2}, [SIZES, {**SIZES, "in": 10}])
    with pytest.raises(RefusedError) as caught:
        plan(view("keras.rnn", WEIGHTS), target)
    assert caught.value.problems == (
        "1 layer in the source, 2 in the target",
        "1 direction in the source, 2 in the target",
    )


def test_a_projection_is_not_dropped() -> None:
    source = view("torch.lstm", (*WEIGHTS, "projection"))
    with pytest.raises(RefusedError) as caught:
        plan(source, view("keras.lstm", WEIGHTS))
    assert caught.value.problems == ("the target has no place for projection",)


def test_a_parameter_without_a_source_is_told() -> None:
    with pytest.raises(RefusedError) as caught:
        plan(view("keras.batch_norm", ["running_mean", "running_variance"]), view("torch.batch_norm", ["running_mean"]))
    assert "running_variance" in str(caught.value)


# Stacks and dtypes.


def test_layers_become_a_stack_and_the_other_way_round() -> None:
    ours = [part("first", view("keras.lstm", BIASED), "first."), part("second", _upper(), "second.", first_layer=1)]
    stack = part("stack", view("torch.lstm", BIASED, layers=2), "stack.")
    joined = plan_layer(ours, [stack], {}, lambda _: np.dtype("float32"))
    assert (joined.sources, joined.targets) == (("first", "second"), ("stack",))
    sources = {tensor.name: {s.tensor for move in tensor.moves for s in move.sources} for tensor in joined.tensors}
    assert sources["stack.weight_ih_l0"] == {"first.kernel"}
    assert sources["stack.weight_hh_l1"] == {"second.recurrent_kernel"}
    split = plan_layer([stack], ours, {}, lambda _: np.dtype("float32"))
    sources = {tensor.name: {s.tensor for move in tensor.moves for s in move.sources} for tensor in split.tensors}
    assert sources["second.bias"] == {"stack.bias_ih_l1", "stack.bias_hh_l1"}


def _upper() -> View:
    return view_for(layout_named("keras.lstm"), BIASED, {}, [{**SIZES, "in": 5}])


def test_a_stack_of_other_directions_is_none() -> None:
    two = view_for(layout_named("keras.lstm"), BIASED, {"direction": 2}, [SIZES])
    ours = [part("one", view("keras.lstm", BIASED), "one."), part("two", two, "two.", first_layer=1)]
    with pytest.raises(RefusedError, match="two: has other directions than one"):
        plan_layer(ours, [part("stack", view("torch.lstm", BIASED, layers=2))], {}, lambda _: np.dtype("float32"))


def test_dtypes_are_kept_unless_another_is_asked_for() -> None:
    source, target = (view(f"{name}.batch_norm", all_kinds()["batch_norm"].roles) for name in ("torch", "torch"))

    def dtype_of(name: str) -> Any:
        return np.dtype("int64" if name == "num_batches_tracked" else "float32")

    kept = plan_layer([part("a", source)], [part("b", target)], {}, dtype_of)
    assert [str(tensor.dtype) for tensor in kept.tensors] == [*["float32"] * 4, "int64"]
    asked = plan_layer([part("a", source)], [part("b", target)], {}, dtype_of, np.dtype("float16"))
    assert [str(tensor.dtype) for tensor in asked.tensors] == [*["float16"] * 4, "int64"]


def test_what_is_filled_anew_is_of_the_layers_floating_point_dtype() -> None:
    """Not of the counter's, though it may stand first in a file."""
    source = view("torch.batch_norm", ["running_mean", "running_variance", "batch_count"])
    names = dict(sorted(part("a", source).names.items()))
    assert next(iter(names)) == "num_batches_tracked"

    def dtype_of(name: str) -> Any:
        return np.dtype("int64" if name == "num_batches_tracked" else "float16")

    target = view("keras.batch_norm", ["running_mean", "running_variance", "scale", "bias"])
    made = plan_layer([Part("a", source, names)], [part("b", target)], {}, dtype_of)
    assert {str(tensor.dtype) for tensor in made.tensors} == {"float16"}


def test_a_layer_without_any_tensor_fills_its_target_with_what_it_computes_with() -> None:
    made = plan(view("keras.layer_norm", []), view("torch.layer_norm", ["scale", "bias"]))
    assert {tensor.name: tensor.moves[0].constant for tensor in made.tensors} == {"weight": 1.0, "bias": 0.0}


def test_one_tensor_from_sources_of_two_dtypes_is_refused() -> None:
    source, target = view("torch.lstm", BIASED), view("keras.lstm", BIASED)
    with pytest.raises(RefusedError, match=r"bias: its sources are of several dtypes \(float16, float32\)"):
        plan_layer(
            [part("a", source)],
            [part("b", target)],
            {},
            lambda name: np.dtype("float16" if name == "bias_hh_l0" else "float32"),
        )


def test_two_parameters_in_one_target_tensor_are_refused() -> None:
    """An optimised ONNX graph may read a batch norm's scale and variance from one initializer: filling both would
    leave the second in the place of the first."""
    shapes = dict.fromkeys(("scale", "B", "input_mean", "input_var"), (3,))
    goal = view_of(layout_named("onnx.batch_norm"), shapes)
    names = {"scale": "s", "B": "b", "input_mean": "b", "input_var": "s"}
    source = view_of(
        layout_named("keras.batch_norm"), dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (3,))
    )
    parts = [Part("bn", source, {name: name for name in source.shapes})], [Part("bn", goal, names)]
    with pytest.raises(RefusedError) as error:
        plan_layer(*parts, {}, lambda _: np.dtype(np.float32))
    assert error.value.problems == (
        "the target keeps scale and input_var in one tensor, 's', which cannot hold both",
        "the target keeps B and input_mean in one tensor, 'b', which cannot hold both",
    )

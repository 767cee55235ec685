"""Two checkpoints are compared as mathematics: what is the same is said to be, what differs is named and placed."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

import weightport as wp
from weightport.cli import cli

LSTM = {"weight_ih_l0": (24, 4), "weight_hh_l0": (24, 6), "bias_ih_l0": (24,), "bias_hh_l0": (24,)}


def tensors(dtype="float32", seed=5):
    """An LSTM and a linear layer, every value another one."""
    generator = np.random.default_rng(seed)
    made = {f"lstm.{name}": generator.normal(size=shape) for name, shape in LSTM.items()}
    made |= {"head.weight": generator.normal(size=(3, 6)), "head.bias": generator.normal(size=3)}
    return {name: array.astype(dtype) for name, array in made.items()}


@pytest.fixture
def compare(tmp_path):
    """Writes two sets of tensors as files and compares them."""

    def run(a, b, **options):
        save_file(a, tmp_path / "a.safetensors")
        save_file(b, tmp_path / "b.safetensors")
        return wp.diff(tmp_path / "a.safetensors", tmp_path / "b.safetensors", **options)

    return run


def layer(found, name):
    return next(layer for layer in found.layers if layer.name == name)


def test_a_checkpoint_is_the_same_as_itself(compare):
    found = compare(tensors(), tensors())
    assert found.same
    assert {layer.name: layer.elements for layer in found.layers} == {"lstm": 24 * 11, "head": 21}  # biases are summed


def test_one_changed_value_is_counted_placed_and_shown_on_both_sides(compare):
    other = tensors()
    other["lstm.weight_hh_l0"][13, 2] += 0.5
    found = layer(compare(tensors(), other), "lstm")
    (place,) = [place for role in found.roles for place in role.places]
    assert found.verdict == "differing"
    assert place.labels == ("candidate",)
    assert (place.axes, place.index) == (("unit", "hidden"), (1, 2))
    assert (place.differing, place.elements) == (1, 36)
    assert place.b - place.a == pytest.approx(0.5, abs=1e-6)
    assert place.largest == pytest.approx(0.5, abs=1e-6)


def test_the_largest_of_several_differences_is_the_one_that_is_placed(compare):
    other = tensors()
    other["head.weight"] += np.float32(1e-3)
    other["head.weight"][2, 4] += 1
    (role,) = [role for role in layer(compare(tensors(), other), "head").roles if role.places]
    assert role.places[0].index == (2, 4)
    assert role.differing == 18


def test_biases_whose_sum_alone_matters_are_compared_as_their_sum(compare):
    other = tensors("float64")
    other["lstm.bias_ih_l0"] = other["lstm.bias_ih_l0"] + other["lstm.bias_hh_l0"]
    other["lstm.bias_hh_l0"] = np.zeros(24)
    assert compare(tensors("float64"), other).same


def test_a_bias_that_is_absent_is_one_of_zeros(compare):
    bare = {name: array for name, array in tensors().items() if "bias" not in name}
    zeros = {**tensors(), **{name: array * 0 for name, array in tensors().items() if "bias" in name}}
    found = compare(bare, zeros)
    assert found.same
    assert "A has none, and computes with 0" in [role.note for layer in found.layers for role in layer.roles]
    assert compare(bare, tensors()).verdict == "differing"


@pytest.mark.parametrize("narrow", ["float16", "bfloat16", "float64"])
def test_other_dtypes_are_compared_to_the_precision_of_the_coarser_one_and_it_is_said(narrow, compare):
    dtype = np.dtype(getattr(ml_dtypes, narrow, narrow))
    coarser = "float32" if narrow == "float64" else narrow
    found = compare(tensors(), tensors(dtype))
    assert found.same
    assert {role.precision for layer in found.layers for role in layer.roles} == {coarser}
    other = tensors(dtype)
    other["head.weight"][0, 0] *= dtype.type(1.05)
    assert compare(tensors(), other).verdict == "differing"


def test_equal_dtypes_are_compared_exactly_unless_a_tolerance_is_given(compare):
    other = tensors()
    other["head.weight"][1, 1] = np.nextafter(other["head.weight"][1, 1], np.float32(9))
    assert compare(tensors(), other).verdict == "differing"
    assert compare(tensors(), other, rtol=1e-6).same
    assert compare(tensors(), other, atol=1e-6).same


def test_nan_is_the_same_as_nan_in_its_place_only_and_is_reported(compare):
    ours, theirs = tensors(), tensors()
    ours["head.weight"][1, 2] = theirs["head.weight"][1, 2] = np.nan
    found = compare(ours, theirs)
    assert found.same
    assert [role.nan for role in layer(found, "head").roles] == [1, 0]
    theirs["head.weight"][1, 3] = np.nan
    (role,) = [role for role in layer(compare(ours, theirs), "head").roles if role.places]
    assert role.places[0].index == (1, 3)
    assert role.largest == np.inf


@pytest.mark.parametrize(
    ("one", "other", "same"), [(np.inf, np.inf, True), (np.inf, -np.inf, False), (np.inf, 1, False)]
)
def test_infinities_are_equal_only_to_themselves_whatever_the_tolerance(one, other, same, compare):
    ours, theirs = tensors(), tensors()
    ours["head.weight"][1, 2], theirs["head.weight"][1, 2] = one, other
    assert compare(ours, theirs, rtol=1e-3).same is same


def test_an_overflow_to_infinity_in_a_narrower_dtype_is_a_difference(compare):
    ours = tensors()
    ours["head.weight"][0, 0] = 1e6
    with np.errstate(over="ignore"):
        theirs = {name: array.astype("float16") for name, array in ours.items()}
    assert compare(ours, theirs).verdict == "differing"


def test_a_layer_that_one_side_lacks_is_missing(compare):
    less = {name: array for name, array in tensors().items() if name.startswith("lstm")}
    found = compare(tensors(), less)
    assert found.verdict == "differing"
    assert (layer(found, "head").verdict, layer(found, "head").b) == ("missing", "")


def test_layers_of_other_sizes_are_said_to_be(compare):
    other = tensors()
    other["head.weight"] = np.ones((3, 7), "float32")
    assert layer(compare(tensors(), other), "head").problems == ("in is 6 in A, 7 in B",)


def test_tensors_of_no_kind_are_compared_by_name_within_one_framework(compare):
    ours, theirs = ({**tensors(), "scale.alpha": np.arange(3, dtype="float32")} for _ in range(2))
    assert compare(ours, theirs).same
    theirs["scale.alpha"][1] = 9
    assert compare(ours, theirs).verdict == "differing"
    del theirs["scale.alpha"]
    found = compare(ours, theirs)
    assert found.verdict == "incomplete"
    assert list(found.uncovered_a) == ["scale.alpha"]


def test_nothing_to_compare_is_not_the_same(compare):
    assert compare({}, {}).verdict == "incomplete"


def test_large_tensors_are_compared_in_pieces_and_placed_as_a_whole(compare, monkeypatch):
    monkeypatch.setattr("weightport.layer_comparison.CHUNK", 7)
    other = tensors()
    other["lstm.weight_ih_l0"][4, 3] += 1
    other["lstm.weight_ih_l0"][2, 1] += 0.5
    (place,) = [place for role in layer(compare(tensors(), other), "lstm").roles for place in role.places]
    assert (place.differing, place.index) == (2, (4, 3))


def test_the_command_exits_0_for_the_same_1_for_a_difference_and_2_for_wrong_usage(tmp_path):
    other = tensors()
    other["head.weight"][1, 1] += 1
    save_file(tensors(), tmp_path / "a.safetensors")
    save_file(other, tmp_path / "b.safetensors")
    a, b = str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")
    same, differing, wrong = (
        CliRunner().invoke(cli, ["diff", a, other]) for other in (a, b, str(tmp_path / "none.pt"))
    )
    assert (same.exit_code, differing.exit_code, wrong.exit_code) == (0, 1, 2)
    assert "the same: 285 values are the same" in same.stdout
    assert "different: 1 of 285 values differ" in differing.stdout
    assert "out 1, in 1" in differing.stdout


def test_the_command_gives_one_json_document(tmp_path):
    save_file(tensors(), tmp_path / "a.safetensors")
    save_file({**tensors(), "head.bias": np.float32([np.nan, 1, 2])}, tmp_path / "b.safetensors")
    result = CliRunner().invoke(
        cli, ["diff", str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors"), "--json"]
    )
    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert document["verdict"] == "differing"
    layers = {layer["a"]: (layer["verdict"], layer["differing"]) for layer in document["layers"]}
    assert layers == {"lstm": ("same", 0), "head": ("differing", 3)}


def matrices(names, seed=5, **changed):
    generator = np.random.default_rng(seed)
    made = {f"{name}.weight": generator.normal(size=(4, 4)).astype("float32") for name in names}
    return {**made, **changed}


def renamed(tensors, names):
    """The same tensors, in the order of the names, under these names."""
    return {f"{name}.weight": array for name, array in zip(names, tensors.values(), strict=True)}


def test_layers_that_neither_name_nor_order_tells_are_paired_by_what_they_hold(compare):
    """Two files whose order is an alphabet, with names that have nothing to do with each other."""
    ours = matrices(["left", "right", "top"])
    found = compare(ours, renamed(ours, ["zoo", "fox", "ape"]))
    assert found.same
    partners = sorted((layer.a, layer.b) for layer in found.layers)
    assert partners == [("left", "zoo"), ("right", "fox"), ("top", "ape")]


def test_the_last_layer_that_is_left_is_the_partner_of_the_last(compare):
    ours = matrices(["left", "right", "top"])
    theirs = renamed(ours, ["zoo", "fox", "ape"])
    theirs["fox.weight"] = theirs["fox.weight"] * np.float32(2)
    (differing,) = [layer for layer in compare(ours, theirs).layers if layer.verdict == "differing"]
    assert (differing.a, differing.b, differing.paired_by) == ("right", "fox", "what is left")
    assert differing.diagnosis == ("equal if A is multiplied by 2",)


def test_layers_that_nothing_tells_are_refused_by_name(compare):
    with pytest.raises(wp.RefusedError) as refusal:
        compare(matrices(["left", "right"]), matrices(["zoo", "fox"], seed=6))
    for word in ("left", "right", "zoo", "fox", "--map"):
        assert word in str(refusal.value)


def test_a_mapping_settles_what_nothing_tells(compare):
    found = compare(
        matrices(["left", "right"]), matrices(["zoo", "fox"], seed=6), mapping={"left": "zoo", "right": "fox"}
    )
    assert [layer.verdict for layer in found.layers] == ["differing", "differing"]

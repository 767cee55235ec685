"""What each command prints, for people and as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

COMMANDS = ["convert", "inspect", "edit", "layouts", "explain"]


def test_help_lists_every_command(weightport):
    result = weightport("--help")
    assert result.status == 0
    assert all(command in result.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples_and_json(command, weightport):
    result = weightport(command, "--help")
    assert result.status == 0
    assert f"weightport {command}" in result.out
    assert "Examples:" in result.out
    assert "--json" in result.out


def test_convert_says_what_it_did(keras_file, tmp_path, weightport):
    result = weightport("convert", keras_file, tmp_path / "m.pt")
    assert result.status == 0, result.err
    for word in (
        "bidirectional_3",
        "gru",
        "exact",
        "19 tensors",
        "78,705 values",
        "optimizer state",
        "activation softmax",
    ):
        assert word in result.out


def test_convert_as_json_is_one_document(keras_file, tmp_path, weightport):
    result = weightport("convert", keras_file, tmp_path / "m.pt", "--json")
    document = json.loads(result.out)
    assert document["verdict"] == "exact"
    assert document["written"] is True
    assert document["unused"] == []
    assert {layer["kind"] for layer in document["layers"]} == {"embedding", "gru", "dense", "additive_attention"}


def test_a_dry_run_prints_the_plan_and_writes_nothing(keras_file, tmp_path, weightport):
    result = weightport("convert", keras_file, tmp_path / "m.pt", "--dry-run")
    assert result.status == 0
    assert "gru_7.weight_ih_l0" in result.out
    assert "turned: in unit to unit in" in result.out
    assert list(tmp_path.iterdir()) == []
    plan = json.loads(weightport("convert", keras_file, tmp_path / "m.pt", "--dry-run", "--json").out)["plan"]
    moves = [move["what"] for layer in plan for tensor in layer["tensors"] for move in tensor["moves"]]
    assert "recurrent_weight forward candidate" in moves


def test_the_report_is_kept_in_the_files_metadata(keras_file, tmp_path, weightport):
    from safetensors import safe_open

    weightport("convert", keras_file, tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", "np") as file:
        kept = json.loads(file.metadata()["weightport"])
    assert kept["source"] == "keras"
    assert kept["layers"]["gru_7"]["settings"]["reset"] == "after"


def test_inspect_lists_layers_with_their_gates(torch_file, weightport):
    result = weightport("inspect", torch_file)
    assert result.status == 0
    for word in ("lstm", "weight_ih_l0", "input_weight", "(gate unit) in", "24 x 4", "float32", "candidate"):
        assert word in result.out


def test_inspect_a_layer_takes_its_gates_apart(torch_file, weightport):
    blocks = json.loads(weightport("inspect", torch_file, "lstm", "--json").out)["blocks"]
    forget = [b for b in blocks if b["role"] == "bias" and b["labels"] == ["input", "forget"]]
    stored = load_file(torch_file)["lstm.bias_ih_l0"][6:12]
    assert forget[0]["shape"] == [6]
    assert forget[0]["mean"] == pytest.approx(stored.mean(), rel=1e-6)
    assert forget[0]["minimum"] == pytest.approx(stored.min(), rel=1e-6)
    assert "forget" in weightport("inspect", torch_file, "lstm").out


def test_inspect_counts_nan(tmp_path, weightport):
    save_file({"head.weight": np.float32([[1, np.nan], [2, 3]])}, tmp_path / "m.safetensors")
    blocks = json.loads(weightport("inspect", tmp_path / "m.safetensors", "head", "--json").out)["blocks"]
    assert [block["nan"] for block in blocks] == [1]


def test_edit_sets_one_gate_and_carries_the_rest_bit_for_bit(torch_file, tmp_path, weightport):
    result = weightport("edit", torch_file, tmp_path / "out.safetensors", "--set", "lstm.bias[forget]=5.0")
    assert result.status == 0, result.err
    before, after = load_file(torch_file), load_file(tmp_path / "out.safetensors")
    total = after["lstm.bias_ih_l0"] + after["lstm.bias_hh_l0"]
    np.testing.assert_array_equal(total[6:12], 5.0)
    for name in before:
        rest = np.ones(before[name].shape, bool)
        if "bias" in name and name.startswith("lstm"):
            rest[6:12] = False
        assert after[name][rest].tobytes() == before[name][rest].tobytes(), name


def test_layouts_lists_describes_and_counts(weightport):
    assert "torch.lstm" in weightport("layouts").out
    assert "keras" not in weightport("layouts", "torch").out
    described = weightport("layouts", "haiku.lstm").out
    assert "(in + hidden) (gate unit)" in described
    assert "+1 to forget" in described
    document = json.loads(weightport("layouts", "--json").out)["layouts"]
    recorded = {layout["framework"] for layout in document if layout["verified"] == "recorded"}
    assert len({layout["framework"] for layout in document}) >= 30
    assert len(recorded) >= 22


def test_explain_draws_both_sides(weightport):
    result = weightport("explain", "keras.lstm", "onnx.lstm")
    assert result.status == 0
    assert "i i f f c c o o" in result.out
    assert "gates input forget candidate output become input output forget candidate" in result.out
    assert "each block is turned" in result.out


def test_explain_says_what_is_refused_and_on_what_condition(weightport):
    assert (
        "reset is before, and torch.gru can only be after"
        in weightport("explain", "keras.gru", "torch.gru", "--with", "reset=before").out
    )
    assert "recurrent candidate, so it must be 0 everywhere" in weightport("explain", "torch.gru", "nnx.gru").out
    document = json.loads(weightport("explain", "onnx.lstm", "keras.lstm", "--json").out)
    assert document["conditions"] == ["keras.lstm has no peephole: it must be 0 everywhere"]


def test_explain_draws_an_svg_file(tmp_path, weightport):
    from xml.etree import ElementTree

    result = weightport("explain", "keras.lstm", "onnx.lstm", "--svg", tmp_path / "lstm.svg")
    assert result.status == 0, result.err
    squares = ElementTree.parse(tmp_path / "lstm.svg").iter("{http://www.w3.org/2000/svg}rect")
    elements = 2 * (3 * 8 + 2 * 8) + 8 + 16
    assert len(list(squares)) == elements + 4
    assert weightport("explain", "keras.lstm", "onnx.lstm", "--svg", tmp_path / "lstm.svg").status == 1

"""Mistakes planted in real frameworks' weights are named: in PyTorch's state dicts and in ONNX files.

A right conversion is made, one side is spoilt the way a hand-written converter spoils it, the framework's own writer
writes it, and the comparison with the other side has to say what was done.
"""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pytest

import weightport as wp
from live_cases import CASES, Case, channels_first, channels_last, keras_model, randomise, torch_module
from mistakes import both, copied, each_block, every, gates, reshaped, swapped

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
onnx = pytest.importorskip("onnx")

OWN = [
    Case("gru-square", lambda k: k.GRU(4, return_sequences=True), lambda n: n.GRU(4, 4, batch_first=True), (5, 4)),
    Case("dense-flat", lambda k: k.Dense(5), lambda n: n.Linear(24, 5), (24,)),
    Case("dense-square", lambda k: k.Dense(6), lambda n: n.Linear(6, 6), (6,)),
    Case(
        "conv-image",
        lambda k: k.Conv2D(5, (3, 3)),
        lambda n: n.Conv2d(3, 5, (3, 3)),
        (7, 8, 3),
        channels_first,
        channels_last,
    ),
]
BY_NAME = {case.name: case for case in (*CASES, *OWN)}

RESHAPED = "B's tensors were reshaped, or left as they were, where they have to be transposed"

IN_TORCH = {
    "gates-swapped": ("lstm", gates([0, 1, 3, 2]), "equal if gates candidate and output are swapped"),
    "gates-in-a-3-cycle": (
        "lstm",
        gates([0, 3, 1, 2]),
        "equal if gates forget, candidate and output in B are read as output, forget and candidate "
        "(B's are in the order of onnx)",
    ),
    "gates-in-a-4-cycle": (
        "lstm",
        gates([1, 2, 3, 0]),
        "equal if gates input, forget, candidate and output in B are read as forget, candidate, output and input",
    ),
    "two-pairs-of-gates": (
        "lstm",
        gates([1, 0, 3, 2]),
        "equal if gates input and forget, candidate and output are swapped",
    ),
    "gates-of-the-kernel-only": (
        "lstm",
        gates([1, 0, 2, 3], only="weight_ih"),
        "equal if gates input and forget are swapped, in input_weight only",
    ),
    "gates-of-one-direction": (
        "bidirectional-lstm",
        gates([0, 1, 3, 2], only="_reverse"),
        "equal if gates candidate and output are swapped, in direction backward only",
    ),
    "gru-gates-left-as-they-were": (
        "gru",
        gates([1, 0, 2]),
        "equal if gates update and reset are swapped (B's are in the order of {other})",
    ),
    "gru-gates-turned-round": (
        "gru",
        gates([2, 0, 1]),
        "equal if gates update, reset and candidate in B are read as reset, candidate and update",
    ),
    "gates-interleaved": (
        "lstm",
        every(lambda array: array.reshape(4, 6, -1).swapaxes(0, 1).reshape(array.shape)),
        "equal if the gates of B are interleaved, every gate of one unit after the other",
    ),
    "bias-halves": (
        "gru",
        swapped("bias_ih", "bias_hh"),
        "equal if sides input and recurrent of bias are swapped",
    ),
    "directions": (
        "bidirectional-gru",
        swapped("l0_reverse", "l0"),
        "equal if directions forward and backward are swapped",
    ),
    "input-and-recurrent-kernel": (
        "lstm-square",
        swapped("weight_ih", "weight_hh"),
        "equal if input_weight and recurrent_weight are exchanged",
    ),
    "stacked-layers": (
        "rnn-stacked-cells",
        both(swapped("hh_l0", "hh_l1"), swapped("bias_ih_l0", "bias_ih_l1")),
        "equal if stacked layers 0 and 1 are swapped, in recurrent_weight and bias only",
    ),
    "each-gate-not-transposed": (
        "gru",
        every(each_block(3, lambda _, block: block.T), "weight_hh"),
        "equal if recurrent_weight is transposed (unit and hidden are exchanged)",
    ),
    "not-transposed": ("rnn", every(np.transpose, "weight_hh"), "equal if recurrent_weight is transposed (unit and"),
    "dense-not-transposed": (
        "dense-square",
        every(np.transpose, "weight"),
        "equal if weight is transposed (out and in are exchanged)",
    ),
    "reshaped": (
        "lstm",
        every(reshaped, "weight"),
        RESHAPED,
    ),
    "dense-reshaped": (
        "dense",
        every(reshaped, "weight"),
        "equal if out and in of weight follow each other in the",
    ),
    "sign-of-the-update-gate": (
        "gru",
        every(each_block(3, lambda index, block: -block if index == 1 else block)),
        "equal if the sign of gate update is turned",
    ),
    "every-sign": ("dense", every(np.negative), "equal if every sign is turned"),
    "forget-bias-left-out": (
        "lstm",
        every(each_block(4, lambda index, block: block - (index == 1)), "bias_ih"),
        "bias of gate forget is 1 more in A than in B",
    ),
    "forget-bias-added-twice": (
        "lstm",
        every(each_block(4, lambda index, block: block + (index == 1)), "bias_hh"),
        "bias of gate forget is 1 more in B than in A",
    ),
    "flattened-in-the-other-order": (
        "dense-flat",
        every(lambda array: array.reshape(5, 2, 3, 4).transpose(0, 3, 1, 2).reshape(5, 24), "weight"),
        "equal if in (24 values) follows (6, 4) in A and (4, 6) in B",
    ),
    "kernel-flipped": (
        "conv-image",
        every(lambda array: array[..., ::-1, ::-1], "weight"),
        "equal if the kernel is flipped along every axis of space",
    ),
    "kernel-flipped-in-1d": (
        "conv1d",
        every(lambda array: array[..., ::-1], "weight"),
        "equal if spatial axis 0 is reversed",
    ),
    "kernel-height-and-width": (
        "conv-image",
        every(lambda array: array.swapaxes(2, 3), "weight"),
        "equal if weight is transposed (spatial axis 0 and spatial axis 1 are exchanged)",
    ),
    "colours": (
        "conv-image",
        every(lambda array: array[:, ::-1], "weight"),
        "equal if in is reversed (RGB on one side, BGR on the other)",
    ),
    "mean-and-variance": (
        "batch_norm",
        swapped("running_mean", "running_var"),
        "equal if running_mean and running_variance are exchanged",
    ),
    "variance-as-mean": (
        "batch_norm",
        copied("layer.running_mean", "layer.running_var"),
        "B has A's running_variance in the place of its running_mean",
    ),
    "gamma-and-beta": ("batch_norm", swapped("weight", "bias"), "equal if scale and bias are exchanged"),
    "gamma-and-beta-of-a-layer-norm": (
        "layer_norm",
        swapped("weight", "bias"),
        "equal if scale and bias are exchanged",
    ),
    "factor": ("embedding", every(lambda array: array * 0.5), "equal if A is multiplied by 0.5"),
    "through-half-precision": ("lstm", every(lambda array: array.astype("float16")), "B is A rounded to float16"),
    "bias-never-loaded": ("conv1d", every(np.zeros_like, "bias"), "B's bias is 0 everywhere, as if nothing"),
}

IN_ONNX = {
    "gates-swapped": (
        "lstm",
        both(gates([0, 1, 3, 2], axis=1, only="W"), gates([0, 1, 3, 2], axis=1, only="R")),
        "equal if gates forget and candidate are swapped, in input_weight and recurrent_weight only",
    ),
    "gates-left-in-keras-order": (
        "lstm",
        both(
            gates([0, 2, 3, 1, 4, 6, 7, 5], axis=1, only="B"),
            both(gates([0, 2, 3, 1], axis=1, only="W"), gates([0, 2, 3, 1], axis=1, only="R")),
        ),
        "equal if gates forget, candidate and output in B are read as candidate, output and forget "
        "(B's are in the order of {other})",
    ),
    "gru-gates-in-torch-order": (
        "gru",
        both(
            gates([1, 0, 2, 4, 3, 5], axis=1, only="B"),
            both(gates([1, 0, 2], axis=1, only="W"), gates([1, 0, 2], axis=1, only="R")),
        ),
        "equal if gates update and reset are swapped (B's are in the order of torch)",
    ),
    "bias-halves": ("gru", gates([1, 0], axis=1, only="B"), "equal if sides input and recurrent of bias are swapped"),
    "directions": (
        "bidirectional-gru",
        every(lambda array: array[::-1]),
        "equal if directions forward and backward are swapped",
    ),
    "input-and-recurrent-kernel": (
        "lstm-square",
        swapped("W", "R"),
        "equal if input_weight and recurrent_weight are exchanged",
    ),
    "not-transposed": (
        "rnn",
        every(lambda array: array.swapaxes(1, 2), "R"),
        "equal if recurrent_weight is transposed (unit and hidden are exchanged)",
    ),
    "reshaped": (
        "lstm",
        every(lambda array: reshaped(array[0])[None], "W"),
        RESHAPED,
    ),
    "sign-of-the-update-gate": (
        "gru",
        both(
            every(each_block(6, lambda index, block: -block if index in {0, 3} else block, axis=1), "B"),
            every(each_block(3, lambda index, block: block if index else -block, axis=1), "R"),
        ),
        "equal if the sign of gate update is turned, in recurrent_weight and bias only",
    ),
    "forget-bias-left-out": (
        "lstm",
        every(each_block(8, lambda index, block: block - (index == 2), axis=1), "B"),
        "bias of gate forget is 1 more in A than in B",
    ),
    "dense-not-transposed": (
        "dense-square",
        every(np.transpose, "B"),
        "equal if weight is transposed (out and in are exchanged)",
    ),
    "flattened-in-the-other-order": (
        "dense-flat",
        every(lambda array: array.reshape(5, 2, 3, 4).transpose(0, 3, 1, 2).reshape(5, 24), "B"),
        "equal if in (24 values) follows (6, 4) in A and (4, 6) in B",
    ),
    "kernel-flipped": (
        "conv-image",
        every(lambda array: array[..., ::-1, ::-1], "W"),
        "equal if the kernel is flipped along every axis of space",
    ),
    "colours": ("conv-image", every(lambda array: array[:, ::-1], "W"), "equal if in is reversed (RGB on one side"),
    "mean-and-variance": (
        "batch_norm",
        swapped("mean", "var"),
        "equal if running_mean and running_variance are exchanged",
    ),
    "gamma-and-beta": ("batch_norm", swapped("scale", "B"), "equal if scale and bias are exchanged"),
}
NAMES = {
    "LSTM": ("X", "W", "R", "B"),
    "GRU": ("X", "W", "R", "B"),
    "RNN": ("X", "W", "R", "B"),
    "Gemm": ("A", "B", "C"),
    "Conv": ("X", "W", "B"),
    "BatchNormalization": ("X", "scale", "B", "mean", "var"),
}


@cache
def right(name, folder):
    """A model, its twin in PyTorch with the same weights, and the twin exported to ONNX: three files that are right."""
    case = BY_NAME[name]
    model, twin = keras_model(case), torch_module(case)
    wp.convert(model, twin)
    model.save(folder / f"{name}.keras")
    torch.save(twin.state_dict(), folder / f"{name}.pt")
    inputs = case.turn_in(torch.from_numpy(case.input("float32"))).contiguous()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(twin, (inputs,), folder / f"{name}.onnx", dynamo=False)
    return {kind: folder / f"{name}.{kind}" for kind in ("keras", "pt", "onnx")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("planted")


def spoil_torch(path, mistake, spoilt):
    """The state dict with a mistake, written by PyTorch."""
    state = torch.load(path, weights_only=True)
    arrays = {name: tensor.numpy().copy() for name, tensor in state.items()}
    mistake(arrays)
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, spoilt)


def spoil_onnx(path, mistake, spoilt):
    """The graph with a mistake in the weights of its one layer, under the operator's own names for its inputs."""
    model = onnx.load(path)
    (node,) = [node for node in model.graph.node if node.op_type in NAMES]
    homes = dict(zip(NAMES[node.op_type], node.input, strict=False))
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    arrays = {name: onnx.numpy_helper.to_array(tensors[home]) for name, home in homes.items() if home in tensors}
    mistake(arrays)
    for name, array in arrays.items():
        tensors[homes[name]].CopyFrom(onnx.numpy_helper.from_array(array, homes[name]))
    onnx.checker.check_model(model)
    onnx.save(model, spoilt)


def sentences(found):
    """What was said of the one layer that differs."""
    (layer,) = found.layers
    assert layer.verdict == "differing"
    assert layer.differing > 0
    return layer.diagnosis


@pytest.mark.parametrize("name", BY_NAME)
def test_right_conversions_are_the_same_in_all_three(name, folder):
    files = right(name, folder)
    for a, b in (("keras", "pt"), ("keras", "onnx"), ("pt", "onnx"), ("onnx", "keras")):
        found = wp.diff(files[a], files[b])
        assert found.same, (a, b, found)
        assert sum(layer.elements for layer in found.layers) > 0


@pytest.mark.parametrize("other", ["keras", "onnx"])
@pytest.mark.parametrize("planted", IN_TORCH)
def test_a_mistake_in_a_state_dict_is_named(planted, other, folder):
    name, mistake, words = IN_TORCH[planted]
    files = right(name, folder)
    spoil_torch(files["pt"], mistake, folder / "spoilt.pt")
    said = sentences(wp.diff(files[other], folder / "spoilt.pt"))
    assert len(said) == 1, said
    assert said[0].startswith(words.format(other=other)), said


@pytest.mark.parametrize("other", ["keras", "pt"])
@pytest.mark.parametrize("planted", IN_ONNX)
def test_a_mistake_in_an_onnx_file_is_named(planted, other, folder):
    name, mistake, words = IN_ONNX[planted]
    files = right(name, folder)
    spoil_onnx(files["onnx"], mistake, folder / "spoilt.onnx")
    said = sentences(wp.diff(files[other], folder / "spoilt.onnx"))
    assert len(said) == 1, said
    assert said[0].startswith(words.format(other={"pt": "torch"}.get(other, other))), said


def test_kernels_copied_as_keras_stores_them_are_named(folder):
    files = right("lstm", folder)
    state = torch.load(files["pt"], weights_only=True)
    kernels = {"weight_ih_l0": "kernel", "weight_hh_l0": "recurrent_kernel"}
    model = keras.saving.load_model(files["keras"])
    for name, kernel in kernels.items():
        stored = np.array(getattr(model.layers[0].cell, kernel))
        state[f"layer.{name}"] = torch.from_numpy(stored.reshape(tuple(state[f"layer.{name}"].shape)))
    torch.save(state, folder / "copied.pt")
    (said,) = sentences(wp.diff(files["keras"], folder / "copied.pt"))
    assert said == RESHAPED
    (said,) = sentences(wp.diff(files["onnx"], folder / "copied.pt"))
    assert said == RESHAPED


def test_tensors_copied_as_onnx_stores_them_are_named(folder):
    """ONNX's W and R in its own order of gates, under PyTorch's names: a mistake that no other order explains."""
    files = right("lstm", folder)
    state = torch.load(files["pt"], weights_only=True)
    layer = wp.open(files["onnx"]).layers[0]
    tensors = wp.open(files["onnx"]).tensors
    for name, letter in (("weight_ih_l0", "W"), ("weight_hh_l0", "R")):
        stored = tensors[layer.tensors[letter]].read()[0]
        state[f"layer.{name}"] = torch.from_numpy(np.ascontiguousarray(stored.T).reshape(stored.shape))
    torch.save(state, folder / "copied.pt")
    (said,) = sentences(wp.diff(files["onnx"], folder / "copied.pt"))
    assert said.startswith("B's tensors were transposed from how they are stored in onnx, where torch needs another")


def test_two_mistakes_in_two_parameters_are_both_named(folder):
    files = right("lstm", folder)
    mistake = both(gates([1, 0, 2, 3], only="ih"), every(each_block(4, lambda _, block: block.T), "weight_hh"))
    spoil_torch(files["pt"], mistake, folder / "spoilt.pt")
    said = sentences(wp.diff(files["keras"], folder / "spoilt.pt"))
    assert said[0].startswith("equal if gates input and forget are swapped, in input_weight")
    assert any(sentence.startswith("equal if recurrent_weight is transposed") for sentence in said)


def test_two_mistakes_in_one_parameter_are_named_together(folder):
    files = right("lstm", folder)
    mistake = both(gates([1, 0, 2, 3], only="hh"), every(each_block(4, lambda _, block: block.T), "weight_hh"))
    spoil_torch(files["pt"], both(mistake, gates([1, 0, 2, 3], only="ih")), folder / "spoilt.pt")
    said = sentences(wp.diff(files["keras"], folder / "spoilt.pt"))
    assert (
        "equal if gates input and forget are swapped and recurrent_weight is transposed (unit and hidden are "
        in "".join(said)
    )


def test_what_is_explained_and_what_is_not_are_told_apart(folder):
    files = right("gru", folder)
    noise = every(lambda array: array + np.random.default_rng(0).normal(size=array.shape), "weight_ih")
    spoil_torch(files["pt"], both(gates([1, 0, 2]), noise), folder / "spoilt.pt")
    said = sentences(wp.diff(files["keras"], folder / "spoilt.pt"))
    assert said[0].startswith("equal if gates update and reset are swapped (B's are in the order of keras), in recurr")
    assert said[-1] == "no usual mistake explains input_weight"


ATTENTION = {
    "queries-and-keys": (
        gates([1, 0, 2], only="in_proj"),
        "equal if query_weight and key_weight, query_bias and key_bias are exchanged",
    ),
    "all-three-in-a-circle": (
        gates([1, 2, 0], only="in_proj"),
        "equal if query_weight, key_weight, value_weight, query_bias, key_bias and value_bias of B are read as",
    ),
    "heads-interleaved": (
        every(lambda array: array.reshape(3, 3, 4, -1).swapaxes(1, 2).reshape(array.shape), "in_proj"),
        "equal if head and key of query_weight, query_bias, key_weight and key_bias follow each other in the other",
    ),
    "output-not-transposed": (every(np.transpose, "out_proj.weight"), RESHAPED),
}


@pytest.mark.parametrize("planted", ATTENTION)
def test_a_mistake_in_attention_is_named(planted, tmp_path):
    """Keras has a kernel for every head, PyTorch packs all three projections into one matrix."""
    mistake, words = ATTENTION[planted]
    query, value = keras.Input((5, 12)), keras.Input((7, 12))
    model = keras.Model([query, value], keras.layers.MultiHeadAttention(3, 4, name="layer")(query, value))
    randomise(model.weights, 1)
    twin = torch.nn.Module()
    twin.layer = torch.nn.MultiheadAttention(12, 3, batch_first=True)
    wp.convert(model, twin)
    model.save(tmp_path / "m.keras")
    torch.save(twin.state_dict(), tmp_path / "right.pt")
    assert wp.diff(tmp_path / "m.keras", tmp_path / "right.pt").same
    spoil_torch(tmp_path / "right.pt", mistake, tmp_path / "spoilt.pt")
    assert sentences(wp.diff(tmp_path / "m.keras", tmp_path / "spoilt.pt"))[0].startswith(words)


def test_a_bias_that_one_side_was_built_without_is_said_to_be_missing(folder):
    files = right("gru", folder)
    state = torch.load(files["pt"], weights_only=True)
    torch.save({name: tensor for name, tensor in state.items() if "bias" not in name}, folder / "bare.pt")
    assert sentences(wp.diff(files["keras"], folder / "bare.pt")) == ("B has no bias",)

"""Files of Keras 1 and 2 are brought up to date as data and then run: what they become computes the same, or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import weightport as wp
from old_keras import call, functional, input_layer, layer, write_h5

pytest.importorskip("keras")
pytest.importorskip("onnxruntime")

FIXTURES = Path(__file__).parents[2] / "fixtures" / "keras"
FILES = (
    "dgaintel/domain_classifier_model.h5",
    "keras-1.2.2/recurrent.h5",  # twelve tensors an LSTM, masks, directions merged by products
    "keras-1.2.2/sequence.h5",
    "tf_keras/cudnn.h5",  # a layer that goes backwards
    "tf_keras/sequence.keras",
)


@pytest.fixture(params=FILES)
def old(request):
    return FIXTURES / request.param


def test_an_old_model_and_what_it_becomes_in_onnx_compute_the_same(old, tmp_path):
    wp.convert(old, tmp_path / "model.onnx")
    parity = wp.verify(old, tmp_path / "model.onnx")
    assert {depth.name: depth.verdict for depth in parity.depths} == dict.fromkeys(
        ("weights", "layers", "model"), "agrees"
    ), (parity.depths, parity.causes)


def test_an_old_model_with_one_gate_set_otherwise_is_found_out_by_its_outputs(tmp_path):
    old = FIXTURES / "dgaintel" / "domain_classifier_model.h5"
    wp.edit(old, tmp_path / "edited.h5", ["lstm_4.bias[forget]=5.0"])
    parity = wp.verify(old, tmp_path / "edited.h5")
    assert (parity.first, parity.depths[-1].verdict) == ("lstm_4", "differs")


def not_reached(tmp_path, config, weights):
    """Why the whole model of an old file is not run."""
    old = write_h5(tmp_path / "old.h5", config, weights)
    model = wp.verify(old, old).depths[-1]
    assert model.verdict == "not reached"
    return model.reason


@pytest.mark.parametrize("class_name", ["Lambda", "MyOwn"])
def test_code_in_an_old_model_is_never_run_and_its_layer_is_named(tmp_path, class_name):
    dense = layer("Dense", "dense", call("x"), units=3)
    code = layer(class_name, "code", call("dense"), function=["4wEAAAA=", None, None])
    weights = {"dense": {"kernel:0": np.ones((4, 3), "float32"), "bias:0": np.ones(3, "float32")}}
    config = functional([input_layer("x", 4), dense, code], ["code"])
    assert f"code: {'a Lambda' if class_name == 'Lambda' else 'MyOwn'}" in not_reached(tmp_path, config, weights)


def test_a_file_of_weights_only_is_not_run_and_says_so(tmp_path):
    wp.convert(FIXTURES / "keras-2.12" / "model.weights.h5", tmp_path / "same.weights.h5")
    model = wp.verify(FIXTURES / "keras-2.12" / "model.weights.h5", tmp_path / "same.weights.h5").depths[-1]
    assert "has weights only" in model.reason

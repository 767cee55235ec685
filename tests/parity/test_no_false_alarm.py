"""Right conversions of random models are called right. ``tests/benchmarks/false_alarms.py`` tries 200 of them."""

from __future__ import annotations

import numpy as np
import pytest

import weightport as wp

pytest.importorskip("keras")
pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from parity_models import exported
from random_models import random_model


@pytest.mark.parametrize("seed", range(1000, 1020))
def test_a_random_model_and_what_it_was_converted_to_agree(seed):
    model, twin, shape = random_model(seed)
    wp.convert(model, twin)
    graph = exported(twin, shape)
    one, other = ((model, twin), (model, graph), (twin, graph))[seed % 3]
    parity = wp.verify(one, other, seed=seed)
    assert parity, (parity.summary, parity.depths, parity.causes)
    assert parity.depths[-1].verdict == "agrees"


@pytest.mark.parametrize("fused", [True, False])
def test_what_a_runtime_rounds_in_a_sigmoid_that_gives_almost_nothing_is_no_difference(tmp_path, fused):
    import keras

    last = [keras.layers.Dense(1, activation="sigmoid")]
    last = last if fused else [keras.layers.Dense(1), keras.layers.Activation("sigmoid")]
    model = keras.Sequential([keras.Input((4,)), *last])
    model.layers[0].set_weights([np.float32([[3.2], [3.5], [-2.9], [-3.2]]) / 4, np.float32([-13.0])])
    model.save(tmp_path / "m.keras")
    wp.convert(tmp_path / "m.keras", tmp_path / "m.onnx")
    parity = wp.verify(tmp_path / "m.keras", tmp_path / "m.onnx")
    assert parity.outputs[0].difference.values[0] < 1e-4
    assert parity, (parity.depths, parity.causes)

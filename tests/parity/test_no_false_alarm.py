"""Right conversions of random models are called right. ``tests/benchmarks/false_alarms.py`` tries 200 of them."""

from __future__ import annotations

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

"""The layers and operations that run in ONNX Runtime, as PyTorch source against Keras, too."""

from __future__ import annotations

import pytest

from graph_layers import CONVOLUTIONS, OTHERS, numbers, side_by_side
from source_checks import assert_same_source


@pytest.mark.parametrize("name", [*CONVOLUTIONS, *OTHERS])
def test_layers_compute_what_keras_does(name, tmp_path) -> None:
    shape, cases = {**CONVOLUTIONS, **OTHERS}[name]
    assert_same_source(side_by_side(cases, shape), tmp_path, numbers(shape))


@pytest.mark.parametrize("name", ["conv1d", "conv2d", "separable1d", "transposed1d", "pool2d"])
def test_layers_take_maps_of_any_size(name, tmp_path) -> None:
    shape, cases = CONVOLUTIONS[name]
    assert_same_source(side_by_side(cases, (None, *shape[1:])), tmp_path, numbers(shape))

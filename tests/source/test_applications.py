"""Architectures of ``keras.applications`` as PyTorch source, with random weights and small images."""

from __future__ import annotations

import keras
import pytest

from graph_checks import randomise
from source_checks import assert_same_source


@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0"])
def test_an_image_model_computes_the_same_in_pytorch(name, tmp_path):
    model = getattr(keras.applications, name)(weights=None, input_shape=(32, 32, 3), classes=10)
    assert_same_source(randomise(model), tmp_path, tolerance=1e-4)

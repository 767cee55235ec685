"""Small architectures of keras.applications; ``tests/benchmarks/applications.py`` runs every one."""

from __future__ import annotations

import keras
import pytest

from graph_checks import assert_same, randomise

SMALL = {
    "MobileNetV2": {"alpha": 0.35},
    "MobileNetV3Small": {"alpha": 0.75},
    "EfficientNetB0": {},
    "ConvNeXtTiny": {},
}


@pytest.mark.parametrize("name", SMALL)
def test_an_architecture_computes_what_keras_does(name, tmp_path) -> None:
    build = getattr(keras.applications, name)
    model = build(weights=None, input_shape=(32, 32, 3), classes=5, classifier_activation=None, **SMALL[name])
    assert_same(randomise(model), tmp_path, tolerance=1e-4)

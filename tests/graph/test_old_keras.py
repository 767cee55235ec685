"""Models of Keras 2 in ONNX Runtime give the outputs that Keras 2 itself recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import weightport as wp

FOLDER = Path(__file__).parents[2] / "fixtures/keras/tf_keras"
FILES = ("recurrent.h5", "convolution.h5", "nested.h5", "nested.keras", "sequence.keras", "cudnn.h5")


@pytest.mark.parametrize("name", FILES)
def test_an_old_model_computes_what_it_did(name, tmp_path) -> None:
    recorded = np.load(FOLDER / f"{name.partition('.')[0]}.npz")
    wp.convert(FOLDER / name, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    inputs = [value.name for value in session.get_inputs()]
    given = {wanted: recorded[f"input/{index}"] for index, wanted in enumerate(inputs)}
    outputs = [value.name for value in session.get_outputs()]
    found = dict(zip(outputs, session.run(None, given), strict=True))
    expected = {key.partition("/")[2]: recorded[key] for key in recorded if key.startswith("output/")}
    assert len(found) == len(expected) > 0
    by_name = set(expected) == set(found)
    for index, (ours, values) in enumerate(found.items()):
        theirs = expected[ours if by_name else str(index)]
        np.testing.assert_allclose(values, theirs, rtol=0, atol=1e-5, err_msg=ours)

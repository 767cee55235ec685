"""Runs a Keras model and the ONNX model that weightport makes of its file, and compares every output."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import onnx
import onnxruntime

from weightport import open as open_checkpoint
from weightport.graph.building import Choices, Request
from weightport.graph.keras_reader import read_keras
from weightport.graph.onnx_emitter import write


def randomise(model: keras.Model, seed: int = 0) -> keras.Model:
    """Random values of its own scale for every variable, biases and statistics too; none is zero."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if not str(variable.dtype).startswith("float"):
            continue
        fan_in = max(1, int(np.prod(variable.shape[:-1])))
        scale = random.uniform(0.5, 1.5) / np.sqrt(fan_in) if len(variable.shape) > 1 else random.uniform(0.1, 0.5)
        values = random.normal(size=variable.shape) * scale
        if "variance" in variable.name or variable.name in ("gamma", "scale"):
            values = random.uniform(0.5, 1.5, variable.shape)
        variable.assign(values.astype(variable.dtype))
    return model


def values_for(model: keras.Model, batch: int = 3, free: int = 7, seed: int = 1) -> dict[str, np.ndarray]:
    """An array for every input; ``free`` is the size of its free axes."""
    random = np.random.default_rng(seed)
    values = {}
    for tensor in model.inputs:
        shape = [(batch if axis == 0 else free) if size is None else size for axis, size in enumerate(tensor.shape)]
        if str(tensor.dtype).startswith("int"):
            values[name_of(tensor)] = random.integers(0, 9, shape).astype(tensor.dtype)
        else:
            values[name_of(tensor)] = random.normal(size=shape).astype(tensor.dtype)
    return values


def name_of(tensor: keras.KerasTensor) -> str:
    """What an input is called: as its layer."""
    name: str = tensor._keras_history.operation.name
    return name


def to_onnx(model: keras.Model, folder: Path, opset: int | None = None) -> Path:
    """The ONNX file of a model, checked as strictly as onnx can."""
    source, target = folder / "model.keras", folder / "model.onnx"
    model.save(source)
    checkpoint = open_checkpoint(source)
    write(Request(read_keras(checkpoint), checkpoint, target, Choices(opset), {}))
    onnx.checker.check_model(str(target), full_check=True)
    onnx.shape_inference.infer_shapes(onnx.load(target), check_type=True, strict_mode=True, data_prop=True)
    return target


def run_onnx(path: Path, values: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, values)


def run_keras(model: keras.Model, values: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs in Keras."""
    given = [values[name_of(tensor)] for tensor in model.inputs]
    outputs = model(given[0] if len(given) == 1 else given, training=False)
    return [np.asarray(output) for output in keras.tree.flatten(outputs)]


def assert_same(
    model: keras.Model,
    folder: Path,
    values: dict[str, np.ndarray] | None = None,
    tolerance: float = 1e-5,
    opset: int | None = None,
) -> Path:
    """The ONNX model's outputs are those of Keras, within ``tolerance`` of the largest number in each."""
    values = values_for(model) if values is None else values
    expected = run_keras(model, values)
    path = to_onnx(model, folder, opset)
    found = run_onnx(path, values)
    assert len(found) == len(expected) > 0
    for index, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert ours.shape == theirs.shape, index
        assert ours.dtype == theirs.dtype, index
        assert np.isfinite(theirs).all() and np.ptp(theirs) > 0, f"output {index} shows nothing"
        scale = max(1.0, float(np.abs(theirs.astype(float)).max()))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * scale)
    return path


def largest_error(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """The largest difference of what was found from what is expected, relative to the largest number of each output.

    Raises ValueError where shapes or dtypes differ, or where what is expected shows nothing."""
    errors = []
    for found, expected in pairs:
        if (found.shape, found.dtype) != (expected.shape, expected.dtype):
            raise ValueError(f"found {found.dtype} {found.shape}, expected {expected.dtype} {expected.shape}")
        largest = np.abs(expected.astype(float)).max()
        if not np.isfinite(largest) or np.ptp(expected) == 0:
            raise ValueError("what is expected shows nothing")
        errors.append(float(np.abs(found.astype(float) - expected).max() / largest))
    return max(np.inf if np.isnan(error) else error for error in errors)

"""Runs a Keras model and the PyTorch source that weightport makes of its file, and compares every output."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import torch

from graph_checks import name_of, run_keras, values_for
from weightport import open as open_checkpoint
from weightport.graph.building import Choices, Request
from weightport.graph.keras_reader import read_keras
from weightport.graph.torch_emitter import write


def to_source(model: keras.Model, folder: Path, *, channels_last: bool = False) -> Path:
    """The source of a model, and its weights beside it."""
    source, target = folder / "model.keras", folder / "model.py"
    model.save(source)
    checkpoint = open_checkpoint(source)
    write(Request(read_keras(checkpoint), checkpoint, target, Choices(channels_last=channels_last), {}))
    return target


def loaded(path: Path) -> ModuleType:
    """The emitted module, imported from its file."""
    spec = importlib.util.spec_from_file_location(f"emitted_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # torch.export looks the module of a class up
    spec.loader.exec_module(module)
    return module


def run_source(path: Path, model: keras.Model, values: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs of the emitted model of a Keras model."""
    return run_source_file(path, [values[name_of(tensor)] for tensor in model.inputs])


def run_source_file(path: Path, values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of an emitted model."""
    with torch.no_grad():
        return _arrays(loaded(path).load()(*map(torch.from_numpy, values)))


def exported_output(path: Path, values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of what ``torch.export`` makes of an emitted model."""
    given = tuple(map(torch.from_numpy, values))
    with torch.no_grad():
        return _arrays(torch.export.export(loaded(path).load(), given).module()(*given))


def _arrays(outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> list[np.ndarray]:
    return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def assert_clean(path: Path) -> None:
    """The file is as ruff would write it, and ruff finds nothing in it, with its own settings."""
    for command in (["format", "--check"], ["check", "--select", "E,F,I,UP,B,SIM,RET501"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--isolated", "--target-version", "py311", str(path)]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{path.read_text()}"


def assert_same_source(
    model: keras.Model,
    folder: Path,
    values: dict[str, np.ndarray] | None = None,
    tolerance: float = 1e-5,
    *,
    channels_last: bool = False,
) -> Path:
    """The emitted model's outputs are those of Keras, within ``tolerance`` of the largest number in each."""
    values = values_for(model) if values is None else values
    expected = run_keras(model, values)
    path = to_source(model, folder, channels_last=channels_last)
    found = run_source(path, model, values)
    assert len(found) == len(expected) > 0
    for index, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert ours.shape == theirs.shape, index
        assert np.isfinite(theirs).all() and np.ptp(theirs) > 0, f"output {index} shows nothing"
        scale = max(1.0, float(np.abs(theirs.astype(float)).max()))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * scale, err_msg=str(index))
    assert_clean(path)
    return path

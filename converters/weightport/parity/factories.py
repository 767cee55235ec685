"""The model that a weights file belongs to, made by the user's own code: ``package.module:factory``, or a file of
PyTorch source as ``convert`` writes it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from ..conversion import convert
from ..errors import UsageError
from .runners import is_installed


def model_with_weights(factory: str, weights: Path) -> Any:
    """The model that the factory makes, with the file's weights loaded, ready for inference.

    The module is looked for as Python does, and in the current folder. Raises UsageError where there is none or it
    fails, RefusedError where the weights do not fit."""
    model = _called(factory, _factory(factory))
    convert(weights, model)
    return model.eval() if hasattr(model, "eval") else model


def is_source(model: Any) -> bool:
    """Whether a model is given as a file of Python source."""
    return isinstance(model, str | os.PathLike) and Path(model).suffix == ".py"


def model_of_source(path: Path) -> Any:
    """What the ``load()`` of a source file gives. The file is the user's own program, and is run.

    Raises UsageError where there is no such file, PyTorch is not installed, or it fails."""
    if not is_installed("torch"):
        raise UsageError(f"{path.name} runs in PyTorch, which is not installed here")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError(f"{path}: no such file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return module.load()
    except Exception as error:
        raise UsageError(f"{path}: its load() gives no model: {type(error).__name__}: {error}") from error


def _factory(text: str) -> Any:
    module_name, colon, path = text.partition(":")
    if not colon or not path:
        raise UsageError(f"--model {text!r}: write MODULE:FACTORY, as in mypackage.models:build")
    folder = os.getcwd()  # noqa: PTH109
    sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"--model {text!r}: {error}") from error
    finally:
        sys.path.remove(folder)
    return found


def _called(text: str, factory: Any) -> Any:
    if not callable(factory):
        return factory
    try:
        return factory()
    except Exception as error:
        raise UsageError(f"--model {text!r}: it fails when called: {type(error).__name__}: {error}") from error

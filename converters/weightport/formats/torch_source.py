"""PyTorch source: a ``.py`` file that is written from a whole model and never read, for it is code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..checkpoint import Contents, Output
from ..errors import CheckpointError, RefusedError

NAME = "py"
FRAMEWORK = "torch_source"
SUFFIXES: tuple[str, ...] = (".py",)


def recognises(path: Path, head: bytes) -> bool:
    """No: source is code, and no code is run or read."""
    del path, head
    return False


def read(path: Path) -> Contents:
    """Raises CheckpointError: its weights are in the file beside it."""
    raise CheckpointError(f"{path}: source is not read; its weights are in {path.with_suffix('.safetensors').name}")


def write(path: Path, tensors: Sequence[Output], *, template: Contents | None, metadata: Mapping[str, str]) -> None:
    """Raises RefusedError: a list of weights says nothing of what a model computes."""
    del tensors, template, metadata
    raise RefusedError(f"{path.name}: PyTorch source is written from a whole model; the source file has weights only")

"""PyTorch as source: a whole model is written as a module that a person reads, its weights beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..checkpoint import Contents, Output, Structure
from ..errors import UsageError

if TYPE_CHECKING:
    from ..graph.building import Reader, Writer

NAME = "torch_source"
NAMES_FROM_SOURCE = False
CHOICES: tuple[str, ...] = ("channels_last",)


def structure(contents: Contents) -> Structure:
    """Raises UsageError: the layers are in the file of weights, as PyTorch's own."""
    raise UsageError(f"{contents.origin}: {NAME} is a target; the weights beside such a file are torch")


def tensor_name(layer: str, tensor: str) -> str:
    """Raises UsageError: the names come with the whole model."""
    raise UsageError(f"no name for {tensor!r} of {layer!r}: source is written from a whole model")


def owns(model: object) -> bool:
    """No live model is source."""
    del model
    return False


def read_live(model: Any) -> Contents:
    """Raises UsageError: no live model is source."""
    raise UsageError(f"a {type(model).__name__} is no source")


def write_live(model: Any, tensors: Sequence[Output]) -> None:
    """Raises UsageError: no live model is source."""
    del tensors
    raise UsageError(f"a {type(model).__name__} is no source")


def graph_reader() -> Reader | None:
    """Code is never read."""
    return None


def graph_writer() -> Writer | None:
    """A module and its weights."""
    from ..graph.torch_emitter import write

    return write

"""The registry of PyTorch emitters: one function a kind of operation, in the modules of ``torch_layers``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from typing import TypeAlias

from ..errors import RefusedError
from .custom import registered_classes
from .operations import Operation
from .torch_context import Context

Emitter: TypeAlias = Callable[[Context, Operation], None]

_EMITTERS: dict[str, Emitter] = {}


def emits(*kinds: str) -> Callable[[Emitter], Emitter]:
    """Make a function the emitter of these kinds."""

    def register(emitter: Emitter) -> Emitter:
        for kind in kinds:
            if kind in _EMITTERS:
                raise ValueError(f"two emitters for {kind}")
            _EMITTERS[kind] = emitter
        return emitter

    return register


@cache
def _emitters() -> Mapping[str, Emitter]:
    from . import torch_layers

    for module in pkgutil.iter_modules(torch_layers.__path__):
        importlib.import_module(f"{torch_layers.__name__}.{module.name}")
    return _EMITTERS


def emitter_of(operation: Operation) -> Emitter:
    """The emitter for an operation. Raises RefusedError naming its layer where there is none."""
    custom = registered_classes().get(operation.kind)
    found = custom.emitters.get("torch") if custom else _emitters().get(operation.kind)
    if found is None:
        raise RefusedError(f"{operation.layer}: there is no way yet to write {operation.kind} as PyTorch source")
    return found

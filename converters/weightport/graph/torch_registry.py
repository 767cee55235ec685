"""The registry of PyTorch emitters, which are in the modules of ``torch_layers``."""

from __future__ import annotations

from .emitters import EmitterRegistry
from .torch_context import Context

REGISTRY: EmitterRegistry[Context] = EmitterRegistry("torch", "PyTorch source", f"{__package__}.torch_layers")
emits, emitter_of = REGISTRY.emits, REGISTRY.emitter_of

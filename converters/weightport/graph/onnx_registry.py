"""The registry of ONNX emitters, which are in the modules of ``onnx_layers``."""

from __future__ import annotations

from .emitters import EmitterRegistry
from .onnx_context import Context

REGISTRY: EmitterRegistry[Context] = EmitterRegistry("onnx", "ONNX", f"{__package__}.onnx_layers")
emits, emitter_of = REGISTRY.emits, REGISTRY.emitter_of

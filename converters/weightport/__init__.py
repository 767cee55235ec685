"""weightport moves trained weights between deep-learning frameworks.

>>> import weightport as wp
>>> wp.convert("model.keras", "model.safetensors")                  # file to file; returns a Report
>>> wp.convert("model.pt", "out.keras", into="untrained.keras")     # into a template with the target's structure
>>> wp.convert(keras_model, torch_module)                           # live to live, in place
>>> wp.translate(tensors, "keras.lstm", "torch.lstm")               # one layer's arrays
>>> wp.open("model.keras").layers
>>> wp.verify("model.keras", torch_module)                          # do both compute the same? A Parity

Names are loaded when they are first used, so that ``import weightport`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoint import Checkpoint, Layer
    from .comparison import diff
    from .conversion import convert
    from .differences import Comparison
    from .editing import edit
    from .errors import CheckpointError, LayoutError, RefusedError, UsageError, WeightportError
    from .graph.custom import register_layer
    from .opening import open_checkpoint as open
    from .parity.result import Parity
    from .parity.verification import verify
    from .proposal import propose_mapping
    from .report import Report
    from .translation import translate

__version__ = "0.1.0"

_HOMES = {
    "Checkpoint": "checkpoint",
    "CheckpointError": "errors",
    "Comparison": "differences",
    "Layer": "checkpoint",
    "LayoutError": "errors",
    "Parity": "parity.result",
    "RefusedError": "errors",
    "Report": "report",
    "UsageError": "errors",
    "WeightportError": "errors",
    "convert": "conversion",
    "diff": "comparison",
    "edit": "editing",
    "open": "opening",
    "propose_mapping": "proposal",
    "register_layer": "graph.custom",
    "translate": "translation",
    "verify": "parity.verification",
}

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Comparison",
    "Layer",
    "LayoutError",
    "Parity",
    "RefusedError",
    "Report",
    "UsageError",
    "WeightportError",
    "convert",
    "diff",
    "edit",
    "open",
    "propose_mapping",
    "register_layer",
    "translate",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), "open_checkpoint" if name == "open" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

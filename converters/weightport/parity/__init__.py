"""Parity: do two models compute the same, and if not, where does it stop?

``weightport.verify`` and :func:`assert_parity` run both models on the same inputs, compare every output and every
paired layer, and hold the difference against what rounding alone can do. No framework is imported before it is run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assertion import assert_parity
    from .result import Parity
    from .verification import verify

_HOMES = {"Parity": "result", "assert_parity": "assertion", "verify": "verification"}

__all__ = ["Parity", "assert_parity", "verify"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)

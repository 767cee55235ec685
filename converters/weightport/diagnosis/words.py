"""Lists and axes in words."""

from __future__ import annotations

from collections.abc import Sequence

from ..notation import SPATIAL


def listed(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def paired(pairs: Sequence[tuple[str, str]]) -> str:
    """``a and b``, ``a and b, c and d``."""
    return ", ".join(f"{one} and {other}" for one, other in pairs)


def axis_word(axis: str) -> str:
    """An axis by name; spatial ones by number."""
    return f"spatial axis {axis.lstrip('.')}" if axis.startswith(SPATIAL) else axis

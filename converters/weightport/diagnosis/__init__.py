"""Why two layers differ: the usual mistakes of a conversion, tried one after the other.

A mistake is a hypothesis: a sentence, and what B would hold if it had been made (see :class:`.hypothesis.Hypothesis`).
They are derived from the kind's roles, labels and axes and from the layouts, so that a new kind or framework has them
at once. A new one is a function in one of the modules that :data:`.search.SUSPECTS` names.
"""

from __future__ import annotations

from ..layer_comparison import EXACTLY, Tolerance
from ..layer_pairs import LayerPair
from .case import Case
from .exchange import exchanged_layers
from .search import explain

__all__ = ["LARGEST", "diagnose", "exchanged_layers"]

LARGEST = 1 << 25
"""The largest layer that is diagnosed: both sides are held as float64."""


def diagnose(pair: LayerPair, tolerance: Tolerance = EXACTLY) -> tuple[str, ...]:
    """Sentences that say why a pair of layers of equal sizes differs, and what nothing explains; none for layers that
    are the same. Reads all tensors of both."""
    if pair.a.elements > LARGEST:
        return (f"not diagnosed: its {pair.a.elements:,} values are more than the {LARGEST:,} that are tried",)
    return explain(Case.of(pair, tolerance))

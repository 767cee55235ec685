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
from .search import UNEXPLAINED, explain
from .thinning import thinned

__all__ = ["LARGEST", "diagnose", "exchanged_layers"]

LARGEST = 1 << 25
"""The most values of a layer that are looked at: both sides are held as float64."""


def diagnose(pair: LayerPair, tolerance: Tolerance = EXACTLY) -> tuple[str, ...]:
    """Sentences that say why a pair of layers of equal sizes differs, and what nothing explains; none for layers that
    are the same. Reads all tensors of both; of layers of more than LARGEST values the first rows are looked at."""
    if pair.a.elements <= LARGEST:
        return explain(Case.of(pair, tolerance))
    said: tuple[str, ...] = ()
    for part, what in thinned(pair, LARGEST):
        case = Case.of(part, tolerance, whole=False)
        said = tuple(f"{sentence}; only {what} was looked at" for sentence in explain(case))
        if case.open and not said[-1].startswith(UNEXPLAINED):
            return said
    return said or (f"not diagnosed: its {pair.a.elements:,} values are too many",)

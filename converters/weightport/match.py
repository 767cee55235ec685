"""Which layer of the source goes into which layer of the target. Nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping

from .agreement import agree_on_sizes
from .checkpoint import Checkpoint
from .mapping import NameMap, name_map
from .matching.pairing import common_kind, pairs_of
from .matching.sides import Pair, Side, layer_view

__all__ = ["Pair", "Side", "common_kind", "layer_view", "match", "sides"]


def sides(source: Checkpoint, target: Checkpoint, mapping: Mapping[str, str] | NameMap) -> tuple[Side, Side]:
    """Two checkpoints to be paired, each with the sizes that only the other tells."""
    ours, theirs = agree_on_sizes(source, target, name_map(mapping).layers)
    return Side(ours), Side(theirs)


def match(source: Side, target: Side, mapping: Mapping[str, str] | NameMap) -> list[Pair]:
    """Pair the layers of two checkpoints, in the target's order; what stays in ``free`` has no partner.

    ``mapping`` comes first, then names, then kinds, sizes and order. Raises RefusedError, listing the candidates,
    wherever more than one pairing is possible."""
    return pairs_of(source, target, name_map(mapping).layers)

"""Which layer of the source goes into which layer of the target. Nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping

from .agreement import agree_on_sizes
from .checkpoint import Checkpoint
from .errors import RefusedError
from .mapping import NameMap, name_map
from .matching.attention import with_attention
from .matching.contents import settle_by_values
from .matching.pairing import Ambiguity, Pairing, common_kind, pairing_of
from .matching.sides import Pair, Side, layer_view

__all__ = ["Ambiguity", "Pair", "Pairing", "Side", "common_kind", "layer_view", "match", "propose", "sides"]


def sides(source: Checkpoint, target: Checkpoint, mapping: Mapping[str, str] | NameMap) -> tuple[Side, Side]:
    """Two checkpoints to be paired, each with the sizes that only the other tells, and with attention as one layer
    where the other side has it so."""
    source, target = with_attention(source, target)
    ours, theirs = agree_on_sizes(source, target, dict(_given(source, target, mapping)))
    return Side(ours), Side(theirs)


def match(source: Side, target: Side, mapping: Mapping[str, str] | NameMap) -> list[Pair]:
    """Pair the layers of two checkpoints, in the target's order; what stays in ``free`` has no partner.

    ``mapping`` comes first, then equal names, then kinds, sizes, words of names and order. Raises RefusedError,
    listing the candidates, wherever more than one pairing is possible."""
    return _settled(source, target, propose(source, target, mapping))


def propose(source: Side, target: Side, mapping: Mapping[str, str] | NameMap) -> Pairing:
    """As :func:`match`, with what is not settled beside the pairs. Reads the values of layers that nothing else tells
    apart: those that are the same on both sides are partners."""
    known = name_map(mapping)
    for side in (source, target):
        for name in [name for name in side.free if known.ignores(name)]:
            del side.free[name]
    found = pairing_of(source, target, _given(source.checkpoint, target.checkpoint, known))
    settle_by_values(source, target, found)
    return found


def _given(source: Checkpoint, target: Checkpoint, mapping: Mapping[str, str] | NameMap) -> list[tuple[str, str]]:
    names = ([layer.name for layer in checkpoint.layers] for checkpoint in (source, target))
    return name_map(mapping).pairs(*names)


def _settled(source: Side, target: Side, found: Pairing) -> list[Pair]:
    if len(found.ambiguities) == 1:
        raise RefusedError(str(found.ambiguities[0]))
    if found.ambiguities:
        origins = " and ".join(side.checkpoint.contents.origin for side in (source, target))
        raise RefusedError(f"{origins} could be paired in several ways", [str(a) for a in found.ambiguities])
    return found.pairs

"""Pairing the layers of two checkpoints that are to be compared or run side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from .checkpoint import Checkpoint
from .errors import RefusedError
from .kind_choice import with_kinds
from .kinds import all_kinds
from .layer_pairs import LayerPair, LayerSide, PairedLayers
from .mapping import NameMap, name_map
from .match import Ambiguity, Pair, Side, propose, sides
from .matching.feature_maps import agree_on_maps
from .opening import PathLike


def pair_layers(
    a: Checkpoint, b: Checkpoint, mapping: PathLike | Mapping[str, str] | NameMap | None = None
) -> PairedLayers:
    """Pair the layers of two checkpoints of any two frameworks, as :func:`weightport.match.propose` does, and the last
    two that are left of their kind and size.

    Reads tensors of layers that could be paired in several ways, and no others. Raises RefusedError, naming the
    candidates, where their values do not tell either, and LayoutError where a layer's tensors do not fit its layout."""
    names = name_map(mapping)
    side_a, side_b = sides(with_kinds(a, names), with_kinds(b, names), names)
    found = propose(side_a, side_b, names)
    pairs = [*found.pairs, *_last(side_a, side_b, found.ambiguities)]
    pairs.sort(key=lambda pair: side_b.positions[pair.targets[0].name])
    return PairedLayers(
        tuple(_pair(side_a, side_b, pair, names) for pair in pairs),
        tuple(side_a.free.values()),
        tuple(side_b.free.values()),
    )


def _last(side_a: Side, side_b: Side, ambiguities: Sequence[Ambiguity]) -> Iterator[Pair]:
    """The pair that is left when all others of their kind have partners. Raises RefusedError where more is left."""
    for ambiguity in ambiguities:
        ours = tuple(layer for layer in ambiguity.sources if layer.name in side_a.free)
        theirs = tuple(layer for layer in ambiguity.targets if layer.name in side_b.free)
        if len(ours) == len(theirs) == 1:
            del side_a.free[ours[0].name], side_b.free[theirs[0].name]
            yield Pair(ambiguity.kind, ours, theirs, "what is left")
        elif ours and theirs:
            raise RefusedError(str(replace(ambiguity, sources=ours, targets=theirs)))


def _pair(side_a: Side, side_b: Side, pair: Pair, names: NameMap) -> LayerPair:
    kind = all_kinds()[pair.kind]
    layout = side_b.view(pair.targets[0], pair.kind).layout
    try:
        pair, doubt = agree_on_maps(side_a, side_b, pair, layout, names), ""
    except RefusedError as error:
        pair, doubt = _without_maps(pair), str(error)
    a, b = (
        LayerSide(side.checkpoint, kind, layers, tuple(side.parts(layers, pair.kind)))
        for side, layers in ((side_a, pair.sources), (side_b, pair.targets))
    )
    return LayerPair(kind, a, b, pair.how, pair.notes, doubt)


def _without_maps(pair: Pair) -> Pair:
    """The pair with whole axes on both sides."""
    sources, targets = (
        tuple(replace(layer, flattened=None) for layer in layers) for layers in (pair.sources, pair.targets)
    )
    return replace(pair, sources=sources, targets=targets)

"""Proposing a mapping file: every pair that is found and why, and what is left for the user to settle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .checkpoint import FeatureMap, Layer
from .errors import RefusedError
from .layouts import layout_named
from .mapping import OPEN, NameMap
from .match import Ambiguity, Pair, Side, propose, sides
from .matching.feature_maps import agree_on_maps
from .matching.wildcards import folded
from .opening import open_checkpoint

_MOST_CANDIDATES = 8


@dataclass(frozen=True)
class FlattenLine:
    """What is known of one layer's rows: ``sizes`` of the map that they follow, or nothing, and why."""

    layer: str
    axis: str
    sizes: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class Proposal:
    """How the layers of two models may be paired. ``unpaired`` has the layers of either side without a partner."""

    source: str
    target: str
    pairs: tuple[Pair, ...]
    ambiguities: tuple[Ambiguity, ...]
    unpaired: tuple[tuple[Layer, ...], tuple[Layer, ...]]
    flatten: tuple[FlattenLine, ...]

    @property
    def unsettled(self) -> int:
        """How many entries the user has to settle."""
        return sum(len(one.sources) for one in self.ambiguities) + sum(not line.sizes for line in self.flatten)

    @property
    def mapping(self) -> NameMap:
        """The pairs that are settled, as :func:`weightport.convert` takes them."""
        return NameMap({name: tuple(partners) for name, partners, _ in _entries(self.pairs)})

    def to_toml(self) -> str:
        """The mapping file."""
        return "\n".join([*_head(self), *_layers(self), *_flatten(self)]) + "\n"

    def to_json(self) -> dict[str, Any]:
        """The proposal as JSON data."""
        return {
            "source": self.source,
            "target": self.target,
            "layers": [
                {"sources": _names(pair.sources), "targets": _names(pair.targets), "kind": pair.kind, "why": pair.how}
                for pair in self.pairs
            ],
            "unsettled": [
                {"sources": _names(one.sources), "targets": _names(one.targets), "kind": one.kind, "why": one.why}
                for one in self.ambiguities
            ],
            "unpaired": {"source": _names(self.unpaired[0]), "target": _names(self.unpaired[1])},
            "flatten": [
                {"layer": line.layer, "axis": line.axis, "sizes": list(line.sizes), "why": line.why}
                for line in self.flatten
            ],
            "mapping_file": self.to_toml(),
        }


def propose_mapping(
    source: Any, template: Any, *, from_framework: str | None = None, to_framework: str | None = None
) -> Proposal:
    """Propose how the layers of ``source`` go into those of ``template``; each is a path or a live model. The two
    frameworks are named where the files do not say.

    Nothing that could go two ways is chosen: such layers are left for the user to settle. Reads no weights. Raises
    CheckpointError for a file that cannot be read."""
    one, other = open_checkpoint(source, from_framework), open_checkpoint(template, to_framework)
    ours, theirs = sides(one, other, {})
    found = propose(ours, theirs, {})
    lines = []
    for pair in found.pairs:
        own = pair.targets[0].layout or f"{other.framework}.{pair.kind}"
        try:
            agreed = agree_on_maps(ours, theirs, pair, layout_named(own), NameMap())
            lines += list(_known_maps(agreed))
        except RefusedError as error:
            lines.append(FlattenLine(pair.sources[0].name, "", (), str(error).partition(";")[0]))
    return Proposal(
        one.contents.origin,
        other.contents.origin,
        tuple(found.pairs),
        tuple(found.ambiguities),
        (_without(ours, found.undecided[0]), _without(theirs, found.undecided[1])),
        tuple(lines),
    )


def _without(side: Side, undecided: set[str]) -> tuple[Layer, ...]:
    return tuple(layer for layer in side.free.values() if layer.name not in undecided)


def _known_maps(pair: Pair) -> Iterator[FlattenLine]:
    layer = pair.sources[0]
    for axis, found in (layer.flattened or {}).items():
        if isinstance(found, FeatureMap):
            note = next(note for note in pair.notes if note.startswith(f"{axis} "))
            places = int(note.partition(" places")[0].rpartition(" ")[2])
            yield FlattenLine(layer.name, axis, (places, found.channels), note.partition(": ")[2])


def _names(layers: Sequence[Layer]) -> list[str]:
    return [layer.name for layer in layers]


def _entries(pairs: Sequence[Pair]) -> Iterator[tuple[str, list[str], str]]:
    """One line of the file for each layer on the left: its partners and why."""
    for pair in pairs:
        if len(pair.sources) == 1:
            yield pair.sources[0].name, _names(pair.targets), pair.how
        else:
            for layer in pair.sources:
                yield layer.name, _names(pair.targets), pair.how


def _head(proposal: Proposal) -> Iterator[str]:
    yield f"# Which layer of {proposal.source} (left) goes into which of {proposal.target} (right)."
    yield "# The same file works in the other direction. A # begins a comment."
    if proposal.unsettled:
        yield f"# To settle: {proposal.unsettled} entries that are {_quoted(OPEN)}; until then a conversion is refused."
    yield ""
    ours, theirs = proposal.unpaired
    yield "# Names or patterns of layers and tensors, of either model, that stay behind or keep their values."
    if not ours and not theirs:
        yield "ignore = []"
        return
    yield "ignore = ["
    for layers, whose in ((ours, "source"), (theirs, "target")):
        for layer in layers:
            yield f"    # {_quoted(layer.name)},  # {' or '.join(layer.kinds)} of the {whose}, without a partner"
    yield "]"


def _layers(proposal: Proposal) -> Iterator[str]:
    yield ""
    yield "[layers]"
    names = (
        [layer.name for pair in proposal.pairs for layer in pair.sources],
        [layer.name for pair in proposal.pairs for layer in pair.targets],
    )
    lines = folded(list(_entries(proposal.pairs)), *names)
    width = max((len(_entry(one, partners)) for one, partners, _ in lines), default=0)
    for one, partners, why in lines:
        yield f"{_entry(one, partners):<{min(width, 70)}}  # {why}"
    for ambiguity in proposal.ambiguities:
        yield ""
        yield f"# Not settled: {ambiguity.kind}, {ambiguity.why}."
        candidates = _names(ambiguity.targets)
        more = f" and {len(candidates) - _MOST_CANDIDATES} more" if len(candidates) > _MOST_CANDIDATES else ""
        listed = ", ".join(_quoted(name) for name in candidates[:_MOST_CANDIDATES])
        for layer in ambiguity.sources:
            yield f"{_quoted(layer.name)} = {_quoted(OPEN)}  # one of {listed}{more}"


def _flatten(proposal: Proposal) -> Iterator[str]:
    if not proposal.flatten:
        return
    yield ""
    yield "# The feature maps that rows follow: height, width and channels, channels last whatever the frameworks;"
    yield '# "same" where both models flatten in one order. What begins with # is known from the files.'
    yield "[flatten]"
    for line in proposal.flatten:
        if line.sizes:
            sizes = ", ".join(map(str, line.sizes))
            yield f"# {_quoted(line.layer)} = {{ {line.axis} = [{sizes}] }}  # {line.why}"
        else:
            yield f"{_quoted(line.layer)} = {_quoted(OPEN)}  # {line.why}"


def _entry(one: str, partners: Sequence[str]) -> str:
    value = _quoted(partners[0]) if len(partners) == 1 else f"[{', '.join(map(_quoted, partners))}]"
    return f"{_quoted(one)} = {value}"


def _quoted(text: str) -> str:
    """A basic string of TOML, which has JSON's escapes."""
    return json.dumps(text, ensure_ascii=False)

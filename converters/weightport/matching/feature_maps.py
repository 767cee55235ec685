"""Which axes of a pair of layers run over a feature map, and in which order on either side. Nothing is guessed.

A graph or a config says so, a mapping file can, and a state dict never does: there the framework's own order holds,
that of its layout file. What stays unknown is refused with the line to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

from ..checkpoint import FeatureMap, Layer
from ..errors import RefusedError
from ..layouts import Layout, layout_named
from ..mapping import SAME, Flattened, NameMap
from .sides import Pair, Side

_Said: TypeAlias = FeatureMap | str | None


def maps_of(layer: Layer) -> Mapping[str, FeatureMap]:
    """The maps that a layer's axes run over, where they are known."""
    return {axis: found for axis, found in (layer.flattened or {}).items() if isinstance(found, FeatureMap)}


def agree_on_maps(source: Side, target: Side | None, pair: Pair, layout: Layout, mapping: NameMap) -> Pair:
    """The pair with the feature maps that the rows of both sides follow, where these turn, and a note for each.

    ``layout`` is the target's; without a target side, its layer is made anew. Raises RefusedError where the two sides
    do not agree on a map, or where neither tells."""
    ours, theirs = pair.sources[0], pair.targets[0]
    own = layout_named(ours.layout or f"{source.checkpoint.framework}.{pair.kind}")
    lengths = source.view(ours, pair.kind).sizes[0]
    one = End(ours, lengths, own.channels)
    if target is None:
        one = replace(one, suspicion=suspicion(source, ours, lengths))
        other = End(replace(theirs, flattened=None), lengths, layout.channels)
    else:
        other = End(theirs, target.view(theirs, pair.kind).sizes[0], layout.channels)
        one, other = _with_suspicions((source, one), (target, other))
    given = mapping.flattened(ours.name, theirs.name)
    axes = layout.kind.flattened
    named = {axis or next(iter(axes), ""): value for axis, value in given.items()}
    unknown = sorted(set(named) - set(axes))
    if unknown:
        raise RefusedError(
            f"the mapping file flattens {unknown[0]}; {pair.kind} can have {' or '.join(axes) or 'none'}"
        )
    first, second, notes = agree(one, other, axes, named)
    rest = [replace(layer, flattened=None) for layer in (*pair.sources[1:], *pair.targets[1:])]
    sources, targets = rest[: len(pair.sources) - 1], rest[len(pair.sources) - 1 :]
    return replace(pair, sources=(first, *sources), targets=(second, *targets), notes=notes)


def _with_suspicions(source: tuple[Side, End], target: tuple[Side, End]) -> list[End]:
    """Both ends with what makes a flattened map likely; a file that has its layers in order knows best."""
    ends = (source, target)
    any_order = any(side.checkpoint.contents.ordered for side, _ in ends)
    return [
        replace(end, suspicion=suspicion(side, end.layer, end.lengths))
        if side.checkpoint.contents.ordered or not any_order
        else end
        for side, end in ends
    ]


def suspicion(side: Side, layer: Layer, lengths: Mapping[str, int]) -> str:
    """Why a layer may take in a flattened map, of a file that does not say: it follows a convolution, and takes in
    several times as many features as that has channels. Empty where nothing speaks for it."""
    if layer.flattened is not None:
        return ""
    for channels, name in side.channels_before(layer):
        length = lengths.get("in", 0)
        if length > channels > 1 and not length % channels:
            return (
                f"it takes in {length} features after {name}, which has {channels} channels: neither file says whether "
                "they are a flattened map"
            )
    return ""


@dataclass(frozen=True)
class End:
    """One layer of a pair, with what decides how its rows follow a map. ``order`` is its framework's own;
    ``suspicion`` why a layer of a file that does not say may take in a flattened map all the same."""

    layer: Layer
    lengths: Mapping[str, int]
    order: str
    suspicion: str = ""

    def said(self, axis: str) -> _Said:
        """A map, the reason of a doubt, or None; a map of one channel or one place is as good as none."""
        found = (self.layer.flattened or {}).get(axis)
        trivial = isinstance(found, FeatureMap) and found.channels in (1, self.lengths[axis])
        return None if trivial else found

    def with_maps(self, maps: Mapping[str, FeatureMap]) -> Layer:
        """The layer with exactly these maps."""
        return replace(self.layer, flattened=dict(maps))


def agree(
    source: End, target: End, axes: tuple[str, ...], given: Mapping[str, Flattened]
) -> tuple[Layer, Layer, tuple[str, ...]]:
    """The two layers with the maps that both have, and a note for each axis that is turned.

    Raises RefusedError where the two sides do not agree, or where neither tells."""
    ours: dict[str, FeatureMap] = {}
    theirs: dict[str, FeatureMap] = {}
    notes = []
    _refuse_others(source, target, axes)
    for axis in axes:
        if axis not in source.lengths or source.lengths[axis] != target.lengths.get(axis):
            continue  # what does not fit is told with the sizes
        found = _given(source, target, axis, given[axis]) if axis in given else _found(source, target, axis)
        if found is None or found[0].order == found[1].order:
            continue
        ours[axis], theirs[axis] = found
        notes.append(_note(axis, source.lengths[axis], *found))
    return source.with_maps(ours), target.with_maps(theirs), tuple(notes)


def _refuse_others(source: End, target: End, axes: tuple[str, ...]) -> None:
    """Refuse a map along an axis that no layer of the kind can have turned."""
    for end, other in ((source, target), (target, source)):
        for axis, found in (end.layer.flattened or {}).items():
            turns = isinstance(found, FeatureMap) and found.order != other.order
            if axis not in axes and turns:
                raise RefusedError(
                    f"{end.layer.name} runs over a flattened feature map, and the rows of a {end.layer.kinds[0]} "
                    "cannot be turned from one order of channels to the other"
                )


def _given(source: End, target: End, axis: str, given: Flattened) -> tuple[FeatureMap, FeatureMap] | None:
    if given == SAME:
        return None
    sizes = tuple(int(size) for size in given)
    length = source.lengths[axis]
    if prod(sizes) != length:
        text = " x ".join(map(str, sizes))
        raise _refused(source, f"the mapping file flattens {text} into {axis}, which has {length} elements", axis)
    for end in (source, target):
        said = end.said(axis)
        if isinstance(said, FeatureMap) and said.channels != sizes[-1]:
            raise _refused(source, f"the mapping file says {sizes[-1]} channels, the model {said.channels}", axis)
    one, other = (_in_order(end, axis, sizes[-1]) for end in (source, target))
    return one, other


def _in_order(end: End, axis: str, channels: int) -> FeatureMap:
    """A map of so many channels as this side has it: as its file says, else as its framework does."""
    said = end.said(axis)
    return said if isinstance(said, FeatureMap) else FeatureMap(channels, end.order)


def _found(source: End, target: End, axis: str) -> tuple[FeatureMap, FeatureMap] | None:
    one, other = source.said(axis), target.said(axis)
    if isinstance(one, FeatureMap) and isinstance(other, FeatureMap):
        if one.channels != other.channels:
            reason = f"{axis} runs over {one.channels} channels in the source and {other.channels} in the target"
            raise _refused(source, reason, axis)
        return one, other
    if isinstance(one, FeatureMap) or isinstance(other, FeatureMap):
        return _of_one(source, target, axis)
    if source.order == target.order:
        return None
    for said, end in ((one, source), (other, target)):
        if said:
            raise _refused(source, f"{said}, so how the rows of {end.layer.name} follow it is not known", axis)
    suspicion = source.suspicion or target.suspicion
    if axis == "in" and source.layer.flattened is None and target.layer.flattened is None and suspicion:
        raise _refused(source, suspicion, axis)
    return None


def _of_one(source: End, target: End, axis: str) -> tuple[FeatureMap, FeatureMap]:
    """The map that one side tells of, for both, where the other does not contradict."""
    end, silent = (source, target) if isinstance(source.said(axis), FeatureMap) else (target, source)
    known, said = end.said(axis), silent.said(axis)
    assert isinstance(known, FeatureMap)
    if said or not silent.order:
        raise _refused(source, f"{said or 'its framework has no order'}, so how its rows follow it is not known", axis)
    if silent.layer.flattened is not None and silent.order != known.order:
        reason = f"{end.layer.name} takes in a flattened map of {known.channels} channels, {silent.layer.name} does not"
        raise _refused(source, reason, axis)
    length, channels = end.lengths[axis], known.channels
    if length % channels:
        raise _refused(source, f"{axis} has {length} elements, which is no multiple of {channels} channels", axis)
    other = FeatureMap(channels, silent.order)
    return (known, other) if end is source else (other, known)


def _refused(source: End, reason: str, axis: str) -> RefusedError:
    name = source.layer.name
    value = "[height, width, channels]"
    line = f'"{name}" = {value}' if axis == "in" else f'"{name}" = {{ {axis} = {value} }}'
    return RefusedError(
        f"{reason}; say it in a mapping file: [flatten] {line}, "
        f'or "{SAME}" where both models flatten in one order, and give it with --map'
    )


def _note(axis: str, length: int, one: FeatureMap, other: FeatureMap) -> str:
    places = length // one.channels
    return (
        f"{axis} runs over a flattened map of {places} places and {one.channels} channels: "
        f"turned from channels {one.order} to channels {other.order}"
    )

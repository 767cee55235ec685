"""How feature maps flow through a model: which flattened axis a layer's rows follow. No framework's own words here.

Every axis of an activation is one of: a place or the channels of a feature map, which a channels-first framework has in
another order; plain, which every framework has alike (time steps, features of a dense layer); or raw, of an input
that nothing has read yet. A plain axis that is a merged map, or that is about to be split into one, is marked once
for all layers that share it: their rows all follow it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from ..checkpoint import FeatureMap

_MAX_DEPTH = 32
PLACE, CHANNELS, PLAIN, RAW = "place", "channels", "plain", "raw"


@dataclass(frozen=True)
class Axis:
    """One axis of an activation. ``features`` is what it runs over, the same number for layers that share it;
    ``split`` says which part of a split axis it is: (features, index, number of parts)."""

    role: str
    size: int | None
    features: int
    split: tuple[int, int, int] | None = None


Axes = tuple[Axis, ...]
"""An activation without its batch."""


@dataclass(frozen=True)
class Lost:
    """An activation of which the axes are not known. ``reason`` says why they may be those of a map, and is empty
    where they are none; ``mixes`` are the features that it is made of."""

    reason: str = ""
    mixes: tuple[int, ...] = ()


Activation = Axes | Lost


@dataclass
class _Features:
    parent: int
    map: FeatureMap | None = None
    doubt: str = ""
    mixes: tuple[int, ...] = ()


@dataclass
class Flow:
    """What is known so far of every run of features, and which axes of which layers run over them."""

    _features: list[_Features] = field(default_factory=list)
    _uses: list[tuple[str, str, int]] = field(default_factory=list)
    _seen: dict[str, None] = field(default_factory=dict)
    _splits: dict[int, tuple[Axes, str]] = field(default_factory=dict)

    def features_of(self, lost: Lost) -> Axis:
        """One axis that stands for whatever an activation without known axes has."""
        return self.axis(PLAIN, None, doubt=lost.reason, mixes=lost.mixes)

    def axis(self, role: str, size: int | None, *, doubt: str = "", mixes: Iterable[int] = ()) -> Axis:
        """A new axis. ``mixes`` are features that stand in it one after the other, or mixed in another way."""
        number = len(self._features)
        self._features.append(_Features(number, doubt=doubt, mixes=tuple(mixes)))
        return Axis(role, size, number)

    def axes(self, role: str, sizes: Iterable[int | None]) -> Axes:
        """New axes of these sizes."""
        return tuple(self.axis(role, size) for size in sizes)

    def uses(self, layer: str, name: str, axis: Axis | None) -> None:
        """Note that an axis of a layer runs over these features; None: over some that no other layer shares."""
        self._seen[layer] = None
        if axis is not None:
            self._uses.append((layer, name, axis.features))

    def same(self, one: Axis, other: Axis) -> None:
        """Note that two axes run over the same features, as those of the terms of a sum do."""
        ours, theirs = self._root(one.features), self._root(other.features)
        if ours == theirs:
            return
        kept, gone = self._features[min(ours, theirs)], self._features[max(ours, theirs)]
        gone.parent = kept.parent
        if gone.map is not None:
            self._settle(kept.parent, gone.map)
        kept.doubt = kept.doubt or gone.doubt
        kept.mixes += gone.mixes

    def joined(self, activations: Sequence[Axes], axis: int) -> Axes:
        """Activations one after the other along an axis."""
        parts = [one[axis] for one in activations]
        sizes = [part.size for part in parts]
        roles = {part.role for part in parts}
        role = next((role for role in (CHANNELS, PLACE, PLAIN) if role in roles), RAW)
        size = None if None in sizes else sum(size for size in sizes if size is not None)
        result = list(activations[0])
        result[axis] = self.axis(role, size, mixes=[part.features for part in parts])
        return tuple(result)

    def merged(self, axes: Axes) -> Axis:
        """The one axis that these become, the first one slowest."""
        real = tuple(axis for axis in axes if axis.size != 1)
        if len(real) < 2:
            return replace(real[0], role=PLAIN) if real else self.axis(PLAIN, 1)
        return self._rejoined(real) or self._as_one(real, product_of(axis.size for axis in axes))

    def _as_one(self, real: Axes, size: int | None) -> Axis:
        """A new axis for those that were not one before."""
        roles = [axis.role for axis in real]
        if roles.count(CHANNELS) == 1 and roles.count(PLACE) == len(roles) - 1:
            return self._flattened(real, size)
        if set(roles) == {PLACE}:
            return self.axis(PLACE, size)
        mixes = tuple(axis.features for axis in real)
        if RAW in roles and len(real) > 2:
            return self.axis(
                PLAIN, size, doubt="it flattens an input of three axes, of which none is known as channels"
            )
        if set(roles) & {PLACE, CHANNELS}:
            return self.axis(PLAIN, size, doubt="it flattens the axes of a feature map together with others")
        return self.axis(PLAIN, size, mixes=mixes)

    def divided(self, axis: Axis, sizes: Sequence[int | None], where: str) -> Axes:
        """The axes that one becomes. They are a map if what reads them is a convolution."""
        if len(sizes) == 1:
            return (axis,)
        parts = tuple(
            replace(self.axis(axis.role if axis.role == PLACE else PLAIN, size), split=(axis.features, i, len(sizes)))
            for i, size in enumerate(sizes)
        )
        if axis.role != PLACE:
            self._splits[axis.features] = (parts, where)
        return parts

    def as_map(self, axes: Axes, *, channels_first: bool) -> Axes:
        """The activation as a layer of convolutions or pooling reads it."""
        at = 0 if channels_first else len(axes) - 1
        read = tuple(replace(a, role=CHANNELS if i == at else PLACE, split=None) for i, a in enumerate(axes))
        for number in dict.fromkeys(axis.split[0] for axis in axes if axis.split):
            self._splits.pop(number, None)
            self._read_split(number, axes, at)
        return read

    def results(self) -> dict[str, dict[str, FeatureMap | str]]:
        """For every layer that was seen, the axes that run over a map, or the reason why that is not known."""
        for number, (parts, where) in self._splits.items():
            real = [axis for axis in parts if axis.size != 1]
            if len(real) > 2:
                self._doubt(number, f"{where} makes a map of it that no convolution reads")
        found: dict[str, dict[str, FeatureMap | str]] = {layer: {} for layer in self._seen}
        for layer, name, number in self._uses:
            said = self._said(number)
            if said is not None:
                found[layer][name] = said
        return found

    def _said(self, number: int, depth: int = 0) -> FeatureMap | str | None:
        features = self._features[self._root(number)]
        if features.doubt:
            return features.doubt
        for mixed in features.mixes if depth < _MAX_DEPTH else ():
            said = self._said(mixed, depth + 1)
            if said is not None:
                return said if isinstance(said, str) else "it joins a flattened feature map with other features"
        return features.map

    def _root(self, number: int) -> int:
        while self._features[number].parent != number:
            self._features[number].parent = self._features[self._features[number].parent].parent
            number = self._features[number].parent
        return number

    def _settle(self, number: int, found: FeatureMap) -> None:
        features = self._features[self._root(number)]
        if features.map is not None and features.map != found:
            self._doubt(number, "it shares its rows with another map")
        features.map = found

    def _doubt(self, number: int, reason: str) -> None:
        features = self._features[self._root(number)]
        features.doubt = features.doubt or reason

    def _flattened(self, axes: Axes, size: int | None) -> Axis:
        at = next(index for index, axis in enumerate(axes) if axis.role == CHANNELS)
        channels = axes[at].size
        order = "first" if at == 0 else "last" if at == len(axes) - 1 else ""
        if not order or channels is None:
            return self.axis(PLAIN, size, doubt="it flattens a map whose channels stand between its places")
        merged = self.axis(PLAIN, size, mixes=[axes[at].features])
        self._features[merged.features].map = FeatureMap(channels, order)
        return merged

    def _rejoined(self, axes: Axes) -> Axis | None:
        """The axis that was split into exactly these parts, in their order."""
        splits = [axis.split for axis in axes]
        if None in splits or len({split[0] for split in splits if split}) != 1:
            return None
        number, _, _ = splits[0]  # type: ignore[misc]
        parts = self._splits.get(number)
        real = [axis.features for axis in parts[0] if axis.size != 1] if parts else []
        if real != [axis.features for axis in axes] or parts is None:
            return None
        return Axis(PLAIN, product_of(axis.size for axis in parts[0]), number)

    def _read_split(self, number: int, axes: Axes, at: int) -> None:
        """Features were split, and a convolution reads the parts as a map: its rows follow the map."""
        parts = [axis.split[1] for axis in axes if axis.split and axis.split[0] == number and axis.size != 1]
        own = axes[at].split
        if own is None or own[0] != number or axes[at].size == 1:
            if len(parts) > 1:
                self._doubt_places(number, parts)
            return
        channels, places = own[1], [part for part in parts if part != own[1]]
        order = "last" if all(part < channels for part in places) else "first"
        if places != sorted(places) or (order == "first" and any(part < channels for part in places)):
            self._doubt(number, "it is made into a map whose places stand in another order")
        elif axes[at].size is not None and places:
            self._settle(number, FeatureMap(int(axes[at].size or 0), order))

    def _doubt_places(self, number: int, parts: Sequence[int]) -> None:
        """Parts that are all places have to stand in their order."""
        if list(parts) != sorted(parts):
            self._doubt(number, "it is made into a map whose places stand in another order")


def product_of(sizes: Iterable[int | None]) -> int | None:
    """The product of sizes; None where one of them is not known."""
    known = list(sizes)
    return None if None in known else prod(size for size in known if size is not None)

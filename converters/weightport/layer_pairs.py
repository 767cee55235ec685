"""The layers of two checkpoints in pairs: what each side stores and means, ready to be compared or run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import prod

from .checkpoint import Array, Checkpoint, Layer, Setting
from .engine import Read
from .errors import RefusedError
from .kinds import Kind, all_kinds
from .logical import logical_arrays
from .mapping import NameMap, name_map
from .match import Pair, Side, match, sides
from .matching.feature_maps import agree_on_maps
from .opening import PathLike
from .planner import Part


@dataclass(frozen=True)
class LayerSide:
    """One side of a pair: a layer, or the layers that are one stack, in a checkpoint."""

    checkpoint: Checkpoint
    kind: Kind
    layers: tuple[Layer, ...]
    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        """The layers' names, joined where they are a stack."""
        return " + ".join(layer.name or "(root)" for layer in self.layers)

    @property
    def settings(self) -> dict[str, Setting]:
        """What the file states and what its framework's layout forces, of the kind's settings."""
        stated = {**self.layers[0].settings, **self.parts[0].view.settings}
        return {name: stated[name] for name in self.kind.settings if name in stated}

    @property
    def elements(self) -> int:
        """How many values the tensors hold."""
        return sum(prod(shape) for part in self.parts for shape in part.view.shapes.values())

    def reader(self) -> Read:
        """Reads tensors by the checkpoint's names, each once; what was read is kept as long as the reader."""
        return cache(lambda name: self.checkpoint.tensors[name].read())

    def weights(self) -> list[dict[str, Array]]:
        """The parameters of each stacked layer as float64 arrays by role; see :func:`.logical.logical_arrays`."""
        read = self.reader()
        return [arrays for part in self.parts for arrays in logical_arrays(part.view, _renamed(read, part.names))]


@dataclass(frozen=True)
class LayerPair:
    """A layer (or stack) of one checkpoint and the same one of another.

    ``how`` says how they were found to be a pair, ``notes`` which axes follow a feature map in another order on either
    side. ``doubt`` is why nothing tells whether one does; then both are taken to be in one order."""

    kind: Kind
    a: LayerSide
    b: LayerSide
    how: str
    notes: tuple[str, ...] = ()
    doubt: str = ""


@dataclass(frozen=True)
class PairedLayers:
    """Every pair, in the second checkpoint's order, and the layers that have no partner."""

    pairs: tuple[LayerPair, ...]
    only_a: tuple[Layer, ...]
    only_b: tuple[Layer, ...]


def pair_layers(
    a: Checkpoint, b: Checkpoint, mapping: PathLike | Mapping[str, str] | NameMap | None = None
) -> PairedLayers:
    """Pair the layers of two checkpoints of any two frameworks, by the mapping, by name, then by order and kind.

    Reads no tensor. Raises RefusedError, naming the candidates, where more than one pairing is possible, and
    LayoutError where a layer's tensors do not fit its layout."""
    names = name_map(mapping)
    side_a, side_b = sides(a, b, names)
    pairs = tuple(_pair(side_a, side_b, pair, names) for pair in match(side_a, side_b, names))
    return PairedLayers(pairs, tuple(side_a.free.values()), tuple(side_b.free.values()))


def _renamed(read: Read, names: Mapping[str, str]) -> Read:
    """Reads tensors by the layout's own names."""
    return lambda local: read(names[local])


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

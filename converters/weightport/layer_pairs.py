"""Layers of two checkpoints in pairs: what each side stores and means, ready to be compared or run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import prod

from .checkpoint import Array, Checkpoint, Layer, Setting
from .engine import Read
from .kinds import Kind
from .logical import logical_arrays
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


def _renamed(read: Read, names: Mapping[str, str]) -> Read:
    """Reads tensors by the layout's own names."""
    return lambda local: read(names[local])

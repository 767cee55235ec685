"""One checkpoint's layers while they are being paired, their views, and the pairs that come of it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate

from ..checkpoint import Checkpoint, FeatureMap, Layer
from ..errors import LayoutError, UsageError
from ..flattening import flattened_view_of
from ..layouts import layout_named
from ..notation import SPATIAL
from ..planner import Part
from ..tying import ties_of
from ..views import View

_TAKES_FEATURES = {"in", "token", "query_in"}


@dataclass(frozen=True)
class Pair:
    """Layers of the source that fill layers of the target: one and one, or stacks of recurrent layers.

    ``how`` says why they are a pair, ``notes`` what turns between them beyond their layouts."""

    kind: str
    sources: tuple[Layer, ...]
    targets: tuple[Layer, ...]
    how: str
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> str:
        """The pair as messages call it."""
        ours, theirs = (" + ".join(layer.name for layer in layers) for layers in (self.sources, self.targets))
        return ours if ours == theirs else f"{ours} -> {theirs}"


@dataclass
class Side:
    """One checkpoint's layers while they are being paired."""

    checkpoint: Checkpoint
    free: dict[str, Layer] = field(default_factory=dict)
    echoes: dict[str, Layer] = field(default_factory=dict)
    """Layers that hold nothing but other layers' tensors under other names: a tied output matrix."""
    positions: dict[str, int] = field(default_factory=dict)
    _views: dict[tuple[str, str], View] = field(default_factory=dict)
    _alike: dict[Hashable, View] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.free = {layer.name: layer for layer in self.checkpoint.layers}
        for layer in self.checkpoint.layers if ties_of(self.checkpoint) else ():
            if all(name in ties_of(self.checkpoint) for name in layer.tensors.values()):
                self.echoes[layer.name] = self.free.pop(layer.name)
        self.positions = {layer.name: index for index, layer in enumerate(self.checkpoint.layers)}

    def view(self, layer: Layer, kind: str) -> View:
        """The layer's view as that kind, whatever its rows follow: pairing looks at whole axes.

        Raises LayoutError naming the file and the layer where it does not fit."""
        key = (layer.name, kind)
        if key not in self._views:
            alike = self._what_decides(layer, kind)
            if alike not in self._alike:
                self._alike[alike] = layer_view(self.checkpoint, replace(layer, flattened=None), kind)
            self._views[key] = self._alike[alike]
        return self._views[key]

    def _what_decides(self, layer: Layer, kind: str) -> Hashable:
        """All that a layer's view follows from: the layers of repeated blocks share theirs."""
        shapes = ((local, self.checkpoint.tensors[name].shape) for local, name in layer.tensors.items())
        facts = (layer.settings.items(), layer.storage.items(), layer.sizes.items())
        return (layer.layout, kind, tuple(shapes), *(tuple(sorted(items)) for items in facts))

    def parts(self, layers: Sequence[Layer], kind: str) -> list[Part]:
        """The layers as parts of one stack."""
        views = [self._part_view(layer, kind) for layer in layers]
        starts = [0, *accumulate(view.counts.get("layer", 1) for view in views)]
        return [
            Part(layer.name, view, layer.tensors, start)
            for layer, view, start in zip(layers, views, starts, strict=False)
        ]

    def _part_view(self, layer: Layer, kind: str) -> View:
        return layer_view(self.checkpoint, layer, kind) if layer.flattened else self.view(layer, kind)

    def channels_before(self, layer: Layer) -> list[tuple[int, str]]:
        """The channels, and the name, of the convolution that gives this layer its features where nothing else does;
        of every convolution, where the file does not have its layers in order."""
        layers = self.checkpoint.layers
        if not self.checkpoint.contents.ordered:
            return self._all_channels
        for index in range(self.positions[layer.name] - 1, -1, -1):
            one = layers[index]
            found = self._channels(one)
            if found or _TAKES_FEATURES & set(self.view(one, one.kinds[0]).sizes[0]):
                return [found] if found else []
        return []

    @cached_property
    def _all_channels(self) -> list[tuple[int, str]]:
        """The channels of every convolution: looked for once, however many layers ask."""
        return [found for one in self.checkpoint.layers if (found := self._channels(one))]

    def _channels(self, layer: Layer) -> tuple[int, str] | None:
        """The channels that a convolution gives, None for what is none."""
        view = self.view(layer, layer.kinds[0])
        if not any(block for block in view.sizes[0] if block.startswith(SPATIAL)):
            return None
        size = view.sizes[0].get("out", view.sizes[0].get("unit"))
        return (size, layer.name) if size else None

    def named(self, name: str) -> Layer:
        """The layer of that name. Raises UsageError listing what there is."""
        if name in self.positions:
            return self.checkpoint.layers[self.positions[name]]
        known = ", ".join(self.positions)
        raise UsageError(f"{self.checkpoint.contents.origin}: no layer {name!r}; it has {known}")


def layer_view(checkpoint: Checkpoint, layer: Layer, kind: str) -> View:
    """The view of one layer as that kind. Raises LayoutError naming the file and the layer where it does not fit."""
    layout = layout_named(layer.layout or f"{checkpoint.framework}.{kind}")
    shapes = {local: checkpoint.tensors[name].shape for local, name in layer.tensors.items()}
    maps = {axis: found for axis, found in (layer.flattened or {}).items() if isinstance(found, FeatureMap)}
    own = {axis: found for axis, found in maps.items() if axis in layout.kind.flattened}
    try:
        return flattened_view_of(layout, shapes, layer.settings, layer.storage, layer.sizes, own)
    except LayoutError as error:
        raise type(error)(f"{checkpoint.contents.origin}: layer {layer.name!r}: {error}") from error

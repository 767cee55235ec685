"""Sizes that one checkpoint does not tell and the other does: how many heads the columns of a matrix are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from .checkpoint import Checkpoint, Layer
from .errors import LayoutError, UnknownSizeError
from .layouts import layout_named
from .views import View, view_of


def agree_on_sizes(source: Checkpoint, target: Checkpoint, names: Mapping[str, str]) -> tuple[Checkpoint, Checkpoint]:
    """Both checkpoints, their layers with what the other side tells of them.

    The partner by the mapping ``names`` or by name is asked, or else all layers of the kind, where they agree. What
    nothing tells stays unknown."""
    backwards = {theirs: ours for ours, theirs in names.items()}
    return _completed(source, target, names), _completed(target, source, backwards)


def _completed(checkpoint: Checkpoint, other: Checkpoint, names: Mapping[str, str]) -> Checkpoint:
    layers = tuple(_with_sizes(checkpoint, one, other, names.get(one.name, one.name)) for one in checkpoint.layers)
    return replace(checkpoint, structure=replace(checkpoint.structure, layers=layers))


def _with_sizes(checkpoint: Checkpoint, layer: Layer, other: Checkpoint, partner: str) -> Layer:
    for kind in layer.kinds:
        while (axis := _unknown_axis(checkpoint, layer, kind)) is not None:
            size = _size_there(checkpoint, layer, kind, other, partner, axis)
            if size is None:
                break
            layer = replace(layer, sizes={**layer.sizes, axis: size})
    return layer


def _unknown_axis(checkpoint: Checkpoint, layer: Layer, kind: str) -> str | None:
    try:
        _view(checkpoint, layer, kind)
    except UnknownSizeError as error:
        return error.axis
    except LayoutError:
        return None
    return None


def _size_there(
    checkpoint: Checkpoint, layer: Layer, kind: str, other: Checkpoint, partner: str, axis: str
) -> int | None:
    """The size that the partner has, or all layers of the kind; None where they do not say, or say different ones."""
    alike = [one for one in other.layers if kind in one.kinds]
    asked = [one for one in alike if one.name == partner] or alike
    sizes = set(_sizes(other, asked, kind, axis))
    if sizes == {None} and {_layout(other, one, kind) for one in asked} == {_layout(checkpoint, layer, kind)}:
        return 1  # both sides store it in the same way, so that any number gives the same moves
    return next(iter(sizes)) if len(sizes) == 1 else None


def _sizes(checkpoint: Checkpoint, layers: list[Layer], kind: str, axis: str) -> Iterator[int | None]:
    for layer in layers:
        try:
            yield _view(checkpoint, layer, kind).sizes[0].get(axis)
        except LayoutError:
            yield None


def _view(checkpoint: Checkpoint, layer: Layer, kind: str) -> View:
    shapes = {local: checkpoint.tensors[name].shape for local, name in layer.tensors.items()}
    return view_of(layout_named(_layout(checkpoint, layer, kind)), shapes, layer.settings, layer.storage, layer.sizes)


def _layout(checkpoint: Checkpoint, layer: Layer, kind: str) -> str:
    return layer.layout or f"{checkpoint.framework}.{kind}"

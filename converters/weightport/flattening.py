"""Views of layers whose rows follow a flattened feature map: places and channels become two axes, so that they turn.

A channels-last model flattens (height, width, channel), a channels-first one (channel, height, width). Neither the
layouts nor the planner know of it: an axis that runs over a map is replaced by the pair of axes that it is made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .checkpoint import FeatureMap, Setting
from .layouts import Layout, PartLayout, Run, TensorLayout
from .notation import Block, Dimensions
from .views import View, view_for, view_of

Maps = Mapping[str, FeatureMap]


def place_axis(axis: str) -> str:
    """The name of the axis of places beside an axis of channels: ``in_place`` of ``in``."""
    return f"{axis}_place"


def divided_axes(axes: Iterable[str], sizes: Mapping[str, int]) -> list[str]:
    """The axes in which every one that runs over a feature map is its places and its channels, in this order."""
    return [name for axis in axes for name in ((place_axis(axis), axis) if place_axis(axis) in sizes else (axis,))]


def flattened_view_of(
    layout: Layout,
    shapes: Mapping[str, tuple[int, ...]],
    settings: Mapping[str, Setting],
    storage: Mapping[str, Setting],
    sizes: Mapping[str, int],
    maps: Maps,
) -> View:
    """:func:`weightport.views.view_of` for a layer some of whose axes run over feature maps."""
    if not maps:
        return view_of(layout, shapes, settings, storage, sizes)
    channels = {axis: feature_map.channels for axis, feature_map in maps.items()}
    return _only_real_places(view_of(_divided(layout, maps), shapes, settings, storage, {**sizes, **channels}), maps)


def flattened_view_for(
    layout: Layout,
    roles: Iterable[str],
    counts: Mapping[str, int],
    sizes: Sequence[Mapping[str, int]],
    settings: Mapping[str, Setting],
    maps: Maps,
) -> View:
    """:func:`weightport.views.view_for` for a layer some of whose axes run over feature maps."""
    if not maps:
        return view_for(layout, roles, counts, sizes, settings)
    single = dict.fromkeys(map(place_axis, maps), 1)
    full = [{**single, **own} for own in sizes]
    return _only_real_places(view_for(_divided(layout, maps), roles, counts, full, settings), maps)


def _divided(layout: Layout, maps: Maps) -> Layout:
    """The layout with each of these axes written as its places and its channels, in the map's order."""
    return replace(layout, tensors=tuple(_divided_tensor(tensor, maps) for tensor in layout.tensors))


def _divided_tensor(tensor: TensorLayout, maps: Maps) -> TensorLayout:
    runs = tuple(Run(run.each, tuple(_divided_part(part, maps) for part in run.parts)) for run in tensor.runs)
    return replace(tensor, runs=runs)


def _divided_part(part: PartLayout, maps: Maps) -> PartLayout:
    dimensions: Dimensions = tuple(_divided_axes(group, maps) for group in part.dimensions)
    return replace(part, dimensions=dimensions, memory=_divided_axes(part.memory, maps))


def _divided_axes(axes: Iterable[str], maps: Maps) -> tuple[str, ...]:
    divided: list[str] = []
    for axis in axes:
        if axis not in maps:
            divided.append(axis)
        elif maps[axis].order == "first":
            divided += [axis, place_axis(axis)]
        else:
            divided += [place_axis(axis), axis]
    return tuple(divided)


def _only_real_places(view: View, maps: Maps) -> View:
    """The view without axes of one place: a stacked layer beyond the first takes in no map."""
    places = {place_axis(axis) for axis in maps}
    sizes = tuple({a: s for a, s in own.items() if a not in places or s != 1} for own in view.sizes)
    blocks = tuple(replace(block, block=_without_single(block.block, places)) for block in view.blocks)
    return replace(view, sizes=sizes, blocks=blocks)


def _without_single(block: Block, places: set[str]) -> Block:
    axes = tuple(axis for axis in block.axes if axis[0] not in places or axis[1] != 1)
    regroup = tuple(axis for axis in block.regroup if axis[0] not in places or axis[1] != 1)
    return Block(block.offset, axes, regroup)

"""Logical arrays: a layer's parameters as its kind names them, free of any framework's layout."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from .blocks import StoredBlock
from .checkpoint import Array
from .engine import Read, strided
from .flattening import divided_axes
from .kinds import Kind
from .notation import is_spatial, spatial_names
from .views import View


def logical_arrays(view: View, read: Read) -> list[dict[str, Array]]:
    """The parameters of each stacked layer as float64 arrays, by role.

    Axes are the role's own in ``kinds.toml``, without ``layer``; labels stand in the kind's order. A block that holds
    the sum of several places is given to the first of them. An axis that runs over a feature map has its channels
    last, whatever the layout's order. ``read`` takes the layout's own tensor names.
    """
    kind = view.layout.kind
    layers: list[dict[str, Array]] = [{} for _ in view.sizes]
    for block in view.blocks:
        axes = kind.labelled_axes(block.role)
        place = dict(zip(axes, block.covers[0], strict=True))
        layer = int(place.pop("layer", 0))
        roles = layers[layer]
        if block.role not in roles:
            roles[block.role] = np.zeros(_shape(view, block.role, layer))
        index = tuple(kind.labels[axis].index(str(label)) for axis, label in place.items())
        roles[block.role][_at(kind, block.role, index)] = mathematics(view, block, layer, read)
    return layers


def mathematics(view: View, block: StoredBlock, layer: int, read: Read) -> Array:
    """The values that one block has in the mathematics, as float64, along the role's sized axes."""
    if not block.tensor:
        return np.asarray(block.adds)
    sizes = view.sizes[layer]
    axes = [axis for axis in role_axes(view, block.role, layer) if not view.layout.kind.is_labelled(axis)]
    stored = strided(np.ascontiguousarray(read(block.tensor)), block.block, divided_axes(axes, sizes))
    return stored.astype(np.float64).reshape([_length(axis, sizes) for axis in axes]) * block.sign + block.adds


def role_axes(view: View, role: str, layer: int) -> list[str]:
    """A role's axes in the kind's order, its spatial axes numbered."""
    axes: list[str] = []
    for axis in view.layout.kind.roles[role].axes:
        axes.extend(spatial_names(axis, view.sizes[layer]) if is_spatial((axis,)) else [axis])
    return axes


def _shape(view: View, role: str, layer: int) -> list[int]:
    kind, sizes = view.layout.kind, view.sizes[layer]
    counts: Mapping[str, int] = {axis: len(labels) for axis, labels in kind.labels.items()} | dict(view.counts)
    axes = [axis for axis in role_axes(view, role, layer) if axis != "layer"]
    return [counts[axis] if kind.is_labelled(axis) else _length(axis, sizes) for axis in axes]


def _length(axis: str, sizes: Mapping[str, int]) -> int:
    """The length of an axis; of one that runs over a feature map, all of it."""
    return prod(sizes[name] for name in divided_axes([axis], sizes))


def _at(kind: Kind, role: str, index: tuple[int, ...]) -> tuple[int | slice, ...]:
    """The index of a place in a logical array, whose labelled axes may stand behind sized ones."""
    rest = iter(index)
    axes = [axis for axis in kind.roles[role].axes if axis != "layer"]
    if not any(kind.is_labelled(axis) for axis in axes):
        return (...,)  # type: ignore[return-value]
    return tuple(next(rest) if kind.is_labelled(axis) else slice(None) for axis in axes)

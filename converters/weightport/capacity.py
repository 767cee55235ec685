"""Capacity: what a layout can hold at all. Each check raises RefusedError naming the layout and what is too much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from .checkpoint import Setting
from .errors import RefusedError
from .families import Instance, Piece, stored_when
from .layouts import Layout
from .notation import axis_names, is_one_of, spatial_names


def check_equal(layout: Layout, sizes: Sequence[Mapping[str, int]]) -> None:
    """Sized axes are the products that the framework makes them of."""
    for axis, factors in layout.equal.items():
        for own in sizes:
            ours = [own[name] for name in spatial_names(axis, own) or [axis] if name in own]
            theirs = _product(factors, own)
            if ours and theirs and ours != theirs:
                text = " x ".join(factors) or "1"
                raise RefusedError(f"{layout.name} has one size for {axis} and {text}, not {ours} and {theirs}")


def _product(factors: Sequence[str], sizes: Mapping[str, int]) -> list[int]:
    """The product of these axes; the size of each where ``...`` stands for several. Nothing where one is unknown."""
    if len(factors) == 1:
        return [sizes[name] for name in spatial_names(factors[0], sizes) or factors if name in sizes]
    return [prod(sizes[name] for name in factors)] if all(name in sizes for name in factors) else []


def check_broadcast(layout: Layout, instances: Sequence[Instance], sizes: Mapping[str, int]) -> None:
    """A layout without the axes along which a parameter may be broadcast holds one that is."""
    for part in (part for instance in instances for part in instance.tensor.parts):
        wide = [axis for axis in sizes if is_one_of(axis, layout.kind.broadcast)]
        if wide and not set(axis_names(part.dimensions)) & set(layout.kind.broadcast):
            raise RefusedError(
                f"{layout.name} holds one {part.role} for all places, not {sizes[wide[0]]} along {wide[0]}"
            )


def check_capacity(
    layout: Layout, wanted: set[str], counts: Mapping[str, int], conditions: Mapping[str, Setting]
) -> None:
    """A layout without an axis for layers or directions holds one of them."""
    for axis, count in counts.items():
        if count == 1:
            continue
        for tensor in layout.tensors:
            if not wanted & tensor.roles or not stored_when(tensor, conditions):
                continue
            for run in tensor.runs:
                for part in run.parts:
                    if axis not in {*tensor.spelled_axes, *run.each, *part.fixed, *axis_names(part.dimensions)}:
                        raise RefusedError(f"{layout.name} holds one {axis}, not {count}")


def check_layers(
    layout: Layout, name: str, parts: Sequence[tuple[Piece, Mapping[str, int]]], sizes: Sequence[Mapping[str, int]]
) -> None:
    """A tensor that has several stacked layers inside has one size for all of them."""
    for piece, own in parts:
        inside = axis_names(piece.dimensions)
        for layer in range(piece.layer, len(sizes)) if "layer" in inside else ():
            for axis in inside:
                size = sizes[layer].get(axis, own[axis])
                if size != own[axis]:
                    raise RefusedError(
                        f"{layout.name}: {name!r} holds layers of one size only, not of {own[axis]} and {size} {axis}"
                    )

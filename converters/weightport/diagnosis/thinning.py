"""Layers that are too large to be diagnosed whole: only the first rows of an axis are looked at, on both sides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ..layer_pairs import LayerPair, LayerSide
from ..notation import Block
from ..planner import Part


def thinned(pair: LayerPair, most: int) -> Iterator[tuple[LayerPair, str]]:
    """The pair with about ``most`` values, and what of it that is in words: the first of the longest parameter's first
    axis, and, so that a transposition shows, the first of every axis of that length.

    Nothing where a tensor's blocks are no plain parts of it."""
    view = pair.a.parts[0].view
    sizes = view.sizes[0]
    blocks = [block.block for side in (pair.a, pair.b) for part in side.parts for block in part.view.blocks]
    if any(block.regroup for block in blocks):
        return
    longest = max(view.blocks, key=lambda block: block.block.size)
    axis = next((axis for axis in view.layout.kind.roles[longest.role].axes if axis in sizes), "")
    alike = [other for other, size in sizes.items() if axis and size == sizes[axis]]
    share = most / max(pair.a.elements, 1)
    if axis and (kept := max(int(sizes[axis] * share), 1)) < sizes[axis]:
        yield _narrowed(pair, {axis: kept}), f"the first {kept:,} of {axis}"
    if len(alike) > 1 and (kept := max(int(sizes[axis] * share ** (1 / len(alike))), 1)) < sizes[axis]:
        yield _narrowed(pair, dict.fromkeys(alike, kept)), f"the first {kept:,} of {' and '.join(alike)}"


def _narrowed(pair: LayerPair, kept: Mapping[str, int]) -> LayerPair:
    return replace(pair, a=_narrowed_side(pair.a, kept), b=_narrowed_side(pair.b, kept))


def _narrowed_side(side: LayerSide, kept: Mapping[str, int]) -> LayerSide:
    return replace(side, parts=tuple(_narrowed_part(part, kept) for part in side.parts))


def _narrowed_part(part: Part, kept: Mapping[str, int]) -> Part:
    sizes = tuple({axis: min(size, kept.get(axis, size)) for axis, size in own.items()} for own in part.view.sizes)
    blocks = tuple(replace(block, block=_narrowed_block(block.block, kept)) for block in part.view.blocks)
    return replace(part, view=replace(part.view, sizes=sizes, blocks=blocks))


def _narrowed_block(block: Block, kept: Mapping[str, int]) -> Block:
    return Block(
        block.offset, tuple((axis, min(size, kept.get(axis, size)), stride) for axis, size, stride in block.axes)
    )

"""Blocks: where each place of a role lies inside a stored tensor, and which places one block is the sum of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from .checkpoint import Setting
from .errors import LayoutError
from .families import Piece, expected, labels, pieces
from .kinds import Kind, Label
from .layouts import Layout
from .notation import Block, axis_names, is_one_of, locate

Place = tuple[Label, ...]
"""Labels along a role's labelled axes, in the role's order."""


@dataclass(frozen=True)
class StoredBlock:
    """A block of a stored tensor and the places of the role whose sum it holds: mathematics = sign x stored + adds.

    Where ``tensor`` is empty nothing is stored: the mathematics is ``adds`` alone, which the framework has built in.
    """

    tensor: str
    role: str
    covers: tuple[Place, ...]
    block: Block
    sign: int = 1
    adds: float = 0.0


def sum_class(kind: Kind, role: str, place: Place, settings: Mapping[str, Setting]) -> Place:
    """The places that enter the mathematics as one sum with this one, written as one place of the axis that sums."""
    rule = kind.roles[role]
    axes = kind.labelled_axes(role)
    if rule.sums is None:
        return place
    apart = rule.apart
    if apart and place[axes.index(apart.axis)] in apart.labels:
        active = all(settings.get(name, value) == value for name, value in apart.when.items())
        if active:
            return place
    return _replaced(axes, place, rule.sums, "")


def label_counts(layout: Layout, piece: Piece, counts: Mapping[str, int]) -> dict[str, int]:
    """The sizes of the labelled axes inside a piece: how many labels it has of each."""
    axes = [axis for axis in axis_names(piece.dimensions) if layout.kind.is_labelled(axis)]
    return {axis: len(labels(layout, piece.part, axis, counts)) for axis in axes}


def claimed_places(
    layout: Layout, counts: Mapping[str, int], conditions: Mapping[str, Setting]
) -> set[tuple[str, Place]]:
    """The places that have a part of a tensor of their own, and so are in no sum."""
    claimed: set[tuple[str, Place]] = set()
    for instance in expected(layout, counts, conditions):
        for piece in pieces(layout, instance, counts, 1):
            summed = layout.kind.roles[piece.part.role].sums
            if summed is None or summed in piece.outside_or_inside():
                claimed.update((piece.part.role, place) for _, place in _places(layout, piece, counts))
    return claimed


def _places(layout: Layout, piece: Piece, counts: Mapping[str, int]) -> Iterator[tuple[dict[str, int], Place]]:
    """Every place that a piece stores: the indices along the labelled axes inside it, and the labels of all axes.

    An axis that the piece does not say is at its first label."""
    kind, role = layout.kind, piece.part.role
    axes = kind.labelled_axes(role)
    inner = [axis for axis in axis_names(piece.dimensions) if kind.is_labelled(axis)]
    orders = [labels(layout, piece.part, axis, counts) for axis in inner]
    outer = {**{axis: 0 if axis in kind.counted else kind.labels[axis][0] for axis in axes}, **piece.places}
    for indices in product(*(range(len(order)) for order in orders)):
        place = {**outer, **{axis: order[index] for axis, order, index in zip(inner, orders, indices, strict=True)}}
        yield dict(zip(inner, indices, strict=True)), tuple(place[axis] for axis in axes)


def blocks_of(
    layout: Layout,
    tensor: str,
    piece: Piece,
    counts: Mapping[str, int],
    sizes: Mapping[str, int],
    position: tuple[Sequence[int], int],
    claimed: set[tuple[str, Place]],
) -> Iterator[StoredBlock]:
    """The blocks of one piece; ``position`` has the tensor's strides and the element at which the piece begins."""
    kind, role = layout.kind, piece.part.role
    axes, summed = kind.labelled_axes(role), kind.roles[role].sums
    is_sum = summed is not None and summed not in piece.outside_or_inside()
    for indices, place in _places(layout, piece, counts):
        covers = [place]
        if is_sum and summed is not None:
            all_places = [_replaced(axes, place, summed, label) for label in kind.labels[summed]]
            covers = [other for other in all_places if (role, other) not in claimed]
            if not covers:
                raise LayoutError(f"{layout.where} {tensor!r}: each of the parts it sums has a tensor of its own")
        gate = str(place[axes.index("gate")]) if "gate" in axes else ""
        # A constant enters a sum once, with its first term.
        first_term = summed is None or covers[0][axes.index(summed)] == kind.labels[summed][0]
        yield StoredBlock(
            tensor=tensor,
            role=role,
            covers=tuple(covers),
            block=_located(kind, piece, sizes, indices, position),
            sign=-1 if gate in layout.negates else 1,
            adds=layout.adds.get(role, {}).get(gate, 0.0) if first_term else 0.0,
        )


def _located(
    kind: Kind,
    piece: Piece,
    sizes: Mapping[str, int],
    indices: Mapping[str, int],
    position: tuple[Sequence[int], int],
) -> Block:
    strides, offset = position
    block = _turned_round(locate(piece.dimensions, sizes, indices, strides, offset), piece.part.turned)
    single = {axis for axis, size, _ in block.axes if size == 1 and is_one_of(axis, kind.broadcast)}
    if single:
        block = Block(block.offset, tuple(entry for entry in block.axes if entry[0] not in single))
    if not piece.part.memory:
        return block
    return Block(block.offset, block.axes, tuple((axis, sizes[axis]) for axis in piece.part.memory))


def _turned_round(block: Block, turned: Sequence[str]) -> Block:
    """The block with these axes walked from their end to their start."""
    if not turned or not block.size:
        return block
    offset, axes = block.offset, []
    for name, size, stride in block.axes:
        is_turned = is_one_of(name, turned)
        offset += (size - 1) * stride if is_turned else 0
        axes.append((name, size, -stride if is_turned else stride))
    return Block(offset, tuple(axes), block.regroup)


def _replaced(axes: Sequence[str], place: Place, axis: str, label: Label) -> Place:
    return tuple(label if name == axis else old for name, old in zip(axes, place, strict=True))


def check_sums(layout: Layout, blocks: Sequence[StoredBlock], settings: Mapping[str, Setting]) -> None:
    """Raise LayoutError where a block sums places that the kind's mathematics keeps apart."""
    for block in blocks:
        classes = {sum_class(layout.kind, block.role, place, settings) for place in block.covers}
        if len(classes) > 1:
            raise LayoutError(
                f"{layout.where} {block.tensor!r}: sums {' and '.join(map(str, block.covers))} of {block.role}, which "
                f"{layout.kind.name} keeps apart"
            )

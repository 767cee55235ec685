"""Sizes: what the shapes of a layer's tensors, all together, say of its axes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType

from .checkpoint import Setting
from .errors import LayoutError, RefusedError, UnknownSizeError
from .families import VARYING, Instance, Piece, along, check_counts, full_counts, labels, pieces
from .kinds import Kind
from .layouts import Layout, TensorLayout
from .notation import (
    SHARE,
    SPATIAL,
    Dimensions,
    Group,
    axis_names,
    describe_group,
    group_size,
    is_one_of,
    is_spatial,
    shares_of,
    spatial_count,
    spatial_names,
    whole_axis,
)

_PASSES = 4  # a size may only follow from another tensor's


@dataclass
class Sizes:
    """The sizes found so far: of each stacked layer, and the counts that all layers share. ``stored`` are the roles
    that the layer has."""

    kind: Kind
    stored: frozenset[str]
    counts: dict[str, int]
    layers: dict[int, dict[str, int]] = field(default_factory=dict)

    def of(self, layout: Layout, piece: Piece) -> dict[str, int]:
        """The known sizes of a piece's axes, the labels that it has of labelled axes included."""
        sizes = dict(self.layers.setdefault(piece.layer, {}))
        for axis in axis_names(piece.dimensions):
            if axis in self.kind.labels and axis not in VARYING:
                sizes[axis] = len(layout.order(piece.part, axis))
            elif self.kind.is_labelled(axis) and axis in self.counts:
                sizes[axis] = len(labels(layout, piece.part, axis, self.counts))
        return sizes

    def known(self) -> object:
        """All that is known, to be compared."""
        return dict(self.counts), {layer: dict(own) for layer, own in self.layers.items()}

    def learn(self, piece: Piece, axis: str, size: int) -> None:
        """Take down a size that a shape forces."""
        if self.kind.is_labelled(axis):
            self.counts[axis] = size + piece.part.first.get(axis, 0)
        else:
            self.layers.setdefault(piece.layer, {})[axis] = size

    def join_shares(self, layout: Layout, instance: Instance) -> None:
        """Take down the size of an axis whose shares in a tensor's dimensions are all known."""
        for part in instance.tensor.parts:
            for sizes in self.layers.values():
                for axis, shares in shares_in(part.dimensions).items():
                    if all(share in sizes for share in shares):
                        found = prod(sizes[share] for share in shares)
                        if sizes.setdefault(axis, found) != found:
                            raise LayoutError(
                                f"{layout.name}: {axis} is {sizes[axis]}, and {found} in {instance.name!r}"
                            )

    def settle(self, layout: Layout) -> None:
        """Apply the kind's rules: axes that are equal, and what a stacked layer takes in; and the layout's products."""
        freed = {rule.frees for rule in self.kind.roles.values() if rule.frees and rule.name in self.stored}
        for sizes in self.layers.values():
            for one, other in self.kind.equal.items():
                if one not in freed:
                    _equalise(layout, sizes, one, other)
            for axis, factors in layout.equal.items():
                _multiply(sizes, axis, factors)
        for layer, sizes in self.layers.items():
            if layer:
                self._stack(sizes, self.layers.get(layer - 1, sizes))

    def _stack(self, sizes: dict[str, int], below: Mapping[str, int]) -> None:
        for axis, factors in self.kind.stacked.items():
            values = [self.counts.get(factor, below.get(factor)) for factor in factors]
            if None not in values:
                sizes.setdefault(axis, prod(value for value in values if value is not None))

    def all_layers(self, layout: Layout) -> tuple[Mapping[str, int], ...]:
        """The sizes of every layer; one whose tensors say nothing is as the one below."""
        self.counts = full_counts(self.kind, self.counts)
        count = self.counts.get("layer", 1)
        for layer in range(1, count):
            below = self.layers.get(layer - 1, {})
            own = self.layers.setdefault(layer, {})
            for axis, size in below.items():
                if axis not in self.kind.stacked:
                    own.setdefault(axis, size)
        self.settle(layout)
        return tuple(MappingProxyType(dict(self.layers.get(layer, {}))) for layer in range(count))


def solve(
    layout: Layout,
    instances: Sequence[Instance],
    shapes: Mapping[str, tuple[int, ...]],
    counts: Mapping[str, int],
    given: Mapping[str, int],
) -> tuple[tuple[Mapping[str, int], ...], dict[str, int]]:
    """The sized axes of each stacked layer and the counts, from all shapes together.

    ``given`` has sizes and counts that no shape tells (of one flat buffer). Raises LayoutError naming the tensor
    whose shape does not fit."""
    stored = frozenset(role for instance in instances for role in instance.tensor.roles)
    sizes = Sizes(layout.kind, stored, {**counts, **{axis: given[axis] for axis in VARYING if axis in given}})
    check_counts(layout, sizes.counts)
    for layer in range(sizes.counts.get("layer", 1)):
        repeated = {axis: size for axis, size in given.items() if not (layer and axis in layout.kind.stacked)}
        sizes.layers[layer] = {axis: size for axis, size in repeated.items() if axis not in VARYING}
    sizes.settle(layout)
    for _ in range(_PASSES):
        before = sizes.known()
        for instance in instances:
            _fit(layout, instance, shapes[instance.name], sizes)
            sizes.join_shares(layout, instance)
        check_counts(layout, sizes.counts)
        sizes.settle(layout)
        if sizes.known() == before:
            break
    all_layers, counts = sizes.all_layers(layout), full_counts(layout.kind, sizes.counts)
    _check_known(layout, instances, all_layers)
    return all_layers, counts


def _check_known(layout: Layout, instances: Sequence[Instance], sizes: Sequence[Mapping[str, int]]) -> None:
    """Every sized axis has its size; what one flat buffer does not tell has to be given."""
    parts = [part for instance in instances for part in instance.tensor.parts]
    for axis in dict.fromkeys(axis for part in parts for axis in axis_names(part.dimensions)):
        known = layout.kind.is_labelled(axis) or is_spatial((axis,)) or all(axis in own for own in sizes)
        if not known:
            raise UnknownSizeError(
                f"{layout.name}: the shapes do not tell the size of {axis!r}; a template may, or give sizes", axis
            )


def shares_in(dimensions: Dimensions) -> dict[str, list[str]]:
    """The axes that are spread over several dimensions, each with its shares."""
    names = axis_names(dimensions)
    return {axis: shares_of(axis, names) for axis in dict.fromkeys(whole_axis(n) for n in names if SHARE in n)}


def logical_sizes(kind: Kind, sizes: Mapping[str, int]) -> Mapping[str, int]:
    """The sizes of whole axes, without those of one element that stands for all places."""
    single = {axis for axis, size in sizes.items() if size == 1 and is_one_of(axis, kind.broadcast)}
    return MappingProxyType({axis: size for axis, size in sizes.items() if SHARE not in axis and axis not in single})


def with_broadcast(kind: Kind, sizes: Mapping[str, int]) -> Mapping[str, int]:
    """The sizes, with one element for each axis that stands before one of its numbered kind and is broadcast."""
    found = dict(sizes)
    for axis in (axis for axis in kind.broadcast if is_spatial((axis,))):
        numbers = [int(name.removeprefix(axis)) for name in spatial_names(axis, sizes)]
        found |= {f"{axis}{number}": 1 for number in range(max(numbers, default=0)) if number not in numbers}
    return found


def spread_sizes(
    layout: Layout, instances: Iterable[Instance], sizes: Mapping[str, int], conditions: Mapping[str, Setting]
) -> Mapping[str, int]:
    """The sizes, with those of the shares of axes that tensors yet to be made are spread over.

    Raises RefusedError where nothing says how an axis is divided."""
    found = dict(sizes)
    for part in (part for instance in instances for part in instance.tensor.parts):
        for axis, shares in shares_in(part.dimensions).items():
            setting = layout.spread.get(axis, "")
            first = conditions.get(setting)
            if len(shares) != 2 or not isinstance(first, int) or first < 1:
                hint = f"; give {setting}" if setting else ""
                raise RefusedError(f"{layout.name} stores {axis} in {len(shares)} dimensions of unknown sizes{hint}")
            if sizes[axis] % first:
                raise RefusedError(f"{layout.name} divides {axis} by {setting}, which {sizes[axis]} and {first} do not")
            found |= {shares[0]: first, shares[1]: sizes[axis] // first}
    return found


def spatial_axes(tensor: TensorLayout, name: str, rank: int, given: Iterable[str]) -> int:
    """How many axes ``...`` stands for in a tensor of this rank; inside a group, as many as have a size in ``given``.

    Raises LayoutError where none fits."""
    dimensions = tensor.parts[0].dimensions
    spatial = spatial_count(dimensions, rank)
    if spatial is None:
        raise LayoutError(f"tensor {name!r} has {rank} dimensions where {tensor.axes!r} asks for {len(dimensions)}")
    inside = [group for group in dimensions if len(group) > 1 and any(is_spatial((axis,)) for axis in group)]
    return len(spatial_names(SPATIAL, given)) if inside else spatial


def _equalise(layout: Layout, sizes: dict[str, int], one: str, other: str) -> None:
    if one in sizes and other in sizes and sizes[one] != sizes[other]:
        raise LayoutError(f"{layout.name}: {one} is {sizes[one]} and {other} is {sizes[other]}, which must be equal")
    for known, unknown in ((one, other), (other, one)):
        if known in sizes:
            sizes.setdefault(unknown, sizes[known])


def _multiply(sizes: dict[str, int], axis: str, factors: Sequence[str]) -> None:
    """Fill in the one size that is missing where an axis is the product of others."""
    unknown = [name for name in factors if name not in sizes]
    if not unknown and not is_spatial((axis,)):
        sizes.setdefault(axis, prod(sizes[name] for name in factors))
    elif len(unknown) == 1 and axis in sizes:
        size, rest = divmod(sizes[axis], prod(sizes[name] for name in factors if name in sizes))
        if not rest:
            sizes[unknown[0]] = size


def _fit(layout: Layout, instance: Instance, shape: tuple[int, ...], sizes: Sizes) -> None:
    """Fit one tensor's shape, adding what it forces to ``sizes``."""
    spatial = spatial_axes(instance.tensor, instance.name, len(shape), sizes.layers.get(0, {}))
    counts = full_counts(layout.kind, sizes.counts)
    parts = list(pieces(layout, instance, counts, spatial))
    for dimension, length in enumerate(shape):
        sums = [parts] if dimension == along(instance.tensor, spatial) else [[piece] for piece in parts]
        for terms in sums:
            problem = _solve_sum(layout, terms, dimension, length, sizes)
            if problem:
                raise LayoutError(
                    f"tensor {instance.name!r} of shape {list(shape)} does not fit {layout.name} "
                    f"'{instance.tensor.axes}': it has {length} where {problem} is expected"
                )


def _solve_sum(layout: Layout, terms: Sequence[Piece], dimension: int, length: int, sizes: Sizes) -> str | None:
    """Fit the pieces that follow one another along a dimension to its length; a text where they cannot.

    With one unknown size the length is linear in it; with more, the dimension is left for a later pass."""
    known = [sizes.of(layout, piece) for piece in terms]
    groups = [piece.dimensions[dimension] for piece in terms]
    unknown = dict(_unknown(terms, groups, known))
    if len(unknown) > 1:
        return None
    text = " + ".join(dict.fromkeys(describe_group(group, own) for group, own in zip(groups, known, strict=True)))
    if not unknown:
        total = _total(groups, known)
        return None if total == length else f"{text} = {total}" if text != str(total) else text
    (_, axis), piece = next(iter(unknown.items()))
    base, step = (_total(groups, [{axis: guess, **own} for own in known]) for guess in (0, 1))
    step -= base
    size, rest = divmod(length - base, step) if step else (0, length)
    if rest or size < 0:
        return text
    sizes.learn(piece, axis, size)
    return None


def _unknown(
    terms: Iterable[Piece], groups: Iterable[Group], known: Iterable[Mapping[str, int]]
) -> Iterator[tuple[tuple[int, str], Piece]]:
    """Every unknown size, by its layer and axis, with a piece that has it."""
    for piece, group, own in zip(terms, groups, known, strict=True):
        for axis in group:
            if axis not in own:
                yield (-1 if axis in VARYING else piece.layer, axis), piece


def _total(groups: Sequence[Group], sizes: Sequence[Mapping[str, int]]) -> int:
    return sum(group_size(group, own) for group, own in zip(groups, sizes, strict=True))

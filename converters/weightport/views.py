"""Views: where every place of every role is stored, for one layer in one layout.

A view of stored tensors is found from their names and shapes; a view for tensors yet to be made is laid out from
counts and sizes. Either way it is the same list of blocks, so one planner serves every pair of layouts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from .blocks import Place, StoredBlock, blocks_of, check_sums, claimed_places, label_counts
from .capacity import check_broadcast, check_capacity, check_equal, check_layers
from .checkpoint import Setting
from .errors import LayoutError, RefusedError
from .families import (
    Instance,
    Piece,
    along,
    check_counts,
    counts_by_number,
    counts_from_names,
    expected,
    full_counts,
    parse_names,
    pieces,
    stored_when,
    without_only,
)
from .layouts import Layout, TensorLayout
from .notation import SPATIAL, contiguous_strides, group_size, spatial_names
from .sizes import logical_sizes, solve, spatial_axes, spread_sizes, with_broadcast

REMEMBERED = 1024
"""How many views are kept for layers that repeat themselves."""

Value = TypeVar("Value")
Items: TypeAlias = tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class View:
    """A layer in a layout: its tensors' shapes, and the block behind every place.

    ``counts`` has the number of places of axes whose number varies (``layer``, ``direction``); ``sizes`` the sized
    axes of each stacked layer. ``conditions`` are the settings and the facts of storage that were given or that the
    shapes force.
    """

    layout: Layout
    conditions: Mapping[str, Setting]
    counts: Mapping[str, int]
    sizes: tuple[Mapping[str, int], ...]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str | None]
    blocks: tuple[StoredBlock, ...]

    @property
    def settings(self) -> dict[str, Setting]:
        """Those of the conditions that are settings of the kind."""
        return {name: value for name, value in self.conditions.items() if name in self.layout.kind.settings}

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that have values, in the kind's order."""
        stored = {block.role for block in self.blocks}
        return tuple(role for role in self.layout.kind.roles if role in stored)


def view_of(
    layout: Layout,
    shapes: Mapping[str, tuple[int, ...]],
    settings: Mapping[str, Setting] = MappingProxyType({}),
    storage: Mapping[str, Setting] = MappingProxyType({}),
    sizes: Mapping[str, int] = MappingProxyType({}),
) -> View:
    """The view of stored tensors, from their names and shapes.

    A setting that the storage depends on and that is not given is taken from the shapes where they force it.
    ``sizes`` has sizes and counts that no shape tells (``{"unit": 6, "layer": 2}`` of one flat buffer). Raises
    LayoutError where a tensor is missing, belongs to no role or does not fit.
    """
    return _view_of(layout, _items(shapes), _items(settings), _items(storage), _items(sizes))


def _items(given: Mapping[str, Value]) -> Items[Value]:
    """The items as a key; of numbers in a list, as JSON has them, too."""
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return tuple(plain.items())


@lru_cache(maxsize=REMEMBERED)
def _view_of(
    layout: Layout,
    of_shapes: Items[tuple[int, ...]],
    of_settings: Items[Setting],
    of_storage: Items[Setting],
    of_sizes: Items[int],
) -> View:
    """Layers repeat themselves: what follows from equal shapes and settings is worked out once."""
    shapes, settings, storage, sizes = dict(of_shapes), dict(of_settings), dict(of_storage), dict(of_sizes)
    check_counts(layout, sizes)
    known = {**settings, **layout.forced_settings(), **storage}
    fits: list[View] = []
    problems: list[LayoutError] = []
    for directions in _direction_choices(layout, known, sizes):
        named = parse_names(layout, shapes, directions)
        for conditions in _open_conditions(named, known):
            try:
                fits.append(_fit(layout, named, shapes, {**known, **conditions}, sizes))
            except LayoutError as error:
                problems.append(error)
    if not fits:
        raise problems[0]
    if any(view.blocks != fits[0].blocks for view in fits[1:]):
        raise LayoutError(f"{layout.name}: the shapes do not tell which of its forms this is")
    return fits[0]


def view_for(
    layout: Layout,
    roles: Iterable[str],
    counts: Mapping[str, int],
    sizes: Sequence[Mapping[str, int]],
    settings: Mapping[str, Setting] = MappingProxyType({}),
    storage: Mapping[str, Setting] = MappingProxyType({}),
) -> View:
    """The view that tensors holding these roles would have, laid out anew in ``layout``.

    ``sizes`` has one entry for each stacked layer. Of several ways to store the same, the first that can hold it is
    taken where ``storage`` does not say which.
    Raises RefusedError where the layout cannot hold this many layers or directions, or these sizes."""
    stacked = tuple(_items(own) for own in sizes)
    return _view_for(layout, tuple(roles), _items(counts), stacked, _items(settings), _items(storage))


@lru_cache(maxsize=REMEMBERED)
def _view_for(
    layout: Layout,
    roles: tuple[str, ...],
    of_counts: Items[int],
    of_sizes: tuple[Items[int], ...],
    of_settings: Items[Setting],
    of_storage: Items[Setting],
) -> View:
    counts, settings, storage = dict(of_counts), dict(of_settings), dict(of_storage)
    sizes = [MappingProxyType(dict(own)) for own in of_sizes]
    wanted = {*roles, *layout.adding_roles()}
    problems: list[RefusedError] = []
    for form in product(*layout.storage.values()):
        stored = {**dict(zip(layout.storage, form, strict=True)), **storage}
        try:
            return _laid_out(layout, wanted, counts, sizes, {**settings, **layout.forced_settings(), **stored})
        except RefusedError as error:
            problems.append(error)
    raise problems[0]


def _laid_out(
    layout: Layout,
    wanted: set[str],
    counts: Mapping[str, int],
    sizes: Sequence[Mapping[str, int]],
    conditions: Mapping[str, Setting],
) -> View:
    """The view that these roles would have in one of the layout's forms."""
    full = full_counts(layout.kind, counts)
    check_capacity(layout, wanted, full, conditions)
    instances = [i for i in expected(layout, full, conditions) if wanted & i.tensor.roles]
    check_equal(layout, sizes)
    check_broadcast(layout, instances, sizes[0])
    complete = tuple(with_broadcast(layout.kind, spread_sizes(layout, instances, own, conditions)) for own in sizes)
    spatial = len(spatial_names(SPATIAL, complete[0]))
    return _view(layout, [(instance, spatial) for instance in instances], full, complete, conditions)


def families_of(view: View, tensor: str) -> list[TensorLayout]:
    """The layout's entries that one tensor of a view can be, under the view's settings."""
    instances = parse_names(view.layout, [tensor], view.counts.get("direction", 1))[tensor]
    return [instance.tensor for instance in instances if stored_when(instance.tensor, view.conditions)]


def _direction_choices(layout: Layout, known: Mapping[str, Setting], sizes: Mapping[str, int]) -> Sequence[int]:
    """How many directions a layer may have whose names only tell together with that number."""
    if not counts_by_number(layout):
        return (1,)
    if "direction" in sizes:
        return (sizes["direction"],)
    if "direction" in known:
        return (2 if known["direction"] == "bidirectional" else 1,)
    return (1, 2)


def _open_conditions(named: Mapping[str, list[Instance]], known: Mapping[str, Setting]) -> list[dict[str, Setting]]:
    """Every assignment of the settings that the present tensors depend on and that are not known."""
    choices: dict[str, list[Setting]] = {}
    for instances in named.values():
        for instance in instances:
            for name, value in instance.tensor.when.items():
                if name not in known and value not in choices.setdefault(name, []):
                    choices[name].append(value)
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def _fit(
    layout: Layout,
    named: Mapping[str, list[Instance]],
    shapes: Mapping[str, tuple[int, ...]],
    conditions: Mapping[str, Setting],
    given: Mapping[str, int],
) -> View:
    chosen = [_choose(layout, name, options, conditions) for name, options in named.items()]
    names = counts_from_names(layout, chosen)
    instances = [without_only(layout, instance) for instance in chosen]
    sizes, counts = solve(layout, instances, shapes, names, given)
    _check_complete(layout, instances, counts, conditions)
    check_equal(layout, sizes)
    ranked = [(i, spatial_axes(i.tensor, i.name, len(shapes[i.name]), sizes[0])) for i in instances]
    return _view(layout, ranked, counts, sizes, conditions)


def _choose(layout: Layout, name: str, options: list[Instance], conditions: Mapping[str, Setting]) -> Instance:
    fitting = [option for option in options if stored_when(option.tensor, conditions)]
    if len(fitting) != 1:
        stored = ", ".join(f"{key} = {value}" for key, value in conditions.items())
        raise LayoutError(f"{layout.name} stores no {name!r} when {stored}")
    return fitting[0]


def _check_complete(
    layout: Layout, instances: Sequence[Instance], counts: Mapping[str, int], conditions: Mapping[str, Setting]
) -> None:
    """A role is stored whole or not at all, and a role that cannot be absent is there."""
    present = {instance.name for instance in instances}
    stored = {role for instance in instances for role in instance.tensor.roles}
    for role in layout.kind.roles.values():
        needed = [i for i in expected(layout, counts, conditions) if role.name in i.tensor.roles]
        missing = [i.name for i in needed if i.name not in present and not i.tensor.optional]
        if missing and (role.name in stored or role.needed):
            raise LayoutError(f"{layout.name}: tensor {missing[0]!r} ({role.name}) is missing")


def _view(
    layout: Layout,
    instances: Sequence[tuple[Instance, int]],
    counts: Mapping[str, int],
    sizes: tuple[Mapping[str, int], ...],
    conditions: Mapping[str, Setting],
) -> View:
    claimed = claimed_places(layout, counts, conditions)
    shapes: dict[str, tuple[int, ...]] = {}
    blocks: list[StoredBlock] = []
    for instance, spatial in instances:
        parts = [
            (piece, {**sizes[min(piece.layer, len(sizes) - 1)], **label_counts(layout, piece, counts)})
            for piece in pieces(layout, instance, counts, spatial)
        ]
        check_layers(layout, instance.name, parts, sizes)
        dimension = along(instance.tensor, spatial)
        shapes[instance.name] = shape = _shape(layout, instance.name, parts, dimension)
        strides, start = contiguous_strides(shape), 0
        for piece, own in parts:
            offset = start * strides[dimension] if shape else 0
            blocks.extend(blocks_of(layout, instance.name, piece, counts, own, (strides, offset), claimed))
            start += group_size(piece.dimensions[dimension], own) if shape else 0
    blocks.extend(_built_in(layout, blocks, counts, sizes, conditions, claimed))
    check_sums(layout, blocks, conditions)
    return View(
        layout=layout,
        conditions=MappingProxyType(dict(conditions)),
        counts=MappingProxyType(dict(counts)),
        sizes=tuple(logical_sizes(layout.kind, own) for own in sizes),
        shapes=MappingProxyType(shapes),
        dtypes=MappingProxyType({instance.name: instance.tensor.dtype for instance, _ in instances}),
        blocks=tuple(blocks),
    )


def _built_in(
    layout: Layout,
    stored: Sequence[StoredBlock],
    counts: Mapping[str, int],
    sizes: Sequence[Mapping[str, int]],
    conditions: Mapping[str, Setting],
    claimed: set[tuple[str, Place]],
) -> Iterator[StoredBlock]:
    """The constants that the framework adds to a parameter which this layer does not store."""
    absent = set(layout.adds) - {block.role for block in stored}
    for instance in expected(layout, counts, conditions):
        for piece in pieces(layout, instance, counts, 1):
            if piece.part.role in absent:
                own = {**sizes[piece.layer], **label_counts(layout, piece, counts)}
                strides = contiguous_strides([group_size(group, own) for group in piece.dimensions])
                yield from blocks_of(layout, "", piece, counts, own, (strides, 0), claimed)


def _shape(layout: Layout, name: str, parts: Sequence[tuple[Piece, Mapping[str, int]]], along: int) -> tuple[int, ...]:
    """The shape of a tensor whose pieces follow one another along a dimension, and agree in the others."""
    shapes = [[group_size(group, own) for group in piece.dimensions] for piece, own in parts]
    shape = list(shapes[0])
    if len(parts) > 1:
        shape[along] = sum(one[along] for one in shapes)
    for one in shapes[1:]:
        if [*one[:along], *one[along + 1 :]] != [*shape[:along], *shape[along + 1 :]]:
            raise RefusedError(f"{layout.name}: {name!r} cannot hold parts of {shapes[0]} and {one}")
    return tuple(shape)

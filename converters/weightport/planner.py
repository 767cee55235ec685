"""From two views of one logical layer to the moves between them. No arrays, no frameworks, no pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .blocks import Place, StoredBlock, sum_class
from .checkpoint import DType, Setting
from .errors import RefusedError
from .kinds import Kind, Role
from .notation import spatial_names
from .plan import LayerPlan, Move, Requirement, SourceBlock, TensorPlan
from .views import View

DTypeOf = Callable[[str], DType]


@dataclass(frozen=True)
class Part:
    """A checkpoint's layer as a part of one logical layer: its tensors' names there, and the first of its stack.

    A stack of three one-layer LSTMs is three parts with ``first_layer`` 0, 1 and 2.
    """

    name: str
    view: View
    names: Mapping[str, str]
    first_layer: int = 0

    def blocks(self) -> Iterator[StoredBlock]:
        """The view's blocks under the checkpoint's names, and at their place in the stack."""
        kind = self.view.layout.kind
        for block in self.view.blocks:
            covers = tuple(self._shifted(kind, block.role, place) for place in block.covers)
            yield replace(block, tensor=self.names[block.tensor] if block.tensor else "", covers=covers)

    def _shifted(self, kind: Kind, role: str, place: Place) -> Place:
        axes = kind.labelled_axes(role)
        return tuple(
            int(label) + self.first_layer if axis == "layer" else label for axis, label in zip(axes, place, strict=True)
        )


@dataclass(frozen=True)
class SumClass:
    """The blocks on either side of places that enter the mathematics as one sum."""

    role: Role
    what: str
    labels: tuple[str, ...]
    sources: tuple[StoredBlock, ...]
    targets: tuple[StoredBlock, ...]


def plan_layer(
    sources: Sequence[Part],
    targets: Sequence[Part],
    settings: Mapping[str, Setting],
    dtype_of: DTypeOf,
    dtype: DType | None = None,
) -> LayerPlan:
    """Plan the moves that carry the source parts into the target parts.

    ``dtype`` is what floating-point tensors become (None: what their source is). Raises RefusedError listing every
    size that differs and every parameter that one side needs and the other does not have."""
    kind = sources[0].view.layout.kind
    problems = size_problems(sources, targets)
    classes = sum_classes(kind, sources, targets, settings) if not problems else []
    problems += [problem for group in classes if (problem := _missing(kind, group))]
    problems += _shared_tensors(targets)
    if problems:
        raise RefusedError(f"{targets[0].name}: {sources[0].name} does not fit", problems)
    moves: dict[str, list[Move]] = defaultdict(list)
    for group in classes:
        for tensor, move in _moves(group):
            moves[tensor].append(move)
    return LayerPlan(
        kind=kind.name,
        sources=tuple(part.name for part in sources),
        targets=tuple(part.name for part in targets),
        tensors=tuple(_tensor_plans(sources, targets, moves, dtype_of, dtype)),
        requirements=tuple(need for group in classes for need in _requirements(group, targets[0].view.layout.name)),
        notes=tuple(_dropped(classes)),
    )


def size_problems(
    sources: Sequence[Part], targets: Sequence[Part], sides: tuple[str, str] = ("the source", "the target")
) -> list[str]:
    """Every number of layers, number of directions and size that differs between the two sides, one line each."""
    ours_name, theirs_name = sides
    problems = []
    source_counts, target_counts = _total_counts(sources), _total_counts(targets)
    for axis, count in source_counts.items():
        if target_counts[axis] != count:
            problems.append(f"{count} {axis} in {ours_name}, {target_counts[axis]} in {theirs_name}")
    if problems:
        return problems
    shared = _shared_axes(sources, targets)
    for layer, (ours, theirs) in enumerate(zip(_all_sizes(sources), _all_sizes(targets), strict=True)):
        for axis in dict.fromkeys([*ours, *theirs]):
            is_shared = any(axis == name or axis in spatial_names(name, [axis]) for name in shared)
            if is_shared and ours.get(axis) != theirs.get(axis):
                where = f"layer {layer}: " if len(_all_sizes(sources)) > 1 else ""
                found = ours.get(axis), theirs.get(axis)
                problems.append(f"{where}{axis} is {found[0]} in {ours_name}, {found[1]} in {theirs_name}")
    return problems


def _shared_axes(sources: Sequence[Part], targets: Sequence[Part]) -> set[str]:
    """The axes of the roles that both sides have; an axis of other roles is no size to compare."""
    ours, theirs = ({role for part in parts for role in part.view.roles} for parts in (sources, targets))
    roles = sources[0].view.layout.kind.roles
    return {axis for role in ours & theirs for axis in roles[role].axes}


def _total_counts(parts: Sequence[Part]) -> dict[str, int]:
    counts = dict(parts[0].view.counts)
    for part in parts[1:]:
        if part.view.counts.get("direction") != counts.get("direction"):
            raise RefusedError(f"{part.name}: has other directions than {parts[0].name}, so they are no stack")
        counts["layer"] += part.view.counts["layer"]
    return counts


def _all_sizes(parts: Sequence[Part]) -> list[Mapping[str, int]]:
    return [sizes for part in parts for sizes in part.view.sizes]


def sum_classes(
    kind: Kind, sources: Sequence[Part], targets: Sequence[Part], settings: Mapping[str, Setting]
) -> list[SumClass]:
    """Every group of places whose sum alone enters the mathematics, with the blocks that each side has of it."""
    found: dict[tuple[str, Place], tuple[list[StoredBlock], list[StoredBlock]]] = {}
    counts = _total_counts(sources)
    for side, parts in enumerate((targets, sources)):
        for part in parts:
            for block in part.blocks():
                key = (block.role, sum_class(kind, block.role, block.covers[0], settings))
                found.setdefault(key, ([], []))[side].append(block)
    return [
        SumClass(
            kind.roles[role],
            describe(kind, role, place, counts),
            place_labels(kind, role, place, counts),
            tuple(from_source),
            tuple(in_target),
        )
        for (role, place), (in_target, from_source) in found.items()
    ]


def describe(kind: Kind, role: str, place: Place, counts: Mapping[str, int]) -> str:
    """A place in words: ``bias recurrent candidate``; layer and direction only where there are several."""
    return " ".join([role, *place_labels(kind, role, place, counts)])


def place_labels(kind: Kind, role: str, place: Place, counts: Mapping[str, int]) -> tuple[str, ...]:
    """The labels that tell a place from its neighbours."""
    words = [
        f"{axis} {label}" if axis in kind.counted else str(label)
        for axis, label in zip(kind.labelled_axes(role), place, strict=True)
        if counts.get(axis, 2) > 1
    ]
    return tuple(word for word in words if word)


def _missing(kind: Kind, group: SumClass) -> str | None:
    if not group.sources and group.role.absent is None:
        return f"the source has no {group.what}, which {kind.name} needs"
    if not group.targets and group.role.absent is None:
        return f"the target has no place for {group.what}"
    built_in = [block.adds for block in group.sources if not block.tensor]
    if not group.targets and any(adds != group.role.absent for adds in built_in):
        return f"the target has no place for {group.what}, which the source's framework sets to {built_in[0]:g}"
    return None


def _moves(group: SumClass) -> Iterator[tuple[str, Move]]:
    """One move for each target block of a class.

    Each source block goes to the target block that covers it, or else to the first one: where one sum becomes two
    parts, the first part takes the sum and the other is filled with zeros.
    """
    for index, target in enumerate(group.targets):
        taken = [block for block in group.sources if _home(block, group.targets) == index]
        if group.sources:
            mathematics = sum(block.adds for block in taken)
        else:
            mathematics = float(group.role.absent or 0.0) if index == 0 else 0.0
        sources = tuple(SourceBlock(b.tensor, b.block, b.sign * target.sign) for b in taken if b.tensor)
        constant = target.sign * (mathematics - target.adds)
        yield target.tensor, Move(group.what, target.block, sources, constant + 0.0)


def _home(block: StoredBlock, targets: Sequence[StoredBlock]) -> int:
    """The target block that a source block goes to: the one that holds the first of its places, else the first."""
    for place in block.covers:
        for index, target in enumerate(targets):
            if place in target.covers:
                return index
    return 0


def _requirements(group: SumClass, target_layout: str) -> Iterator[Requirement]:
    if group.targets or group.role.incidental:
        return
    for block in (block for block in group.sources if block.tensor):
        absent = float(group.role.absent or 0.0)
        yield Requirement(
            what=group.what,
            tensor=block.tensor,
            block=block.block,
            value=block.sign * (absent - block.adds),
            reason=f"{target_layout} has no place for {group.what}, so it must be {absent:g} everywhere",
        )


def _dropped(classes: Sequence[SumClass]) -> list[str]:
    names = dict.fromkeys(g.role.name for g in classes if g.role.incidental and g.sources and not g.targets)
    return [f"{name} is bookkeeping and is not carried" for name in names]


def _tensor_plans(
    sources: Sequence[Part],
    targets: Sequence[Part],
    moves: Mapping[str, list[Move]],
    dtype_of: DTypeOf,
    dtype: DType | None,
) -> Iterator[TensorPlan]:
    usual = _usual_dtype(sources, dtype_of)
    for part in targets:
        for local, shape in part.view.shapes.items():
            name = part.names[local]
            fixed = part.view.dtypes[local]
            found = {dtype_of(source.tensor) for move in moves[name] for source in move.sources}
            carried = _common_dtype(name, found) if found else np.dtype(fixed) if fixed else usual
            wanted = dtype if dtype is not None and is_floating(carried) else carried
            yield TensorPlan(name, shape, wanted, tuple(moves[name]))


def _shared_tensors(targets: Sequence[Part]) -> Iterator[str]:
    """One line for each tensor of the target in which two parameters would overwrite each other."""
    holders: dict[str, list[str]] = {}
    for part in targets:
        for local, name in part.names.items():
            holders.setdefault(name, []).append(local)
    for name, locals_ in holders.items():
        if len(locals_) > 1:
            yield f"the target keeps {' and '.join(locals_)} in one tensor, {name!r}, which cannot hold both"


def _usual_dtype(sources: Sequence[Part], dtype_of: DTypeOf) -> DType:
    """The dtype of a tensor that no source tensor goes into: the layer's first floating-point one."""
    dtypes = [dtype_of(name) for part in sources for name in part.names.values()]
    return next((found for found in dtypes if is_floating(found)), np.dtype("float32"))


def _common_dtype(name: str, dtypes: set[DType]) -> DType:
    if len(dtypes) > 1:
        listed = ", ".join(sorted(map(str, dtypes)))
        raise RefusedError(f"{name}: its sources are of several dtypes ({listed}); choose one with --dtype")
    return next(iter(dtypes))


def is_floating(dtype: DType) -> bool:
    """Whether the dtype is a floating-point one, ml_dtypes' among them."""
    return dtype.kind == "f" or (dtype.kind == "V" and "float" in dtype.name)

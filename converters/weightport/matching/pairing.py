"""Pairing layers: by mapping, by name, then by kind, sizes and order. What could go two ways is never chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from ..checkpoint import Layer
from ..errors import RefusedError
from ..kinds import all_kinds
from ..planner import Part, size_problems
from ..views import View
from .sides import Pair, Side


def pairs_of(source: Side, target: Side, mapping: Mapping[str, str]) -> list[Pair]:
    """Pair the layers of two checkpoints, in the target's order; what stays in ``free`` has no partner.

    ``mapping`` gives pairs by name and comes first. Raises RefusedError listing the candidates wherever more than
    one pairing is possible."""
    pairs = list(_by_mapping(source, target, mapping))
    pairs += _by_name(source, target)
    for kind in all_kinds():
        pairs += _by_order(source, target, kind)
    order = {layer.name: index for index, layer in enumerate(target.checkpoint.layers)}
    return sorted(pairs, key=lambda pair: order[pair.targets[0].name])


def common_kind(one: Layer, other: Layer) -> str | None:
    """The kind that both layers can be: the first that both allow."""
    return next((kind for kind in one.kinds if kind in other.kinds), None)


def _by_mapping(source: Side, target: Side, mapping: Mapping[str, str]) -> Iterator[Pair]:
    by_target: dict[str, list[str]] = {}
    for ours, theirs in mapping.items():
        by_target.setdefault(theirs, []).append(ours)
    for theirs, names in by_target.items():
        sources, goal = [source.named(name) for name in names], target.named(theirs)
        kinds = {common_kind(layer, goal) for layer in sources}
        kind = next(iter(kinds)) if len(kinds) == 1 else None
        if kind is None:
            listed = ", ".join(f"{layer.name} ({' or '.join(layer.kinds)})" for layer in sources)
            raise RefusedError(f"the mapping file pairs {listed} with {theirs} ({' or '.join(goal.kinds)})")
        yield _take(source, target, Pair(kind, tuple(sources), (goal,), "mapping file"))


def _by_name(source: Side, target: Side) -> Iterator[Pair]:
    for goal in list(target.free.values()):
        layer = source.free.get(goal.name)
        kind = common_kind(layer, goal) if layer else None
        if layer is None or kind is None:
            continue
        if source.view(layer, kind).counts.get("layer") == target.view(goal, kind).counts.get("layer"):
            yield _take(source, target, Pair(kind, (layer,), (goal,), "name"))


def _by_order(source: Side, target: Side, kind: str) -> Iterator[Pair]:
    """Pair what is left of one kind: the shapes say what can go where, the models' order settles the rest."""
    sources = [layer for layer in source.free.values() if kind in layer.kinds]
    targets = [layer for layer in target.free.values() if kind in layer.kinds]
    stacks = _stacks(source, target, kind, sources, targets)
    if stacks:
        yield from [_take(source, target, pair) for pair in stacks]
        return
    for ours, theirs in _groups(source, target, kind, sources, targets):
        if not ours or not theirs:
            continue
        in_order = source.checkpoint.contents.ordered and target.checkpoint.contents.ordered
        if len(ours) == len(theirs) and (len(ours) == 1 or in_order):
            for layer, goal in zip(ours, theirs, strict=True):
                how = "kind and order" if len(ours) > 1 else "kind and shape"
                yield _take(source, target, Pair(kind, (layer,), (goal,), how))
        else:
            raise _ambiguous(kind, ours, theirs)


def _groups(
    source: Side, target: Side, kind: str, sources: Sequence[Layer], targets: Sequence[Layer]
) -> Iterator[tuple[list[Layer], list[Layer]]]:
    """Layers of one kind, put together by their sizes: only layers of one group can be partners."""
    groups: dict[object, tuple[list[Layer], list[Layer]]] = {}
    for side, layers, index in ((source, sources, 0), (target, targets, 1)):
        for layer in layers:
            groups.setdefault(_signature(side.view(layer, kind)), ([], []))[index].append(layer)
    yield from groups.values()


def _signature(view: View) -> object:
    return tuple(sorted(view.counts.items())), tuple(tuple(sorted(sizes.items())) for sizes in view.sizes)


def _stacks(
    source: Side, target: Side, kind: str, sources: Sequence[Layer], targets: Sequence[Layer]
) -> list[Pair] | None:
    """Pairs of stacks, where one side splits into layers what the other side holds as one."""
    ours, theirs = _stack_ends(source, kind, sources), _stack_ends(target, kind, targets)
    if not ours or not theirs or ours == theirs or ours[-1] != theirs[-1]:
        return None
    for side, ends in ((source, ours), (target, theirs)):
        if len(ends) > 1 and not side.checkpoint.contents.ordered:
            return None
    pairs = list(_aligned(kind, (sources, ours), (targets, theirs)))
    fits = all(
        not size_problems(_whole_parts(source, p.sources, kind), _whole_parts(target, p.targets, kind)) for p in pairs
    )
    return pairs if fits else None


def _whole_parts(side: Side, layers: Sequence[Layer], kind: str) -> list[Part]:
    """The parts of a stack, of whatever feature maps their rows follow."""
    return side.parts([replace(layer, flattened=None) for layer in layers], kind)


def _aligned(
    kind: str, ours: tuple[Sequence[Layer], list[int]], theirs: tuple[Sequence[Layer], list[int]]
) -> Iterator[Pair]:
    """Cut both sides at every number of layers at which both have an end."""
    start = (0, 0)
    for end in sorted(set(ours[1]) & set(theirs[1])):
        stop = ours[1].index(end) + 1, theirs[1].index(end) + 1
        sources, targets = ours[0][start[0] : stop[0]], theirs[0][start[1] : stop[1]]
        how = "kind and order" + (", as a stack" if len(sources) + len(targets) > 2 else "")
        yield Pair(kind, tuple(sources), tuple(targets), how)
        start = stop


def _stack_ends(side: Side, kind: str, layers: Sequence[Layer]) -> list[int]:
    """The number of stacked layers up to and including each layer."""
    return list(accumulate(side.view(layer, kind).counts.get("layer", 1) for layer in layers))


def _ambiguous(kind: str, sources: Sequence[Layer], targets: Sequence[Layer]) -> RefusedError:
    ours = ", ".join(layer.name for layer in sources)
    theirs = ", ".join(layer.name for layer in targets)
    example = f'"{sources[0].name}" = "{targets[0].name}"'
    return RefusedError(
        f"{kind}: {ours} of the source could each go into any of {theirs} of the target; "
        f"say which in a mapping file ([layers] {example}) and give it with --map"
    )


def _take(source: Side, target: Side, pair: Pair) -> Pair:
    for side, layers in ((source, pair.sources), (target, pair.targets)):
        for layer in layers:
            side.free.pop(layer.name, None)
    return pair

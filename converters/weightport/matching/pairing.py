"""Pairing layers: by mapping, by name, then by kind, sizes, words and order. What could go two ways is never chosen."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from ..checkpoint import Layer
from ..errors import RefusedError
from ..kinds import all_kinds
from ..planner import Part, size_problems
from ..views import View
from .groups import assign, names_contradict
from .sides import Pair, Side

_MOST_LISTED = 12


@dataclass(frozen=True)
class Ambiguity:
    """Layers of one kind that could be paired in more than one way, and why nothing tells which."""

    kind: str
    sources: tuple[Layer, ...]
    targets: tuple[Layer, ...]
    why: str

    def __str__(self) -> str:
        ours, theirs = _listed(self.sources), _listed(self.targets)
        example = f'"{self.sources[0].name}" = "{self.targets[0].name}"'
        return (
            f"{self.kind}: {ours} of the source could each go into any of {theirs} of the target ({self.why}); "
            f"say which in a mapping file ([layers] {example}) and give it with --map"
        )


def _listed(layers: Sequence[Layer]) -> str:
    names = ", ".join(layer.name for layer in layers[:_MOST_LISTED])
    return names + (f" and {len(layers) - _MOST_LISTED} more" if len(layers) > _MOST_LISTED else "")


@dataclass
class Pairing:
    """The pairs, in the target's order, and what is not settled. What has no partner is in the sides' ``free``."""

    pairs: list[Pair] = field(default_factory=list)
    ambiguities: list[Ambiguity] = field(default_factory=list)
    undecided: tuple[set[str], set[str]] = field(default_factory=lambda: (set(), set()))

    def leave_open(self, ambiguity: Ambiguity) -> None:
        """Leave these layers to the user."""
        self.ambiguities.append(ambiguity)
        self.undecided[0].update(layer.name for layer in ambiguity.sources)
        self.undecided[1].update(layer.name for layer in ambiguity.targets)


def pairing_of(source: Side, target: Side, given: Sequence[tuple[str, str]]) -> Pairing:
    """Pair the layers of two checkpoints; ``given`` has pairs of names, and comes first.

    Raises RefusedError where these are of different kinds, UsageError where they name no layer."""
    found = Pairing(list(_by_mapping(source, target, given)))
    by_order: list[list[Pair]] = []
    _by_all_evidence(source, target, found, by_order)
    if source.echoes or target.echoes:  # tied layers have partners only where the other side has them apart
        source.free |= source.echoes
        target.free |= target.echoes
        _by_all_evidence(source, target, found, by_order)
    _settle_orders(source, target, found, by_order)
    found.pairs.sort(key=lambda pair: target.positions[pair.targets[0].name])
    return found


def _by_all_evidence(source: Side, target: Side, found: Pairing, by_order: list[list[Pair]]) -> None:
    found.pairs += _by_name(source, target)
    for kind in all_kinds():
        _of_kind(source, target, kind, found, by_order)


def common_kind(one: Layer, other: Layer) -> str | None:
    """The kind that both layers can be: the first that both allow."""
    return next((kind for kind in one.kinds if kind in other.kinds), None)


def _by_mapping(source: Side, target: Side, given: Sequence[tuple[str, str]]) -> Iterator[Pair]:
    """One pair for every layer that is named on one side, with all that it is paired with on the other."""
    by_target: dict[str, list[str]] = {}
    by_source: dict[str, list[str]] = {}
    for ours, theirs in given:
        by_target.setdefault(theirs, []).append(ours)
        by_source.setdefault(ours, []).append(theirs)
    for theirs, names in by_target.items():
        several = by_source[names[0]]
        if len(several) > 1:
            if theirs == several[0]:
                yield _mapped(source, target, names[:1], several)
        else:
            yield _mapped(source, target, names, [theirs])


def _mapped(source: Side, target: Side, ours: Sequence[str], theirs: Sequence[str]) -> Pair:
    sources, targets = [source.named(name) for name in ours], [target.named(name) for name in theirs]
    kinds = {common_kind(one, other) for one in sources for other in targets}
    kind = next(iter(kinds)) if len(kinds) == 1 else None
    if kind is None:
        listed = (
            ", ".join(f"{layer.name} ({' or '.join(layer.kinds)})" for layer in layers) for layers in (sources, targets)
        )
        raise RefusedError(f"the mapping file pairs {' with '.join(listed)}")
    return _take(source, target, Pair(kind, tuple(sources), tuple(targets), "mapping file"))


def _by_name(source: Side, target: Side) -> Iterator[Pair]:
    for goal in list(target.free.values()):
        layer = source.free.get(goal.name)
        kind = common_kind(layer, goal) if layer else None
        if layer is None or kind is None:
            continue
        if source.view(layer, kind).counts.get("layer") == target.view(goal, kind).counts.get("layer"):
            yield _take(source, target, Pair(kind, (layer,), (goal,), "name"))


def _of_kind(source: Side, target: Side, kind: str, found: Pairing, by_order: list[list[Pair]]) -> None:
    """Pair what is left of one kind: shapes say what can go where; words, numbers and order settle the rest.

    Pairs that rest on order alone are added to ``by_order``, group by group: other pairs may speak against them."""
    sources = [one for one in source.free.values() if kind in one.kinds and one.name not in found.undecided[0]]
    targets = [one for one in target.free.values() if kind in one.kinds and one.name not in found.undecided[1]]
    if not sources or not targets:
        return
    stacks = _stacks(source, target, kind, sources, targets)
    if stacks and _stacks_contradict(stacks):
        why = "their names point another way than their order"
        found.leave_open(Ambiguity(kind, tuple(sources), tuple(targets), why))
    elif stacks:
        found.pairs += [_take(source, target, pair) for pair in stacks]
    else:
        in_order = source.checkpoint.contents.ordered and target.checkpoint.contents.ordered
        for ours, theirs in _groups(source, target, kind, sources, targets):
            assignment = assign(ours, theirs, in_order=in_order)
            pairs = [_take(source, target, Pair(kind, (a,), (b,), how)) for a, b, how in assignment.partners]
            found.pairs += [pair for pair in pairs if not _by_order(pair)]
            by_order.append([pair for pair in pairs if _by_order(pair)])
            if assignment.open_ours:
                open_ends = tuple(assignment.open_ours), tuple(assignment.open_theirs)
                found.leave_open(Ambiguity(kind, *open_ends, assignment.why))


def _by_order(pair: Pair) -> bool:
    return "order" in pair.how


def _settle_orders(source: Side, target: Side, found: Pairing, by_order: Sequence[Sequence[Pair]]) -> None:
    """Take the groups that were paired by order, unless the layers around them stand in another order."""
    anchors = _Anchors.of(source, target, found.pairs)
    for pairs in by_order:
        if not anchors.contradict(pairs):
            found.pairs += pairs
            continue
        sources, targets = tuple(p.sources[0] for p in pairs), tuple(p.targets[0] for p in pairs)
        why = "the layers around them stand in another order"
        found.leave_open(Ambiguity(pairs[0].kind, sources, targets, why))
        source.free |= {layer.name: layer for layer in sources}
        target.free |= {layer.name: layer for layer in targets}


@dataclass(frozen=True)
class _Anchors:
    """Where layers stand between those whose partners are certain."""

    positions: tuple[dict[str, int], dict[str, int]]
    ours: Sequence[int]
    theirs: Sequence[int]
    image: dict[int, int]

    @classmethod
    def of(cls, source: Side, target: Side, pairs: Sequence[Pair]) -> _Anchors:
        """The pairs that rest on more than order."""
        single = [pair for pair in pairs if len(pair.sources) == len(pair.targets) == 1 and not _by_order(pair)]
        image = {source.positions[p.sources[0].name]: target.positions[p.targets[0].name] for p in single}
        return cls((source.positions, target.positions), sorted(image), sorted(image.values()), image)

    def contradict(self, pairs: Sequence[Pair]) -> bool:
        """Whether partners by order follow other anchors on either side, which another pairing would make agree."""
        ours = [self._before(0, pair.sources[0]) for pair in pairs]
        theirs = [self._before(1, pair.targets[0]) for pair in pairs]
        return ours != theirs and sorted(ours) == sorted(theirs)

    def _before(self, side: int, layer: Layer) -> int:
        """The last anchor before a layer, as its place in the target; -1 where there is none."""
        places = (self.ours, self.theirs)[side]
        index = bisect(places, self.positions[side][layer.name]) - 1
        if index < 0:
            return -1
        return self.image[places[index]] if side == 0 else places[index]


def _groups(
    source: Side, target: Side, kind: str, sources: Sequence[Layer], targets: Sequence[Layer]
) -> list[tuple[list[Layer], list[Layer]]]:
    """Layers of one kind, put together by their sizes: only layers of one group can be partners."""
    groups: dict[object, tuple[list[Layer], list[Layer]]] = {}
    for side, layers, index in ((source, sources, 0), (target, targets, 1)):
        for layer in layers:
            groups.setdefault(_signature(side.view(layer, kind)), ([], []))[index].append(layer)
    return [group for group in groups.values() if group[0] and group[1]]


def _signature(view: View) -> object:
    return tuple(sorted(view.counts.items())), tuple(tuple(sorted(sizes.items())) for sizes in view.sizes)


def _stacks(
    source: Side, target: Side, kind: str, sources: Sequence[Layer], targets: Sequence[Layer]
) -> list[Pair] | None:
    """Pairs of stacks, where one side splits into layers what the other side holds as one."""
    ours, theirs = _stack_ends(source, kind, sources), _stack_ends(target, kind, targets)
    if ours == theirs or ours[-1] != theirs[-1]:
        return None
    for side, ends in ((source, ours), (target, theirs)):
        if len(ends) > 1 and not side.checkpoint.contents.ordered:
            return None
    pairs = list(_aligned(kind, (sources, ours), (targets, theirs)))
    fits = all(
        not size_problems(_whole_parts(source, p.sources, kind), _whole_parts(target, p.targets, kind)) for p in pairs
    )
    return pairs if fits else None


def _stacks_contradict(pairs: Sequence[Pair]) -> bool:
    """Whether the words of the stacks' names speak against their order."""
    return len(pairs) > 1 and names_contradict([p.sources[0] for p in pairs], [p.targets[0] for p in pairs])


def _whole_parts(side: Side, layers: Sequence[Layer], kind: str) -> list[Part]:
    """The parts of a stack, of whatever feature maps their rows follow."""
    return side.parts([replace(layer, flattened=None) for layer in layers], kind)


def _aligned(
    kind: str, ours: tuple[Sequence[Layer], list[int]], theirs: tuple[Sequence[Layer], list[int]]
) -> Iterator[Pair]:
    """Cut both sides at every number of layers at which both have an end."""
    start = (0, 0)
    places = [{end: index + 1 for index, end in enumerate(side[1])} for side in (ours, theirs)]
    for end in sorted(set(ours[1]) & set(theirs[1])):
        stop = places[0][end], places[1][end]
        sources, targets = ours[0][start[0] : stop[0]], theirs[0][start[1] : stop[1]]
        how = "kind and order" + (", as a stack" if len(sources) + len(targets) > 2 else "")
        yield Pair(kind, tuple(sources), tuple(targets), how)
        start = stop


def _stack_ends(side: Side, kind: str, layers: Sequence[Layer]) -> list[int]:
    """The number of stacked layers up to and including each layer."""
    return list(accumulate(side.view(layer, kind).counts.get("layer", 1) for layer in layers))


def _take(source: Side, target: Side, pair: Pair) -> Pair:
    for side, layers in ((source, pair.sources), (target, pair.targets)):
        for layer in layers:
            side.free.pop(layer.name, None)
    return pair

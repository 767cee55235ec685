"""How one layout becomes another, derived from a plan between two small layers: what a picture or a table shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from .blocks import StoredBlock
from .checkpoint import Array, Setting
from .engine import strided
from .errors import RefusedError, UsageError
from .kinds import Kind
from .layouts import Layout, layout_named
from .notation import is_spatial
from .plan import LayerPlan, Move
from .planner import Part, plan_layer
from .settings import apart_settings, unsupported
from .translation import target_roles
from .views import View, families_of, view_for

SAMPLE = {"in": 3, "unit": 2, "hidden": 2, "cell": 2, "out": 2, "channel": 3, "group": 3, "token": 4, "feature": 3}
SAMPLE |= {
    "head": 2,
    "repeat": 1,
    "key": 2,
    "value": 2,
    "query_in": 4,
    "key_in": 4,
    "value_in": 4,
    "output": 4,
    "first": 3,
    "second": 2,
}
_SPATIAL_SAMPLE = {"...0": 2, "...state0": 2}


@dataclass(frozen=True)
class Cell:
    """What one element of a small tensor holds: its role, its places on the labelled axes, and its unit."""

    role: str
    gate: str = ""
    side: str = ""
    unit: int = 0

    @property
    def letter(self) -> str:
        """A gate by its initial, in capitals where it is the recurrent side's; what has no gates by its role's."""
        letter = (self.gate or self.role or ".")[0]
        return letter.upper() if self.side == "recurrent" else letter


@dataclass(frozen=True)
class Picture:
    """A small tensor, element by element. ``cells`` has one entry for each element in memory order."""

    name: str
    axes: str
    shape: tuple[int, ...]
    cells: tuple[Cell, ...]
    order: tuple[str, ...]

    def rows(self) -> list[list[Cell]]:
        """The elements as the rows of a matrix, leading dimensions one after the other."""
        width = self.shape[-1] if self.shape else 1
        return [list(self.cells[start : start + width]) for start in range(0, len(self.cells), width or 1)]


@dataclass(frozen=True)
class Step:
    """What happens to one role: its tensors on both sides, and sentences that say how one becomes the other."""

    role: str
    sources: tuple[Picture, ...]
    targets: tuple[Picture, ...]
    how: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """How ``source`` becomes ``target`` where the layer has ``settings``.

    ``conditions`` say what must hold of a layer's values, else it is refused; ``refused`` why no layer can be carried.
    """

    source: Layout
    target: Layout
    settings: Mapping[str, Setting]
    steps: tuple[Step, ...]
    conditions: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The explanation as JSON data."""
        return {
            "source": self.source.name,
            "target": self.target.name,
            "kind": self.source.kind.name,
            "settings": dict(self.settings),
            "steps": [_step_json(step) for step in self.steps],
            "conditions": list(self.conditions),
            "refused": list(self.refused),
        }


def explain(source: str, target: str, **settings: Setting) -> Explanation:
    """How a layer in the layout ``source`` becomes one in ``target``.

    ``settings`` fix what a layout stores in several ways (``reset="before"``); by default the source's first. Raises
    UsageError where a layout is not known or the two are of different kinds."""
    from_layout, to_layout = layout_named(source), layout_named(target)
    if from_layout.kind.name != to_layout.kind.name:
        raise UsageError(f"{source} is a {from_layout.kind.name} and {target} a {to_layout.kind.name}: no way between")
    chosen = {**assumed_settings(from_layout), **from_layout.forced_settings(), **settings}
    optional = {role for role in _optional(from_layout) if role in _stored(to_layout)}
    view = sample_view(from_layout, chosen, optional)
    refused = unsupported(to_layout, {**from_layout.forced_settings(), **settings, **_structural(from_layout, chosen)})
    try:
        goal = view_for(to_layout, target_roles(to_layout, view.roles), view.counts, view.sizes, chosen)
        plan = _plan(view, goal, chosen)
    except RefusedError as error:
        reasons = error.problems or (str(error),)
        return Explanation(from_layout, to_layout, chosen, tuple(_only_sources(view)), (), (*refused, *reasons))
    steps = tuple(_steps(view, goal, plan))
    left_out = [
        f"{to_layout.name} has no {role}: a layer with one is refused" for role in _optional(from_layout) - optional
    ]
    return Explanation(from_layout, to_layout, chosen, steps, (*_conditions(goal, plan), *left_out), tuple(refused))


def sample_view(layout: Layout, settings: Mapping[str, Setting], optional: Iterable[str] = ()) -> View:
    """A small layer with every role that the layout can store; of optional roles those that are named."""
    roles = _stored(layout) - _optional(layout) | set(optional)
    free = [axis for role in layout.kind.roles.values() for axis in role.axes if axis not in layout.kind.broadcast]
    spatial = any(is_spatial((axis,)) for axis in free)
    axes = {axis for role in roles for axis in layout.kind.roles[role].axes if not layout.kind.is_labelled(axis)}
    sizes = {axis: size for axis, size in SAMPLE.items() if axis in axes} | (_SPATIAL_SAMPLE if spatial else {})
    sizes |= {axis: 1 for axis, factors in layout.equal.items() if not factors and axis in axes}
    for role in roles:
        freed = layout.kind.roles[role].frees
        if freed:
            sizes[freed] = 1
    return view_for(layout, roles, {}, [sizes], settings)


def pictures(view: View, role: str) -> tuple[Picture, ...]:
    """Every tensor of a view that holds a role."""
    names = dict.fromkeys(block.tensor for block in view.blocks if block.role == role)
    return tuple(_picture(view, name) for name in names)


def _step_json(step: Step) -> dict[str, Any]:
    sides = {"source": step.sources, "target": step.targets}
    drawn = {side: [_picture_json(picture) for picture in pictures] for side, pictures in sides.items()}
    return {"role": step.role, "how": list(step.how), **drawn}


def _picture_json(picture: Picture) -> dict[str, Any]:
    return {"tensor": picture.name, "axes": picture.axes, "shape": list(picture.shape), "gates": list(picture.order)}


def _stored(layout: Layout) -> set[str]:
    return {role for tensor in layout.tensors for role in tensor.roles}


def _optional(layout: Layout) -> set[str]:
    return {role for role in _stored(layout) if layout.kind.roles[role].optional}


def assumed_settings(layout: Layout) -> dict[str, Setting]:
    """What a picture assumes: of every setting that the tensors depend on, the value of the first that does, and of
    those that divide an axis or keep sums apart the usual one."""
    assumed: dict[str, Setting] = {}
    for tensor in layout.tensors:
        for name, value in tensor.when.items():
            assumed.setdefault(name, value)
    usual = {*apart_settings(layout), *layout.spread.values()}
    return {**{name: layout.kind.settings[name] for name in usual}, **assumed}


def _structural(layout: Layout, chosen: Mapping[str, Setting]) -> dict[str, Setting]:
    return {name: chosen[name] for name in apart_settings(layout) if name in chosen}


def _plan(view: View, goal: View, settings: Mapping[str, Setting]) -> LayerPlan:
    same = [{name: name for name in side.shapes} for side in (view, goal)]
    return plan_layer(
        [Part(view.layout.name, view, same[0])],
        [Part(goal.layout.name, goal, same[1])],
        settings,
        lambda _: np.dtype(np.float32),
    )


def _steps(view: View, goal: View, plan: LayerPlan) -> Iterator[Step]:
    moves = {tensor.name: tensor.moves for tensor in plan.tensors}
    for role in dict.fromkeys((*view.roles, *goal.roles)):
        sources, targets = pictures(view, role), pictures(goal, role)
        relevant = [move for picture in targets for move in moves[picture.name] if move.what.split()[0] == role]
        yield Step(role, sources, targets, tuple(_sentences(view, goal, role, relevant)))


def _conditions(goal: View, plan: LayerPlan) -> Iterator[str]:
    """One line for each role that the target cannot hold, and for each part of one that it can."""
    whole = {need.what.split()[0]: need for need in plan.requirements}
    for role, need in whole.items():
        if role not in goal.roles:
            yield f"{goal.layout.name} has no {role}: it must be {need.value:g} everywhere"
    for need in plan.requirements:
        if need.what.split()[0] in goal.roles:
            yield need.reason


def _only_sources(view: View) -> Iterator[Step]:
    for role in view.roles:
        yield Step(role, pictures(view, role), (), ())


def _sentences(view: View, goal: View, role: str, moves: Sequence[Move]) -> Iterator[str]:
    ours, theirs = _order(view, role), _order(goal, role)
    if ours and theirs:
        yield f"gates {' '.join(ours)} become {' '.join(theirs)}" if ours != theirs else "gates in the same order"
    copied = [move for move in moves if move.sources]
    turned = [m for m in copied if m.sources[0].block.names != m.target.names and len(m.target.names) > 1]
    if turned:
        before, after = turned[0].sources[0].block.names, turned[0].target.names
        yield f"each block is turned: {' '.join(before)} becomes {' '.join(after)}"
    if any(len(move.sources) > 1 for move in moves):
        yield "the stored parts are summed"
    empty = [move for move in moves if not move.sources]
    if empty and copied:
        yield f"{_listed(move.what for move in empty)}: filled with {_listed(f'{m.constant:g}' for m in empty)}"
    elif empty:
        yield f"new, filled with {_listed(f'{move.constant:g}' for move in empty)}"
    if any(source.sign < 0 for move in moves for source in move.sources):
        negated = [move.what for move in moves if any(source.sign < 0 for source in move.sources)]
        yield f"{_listed(negated)}: sign reversed"
    for move in copied:
        if move.constant:
            yield f"{move.what}: {move.constant:+g}"


def _listed(words: Iterator[str] | Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def _order(view: View, role: str) -> tuple[str, ...]:
    """The gates of a role in the order in which they stand in memory."""
    kind = view.layout.kind
    if "gate" not in kind.labelled_axes(role):
        return ()
    gates = [_cell(kind, block).gate for block in _in_memory_order(view) if block.role == role]
    return tuple(dict.fromkeys(gates))


def _in_memory_order(view: View) -> list[StoredBlock]:
    names = list(view.shapes)
    return sorted(view.blocks, key=lambda block: (names.index(block.tensor), block.block.offset))


def _picture(view: View, name: str) -> Picture:
    shape = view.shapes[name]
    positions: Array = np.arange(prod(shape)).reshape(shape)
    cells: list[Cell] = [Cell("")] * prod(shape)
    order = []
    for block in _in_memory_order(view):
        if block.tensor != name:
            continue
        cell = _cell(view.layout.kind, block)
        order.append(cell.gate)
        held = strided(positions, block.block)
        axis = block.block.names.index("unit") if "unit" in block.block.names else -1
        for place, position in np.ndenumerate(held):
            cells[int(position)] = replace(cell, unit=place[axis] if axis >= 0 else 0)
    axes = dict.fromkeys(part.axes for family in families_of(view, name) for part in family.parts)
    return Picture(name, " + ".join(axes), shape, tuple(cells), tuple(dict.fromkeys(order)))


def _cell(kind: Kind, block: StoredBlock) -> Cell:
    place = dict(zip(kind.labelled_axes(block.role), block.covers[0], strict=True))
    side = str(place.get("side", "")) if len(block.covers) == 1 else ""
    return Cell(block.role, str(place.get("gate", "")), side)

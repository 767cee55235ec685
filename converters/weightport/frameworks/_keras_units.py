"""The layers that a Keras config describes, one by one: wrappers, cells and nested models taken apart.

A :class:`Unit` becomes one layer of the structure once the tensors of its owners are found; how they are found (by
group or by order) is each dialect's own business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..checkpoint import Layer, Setting
from ..errors import CheckpointError
from ._keras_classes import (
    ATTENTION_GROUPS,
    CELL_CLASSES,
    CUDNN_CLASSES,
    HOLDS_A_CELL,
    KIND_OF_CLASS,
    RECURRENT_KINDS,
    Variable,
    Writer,
    cudnn_layout,
    kind_problem,
    layout_of,
    storage_problem,
    variables_of,
)
from ._keras_config import Entry, joined
from ._keras_einsum import EinsumForm, einsum_form
from ._keras_parts import DEPTHWISE, taken_apart
from ._keras_settings import notes_of, settings_of

MAX_DEPTH = 64
WRAPPERS = ("Bidirectional", "TimeDistributed", "SpectralNormalization")

Places = Callable[[str, Sequence[Entry]], Sequence[str]]
"""The group paths of the members of a container, in the members' order."""


@dataclass(frozen=True)
class Owner:
    """An object that has variables of its own. ``prefix`` stands before their names in the layout."""

    path: str
    variables: tuple[Variable, ...]
    prefix: str = ""
    frozen: bool = False
    frozen_above: bool = False


@dataclass(frozen=True)
class Unit:
    """One layer to be: its kind, or the reason why it has none; or ``state``, what tensors are that are no weights.

    ``told`` is whether it is known how its tensors are stored, with a kind or without."""

    name: str
    kind: str | None
    owners: tuple[Owner, ...]
    entry: Entry
    settings: Mapping[str, Setting]
    notes: tuple[str, ...] = ()
    reason: str = ""
    layout: str = ""
    state: str = ""
    told: bool = True


@dataclass(frozen=True)
class _Spot:
    """Where the walk is: the dotted name and the group path of an object, and whether something above is frozen."""

    name: str
    path: str
    frozen: bool = False
    depth: int = 0

    def down(self, name: str, path: str, around: Entry) -> _Spot:
        """The spot of an object inside ``around``, which is here."""
        if self.depth >= MAX_DEPTH:
            raise CheckpointError(f"{self.name}: the config nests layers more than {MAX_DEPTH} deep")
        return _Spot(name, path, self.frozen or around.frozen, self.depth + 1)


@dataclass(frozen=True)
class Walk:
    """The way through a config. ``places`` tells the groups of a container's members, where the dialect has groups."""

    writer: Writer
    places: Places = lambda container, entries: [""] * len(entries)

    def units(self, entry: Entry, name: str, path: str = "") -> Iterator[Unit]:
        """The layers in an object of that dotted name, in the model's order."""
        yield from self._units(entry, _Spot(name, path))

    def _units(self, entry: Entry, spot: _Spot) -> Iterator[Unit]:
        cell = entry.inner("cell") if entry.class_name == "RNN" else None
        inner = entry.inner("layer") if entry.class_name in WRAPPERS else None
        if entry.layers is not None:
            yield from self._members(entry, spot)
        elif inner and entry.class_name == "TimeDistributed":
            yield from self._every_step(entry, inner, spot)
        elif inner and entry.class_name == "SpectralNormalization":
            yield from self._spectral(entry, inner, spot)
        elif inner and (inner.class_name == "RNN" or inner.class_name in KIND_OF_CLASS):
            yield from self._two_directions(entry, inner, spot)
        elif cell:
            yield from self._cells(entry, cell, spot)
        else:
            yield self._unit(entry, entry, spot)

    def _members(self, entry: Entry, spot: _Spot) -> Iterator[Unit]:
        members = entry.layers or ()
        paths = self.places(_below(spot.path, "layers"), members)
        for member, path in zip(members, paths, strict=True):
            yield from self._units(member, spot.down(joined(spot.name, member.name), path, entry))

    def _every_step(self, entry: Entry, inner: Entry, spot: _Spot) -> Iterator[Unit]:
        for unit in self._units(inner, spot.down(spot.name, _below(spot.path, "layer"), entry)):
            notes = () if unit.kind in (None, "dense") else ("is applied at every time step",)
            yield replace(unit, notes=(*unit.notes, *notes))

    def _spectral(self, entry: Entry, inner: Entry, spot: _Spot) -> Iterator[Unit]:
        """The layer inside, whose kernel is divided by its norm when it trains, and the state of that division."""
        yield from self._units(inner, spot.down(spot.name, _below(spot.path, "layer"), entry))
        vector = (Variable("vector_u", trainable=False),)
        owner = Owner(spot.path, vector, frozen=entry.frozen, frozen_above=spot.frozen)
        yield Unit(spot.name, None, (owner,), entry, {}, state="state of the spectral normalisation")

    def _cells(self, entry: Entry, cell: Entry, spot: _Spot) -> Iterator[Unit]:
        below = spot.down(spot.name, _below(spot.path, "cell"), entry)
        cells = cell.inner_list("cells") if cell.class_name == "StackedRNNCells" else None
        if cells is None:
            yield self._unit(cell, entry, below)
            return
        paths = self.places(_below(below.path, "cells"), cells)
        for index, (member, path) in enumerate(zip(cells, paths, strict=True)):
            around = _around_cell(entry, first=index == 0, last=index == len(cells) - 1)
            yield self._unit(member, around, below.down(joined(spot.name, member.name), path, cell))

    def _two_directions(self, entry: Entry, inner: Entry, spot: _Spot) -> Iterator[Unit]:
        other = entry.inner("backward_layer") or _turned(inner)
        one, two = (
            list(self._units(layer, spot.down(joined(spot.name, part), _below(spot.path, part), entry)))
            for layer, part in ((inner, "forward_layer"), (other, "backward_layer"))
        )
        merged: dict[str, Setting] = {}
        if "merge_mode" in entry.config:
            merged["merge_mode"] = str(entry.config["merge_mode"] or "none")
        if len(one) == len(two) == 1 and _are_a_pair(one[0], two[0]):
            yield _pair(spot.name, one[0], two[0], merged)
        else:
            yield from _apart(one, two, merged)

    def _unit(self, entry: Entry, outer: Entry, spot: _Spot) -> Unit:
        """The unit of one object. ``outer`` is the RNN around a cell, and the object itself where there is none."""
        kind = KIND_OF_CLASS.get(entry.class_name)
        if entry is not outer and entry.class_name not in CELL_CLASSES:
            kind = None
        untold = storage_problem(entry, self.writer) if kind else None
        reason = untold or (kind_problem(entry, self.writer) if kind else f"{entry.class_name} has no kind yet")
        inside = kind in HOLDS_A_CELL and entry is outer and entry.class_name not in CUDNN_CLASSES | CELL_CLASSES
        owner = Owner(
            path=_below(spot.path, "cell") if inside else spot.path,
            variables=variables_of(entry, self.writer),
            frozen=entry.frozen,
            frozen_above=spot.frozen,
        )
        if kind is None or reason:
            return Unit(spot.name, None, (owner,), entry, {}, reason=reason or "", told=not untold)
        owners = tuple(attention_owners(owner, entry)) if kind == "multi_head_attention" else (owner,)
        settings = settings_of(entry, outer, self.writer.major)
        layout = layout_of(entry, self.writer)
        return Unit(spot.name, kind, owners, entry, settings, notes_of(entry, outer), layout=layout)


def attention_owners(owner: Owner, entry: Entry) -> Iterator[Owner]:
    """The dense layers inside a multi-head attention, each with its own share of the variables."""
    for part, group in ATTENTION_GROUPS[entry.class_name].items():
        names = [variable.name for variable in owner.variables if variable.name.startswith(f"{part}/")]
        variables = tuple(Variable(name.partition("/")[2]) for name in names)
        if variables:
            yield replace(owner, path=_below(owner.path, group), variables=variables, prefix=f"{part}/")


def layers_of(unit: Unit, tensors: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> list[Layer]:
    """The layers of a unit whose tensors are found, by their names in the layout; ``shapes`` is by the file's names.

    One, but for a class that is several layers in other frameworks."""
    kind = str(unit.kind)
    settings, layout, storage = dict(unit.settings), unit.layout, {}
    own = {local: shapes[name] for local, name in tensors.items()}
    if kind in ("lstm", "gru") and _is_cudnn(unit, own):
        layout = cudnn_layout(kind)
        settings |= {"reset": "after"} if kind == "gru" else {}
    form = einsum_form(unit.entry) if unit.entry.class_name == "EinsumDense" else None
    if isinstance(form, EinsumForm):
        storage = {"turned": form.turned, "inputs": form.inputs, "outputs": form.outputs}
    whole = Layer(unit.name, (kind,), tensors, settings, storage, unit.notes, layout)
    return [_with_groups(layer, shapes) for layer in taken_apart(whole, unit.entry.class_name)]


def _with_groups(layer: Layer, shapes: Mapping[str, tuple[int, ...]]) -> Layer:
    """A depthwise convolution with its number of groups, the channels that its kernel keeps apart."""
    if layer.layout != DEPTHWISE:
        return layer
    kernel = shapes[layer.tensors["kernel"]]
    return replace(layer, settings={**layer.settings, "groups": kernel[-2]}) if len(kernel) > 1 else layer


def _is_cudnn(unit: Unit, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether the weights stand as cuDNN reads them, which only the class or the length of a bias tells."""
    if unit.entry.class_name in CUDNN_CLASSES:
        return True
    prefix = unit.owners[0].prefix
    recurrent, bias = shapes.get(f"{prefix}recurrent_kernel", ()), shapes.get(f"{prefix}bias")
    rows = 8 if unit.kind == "lstm" else 6
    return len(recurrent) == 2 and bias == (rows * recurrent[0],)


def _below(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _turned(entry: Entry) -> Entry:
    """The layer that Bidirectional makes of a copy for the other direction."""
    backwards = entry.flag("go_backwards")
    return entry if backwards is None else replace(entry, config={**entry.config, "go_backwards": not backwards})


def _around_cell(entry: Entry, *, first: bool, last: bool) -> Entry:
    """The RNN around one cell of a stack: each cell reads the steps that the one below gives, in that order."""
    said = dict(entry.config)
    if not last:
        said |= {"return_sequences": True, "return_state": False}
    if not first and "go_backwards" in said:
        said["go_backwards"] = False
    return replace(entry, config=said)


def _are_a_pair(one: Unit, two: Unit) -> bool:
    """Whether two layers are the two directions of one: alike in everything but the direction."""
    directions = one.settings.get("direction", "forward"), two.settings.get("direction", "backwards")
    sizes = [unit.entry.config.get("units") for unit in (one, two)]
    return (
        one.kind in RECURRENT_KINDS
        and one.kind == two.kind
        and directions == ("forward", "backwards")
        and sizes[0] == sizes[1]
        and len(one.owners[0].variables) == len(two.owners[0].variables)
        and {**one.settings, "direction": ""} == {**two.settings, "direction": ""}
    )


def _pair(name: str, one: Unit, two: Unit, merged: Mapping[str, Setting]) -> Unit:
    owners = (
        replace(one.owners[0], prefix="forward_layer/"),
        replace(two.owners[0], prefix="backward_layer/"),
    )
    settings = {**one.settings, "direction": "bidirectional", **merged}
    return replace(one, name=name, owners=owners, settings=settings)


def _apart(one: Sequence[Unit], two: Sequence[Unit], merged: Mapping[str, Setting]) -> Iterator[Unit]:
    """The two directions of what is no pair, each as layers of its own."""
    how = merged.get("merge_mode", "an unknown way")
    for units, part in ((one, "forward"), (two, "backward")):
        for index, unit in enumerate(units):
            notes = [f"is in the {part} half of a Bidirectional, whose halves are merged by {how}"]
            settings = dict(unit.settings)
            if part == "backward" and index == len(units) - 1:
                if len(units) == 1 and settings.get("direction") == "backwards":
                    settings["direction"] = "reverse"
                elif settings.get("return_sequences"):
                    notes.append("its output is turned to the input's order")
            yield replace(unit, settings=settings, notes=(*unit.notes, *notes)) if unit.kind else unit

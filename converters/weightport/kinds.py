"""Kinds of layer, read from ``layouts/kinds.toml``: roles, their axes, and what folds into what."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .checkpoint import Setting
from .errors import LayoutError

COUNTED = "counted"
KINDS_FILE = "kinds.toml"
_ROLE_KEYS = frozenset({"axes", "absent", "sums", "apart", "incidental", "only", "optional", "frees"})
Label = str | int


@dataclass(frozen=True)
class Apart:
    """Places of a labelled axis whose parts do not sum, and the settings under which that is so."""

    axis: str
    labels: frozenset[Label]
    when: Mapping[str, Setting]


@dataclass(frozen=True)
class Role:
    """A parameter of a kind: its axes, and what a layer that does not have it computes with.

    ``only`` has the labels of an axis that the parameter has, where it does not have all of them. ``optional``: a
    layer may be without it, though no value stands for its absence. ``frees`` names a sized axis that need not equal
    its partner (see :attr:`Kind.equal`) in a layer that has this parameter.
    """

    name: str
    axes: tuple[str, ...]
    absent: float | None = None
    sums: str | None = None
    apart: Apart | None = None
    incidental: bool = False
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    optional: bool = False
    frees: str | None = None

    @property
    def needed(self) -> bool:
        """Whether every layer of the kind has it."""
        return self.absent is None and not self.optional


@dataclass(frozen=True)
class Kind:
    """A kind of layer as mathematics.

    ``equal`` has pairs of sized axes that must agree; ``stacked`` the axes whose size, in every stacked layer after
    the first, is the product of others (what a layer takes in is what the layer below gives out); ``broadcast`` has
    sized axes of which one element stands for all places, and is as none at all; ``flattened`` the axes that may run
    over a feature map, places and channels in one.
    """

    name: str
    labels: Mapping[str, tuple[str, ...]]
    counted: frozenset[str]
    equal: Mapping[str, str]
    stacked: Mapping[str, tuple[str, ...]]
    broadcast: tuple[str, ...]
    roles: Mapping[str, Role]
    settings: Mapping[str, Setting]
    flattened: tuple[str, ...] = ()

    def is_labelled(self, axis: str) -> bool:
        """Whether the axis has named places rather than a size."""
        return axis in self.labels or axis in self.counted

    def labelled_axes(self, role: str) -> tuple[str, ...]:
        """The labelled axes of a role, in the role's order; a place on them is one block of the parameter."""
        return tuple(axis for axis in self.roles[role].axes if self.is_labelled(axis))

    def labels_of(self, role: str, axis: str) -> tuple[str, ...]:
        """The labels that a role has along a labelled axis, in the kind's order."""
        return self.roles[role].only.get(axis, self.labels[axis])


def layouts_folder() -> Path:
    """Where the layout files are: inside the installed package, or at the top of a checkout."""
    installed = Path(__file__).parent / "layouts"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "layouts"


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary. Raises LayoutError naming the file and the line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LayoutError(f"{path.name}: {error}") from error


class Table:
    """A TOML table that knows where it stands, so that every mistake in it can be named."""

    def __init__(self, where: str, values: object, allowed: frozenset[str] | None = None) -> None:
        if not isinstance(values, dict):
            raise LayoutError(f"{where}: must be a table, found {values!r}")
        self.where = where
        self.values = values
        unknown = sorted(set(values) - allowed) if allowed is not None else []
        if unknown:
            raise LayoutError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(sorted(allowed or ()))}")

    def fail(self, key: str, message: str) -> LayoutError:
        """The error for a mistake at a key."""
        return LayoutError(f"{self.where} {key}: {message}")

    def table(self, key: str, allowed: frozenset[str] | None = None) -> Table:
        """The sub-table at a key; an empty one where it is missing."""
        return Table(f"{self.where} {key}", self.values.get(key, {}), allowed)

    def names(self, key: str) -> tuple[str, ...]:
        """A list of distinct names."""
        names = self.values.get(key, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise self.fail(key, f"must be a list of names, found {names!r}")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise self.fail(key, f"{twice[0]!r} stands twice")
        return tuple(names)

    def text(self, key: str) -> str:
        """A text; the key must be there."""
        value = self.values.get(key)
        if not isinstance(value, str):
            raise self.fail(key, f"must be a text, found {value!r}")
        return value


@cache
def all_kinds() -> Mapping[str, Kind]:
    """Every kind by its name."""
    return load_kinds(layouts_folder() / KINDS_FILE)


def load_kinds(path: Path) -> Mapping[str, Kind]:
    """Read and validate a file of kinds. Raises LayoutError naming file, table and key."""
    kinds = {name: _kind(name, Table(f"{path.name} [{name}]", values)) for name, values in read_toml(path).items()}
    return MappingProxyType(kinds)


def _kind(name: str, table: Table) -> Kind:
    known = ("labels", "equal", "stacked", "broadcast", "flattened", "roles", "settings")
    Table(table.where, table.values, frozenset(known))
    labels_table = table.table("labels")
    counted = frozenset(axis for axis, value in labels_table.values.items() if value == COUNTED)
    labels = {axis: labels_table.names(axis) for axis in labels_table.values if axis not in counted}
    roles = table.table("roles")
    if not roles.values:
        raise table.fail("roles", "a kind needs at least one role")
    kind = Kind(
        name=name,
        labels=MappingProxyType(labels),
        counted=counted,
        equal=MappingProxyType({axis: table.table("equal").text(axis) for axis in table.table("equal").values}),
        stacked=MappingProxyType({axis: table.table("stacked").names(axis) for axis in table.table("stacked").values}),
        broadcast=table.names("broadcast"),
        roles=MappingProxyType({role: _role(role, roles, labels, counted) for role in roles.values}),
        settings=MappingProxyType(dict(table.table("settings").values)),
        flattened=table.names("flattened"),
    )
    _check_equal(kind, table)
    return kind


def _role(name: str, roles: Table, labels: Mapping[str, tuple[str, ...]], counted: frozenset[str]) -> Role:
    table = roles.table(name, _ROLE_KEYS)
    axes = table.names("axes")
    sums = table.values.get("sums")
    if sums is not None and (sums not in axes or sums not in labels):
        raise table.fail("sums", f"{sums!r} is no labelled axis of this role")
    absent = table.values.get("absent")
    if absent is not None and not isinstance(absent, int | float):
        raise table.fail("absent", f"must be a number, found {absent!r}")
    apart = _apart(table, axes, labels, counted) if "apart" in table.values else None
    return Role(
        name=name,
        axes=axes,
        absent=absent,
        sums=sums,
        apart=apart,
        incidental=bool(table.values.get("incidental", False)),
        only=_only(table, axes, labels),
        optional=bool(table.values.get("optional", False)),
        frees=table.text("frees") if "frees" in table.values else None,
    )


def _only(table: Table, axes: tuple[str, ...], labels: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    only = table.table("only", frozenset(axes) & frozenset(labels))
    for axis in only.values:
        unknown = sorted(set(only.names(axis)) - set(labels[axis]))
        if unknown:
            raise only.fail(axis, f"no label {unknown[0]!r}; it has {', '.join(labels[axis])}")
    return MappingProxyType({axis: only.names(axis) for axis in only.values})


def _apart(
    table: Table, axes: tuple[str, ...], labels: Mapping[str, tuple[str, ...]], counted: frozenset[str]
) -> Apart:
    apart = table.table("apart")
    places = [axis for axis in apart.values if axis != "when"]
    if len(places) != 1 or places[0] not in axes or places[0] in counted:
        raise apart.fail("", f"must name one labelled axis of this role, found {places}")
    chosen = apart.names(places[0])
    unknown = sorted(set(chosen) - set(labels.get(places[0], ())))
    if unknown:
        raise apart.fail(places[0], f"no label {unknown[0]!r}")
    return Apart(places[0], frozenset(chosen), MappingProxyType(dict(apart.table("when").values)))


def _check_equal(kind: Kind, table: Table) -> None:
    axes = {axis for role in kind.roles.values() for axis in role.axes}
    sized = {axis for axis in axes if not kind.is_labelled(axis)}
    freed = {role.frees for role in kind.roles.values()} - {None}
    for key, named in (
        ("equal", {*kind.equal, *kind.equal.values()}),
        ("stacked", set(kind.stacked)),
        ("flattened", set(kind.flattened)),
        ("broadcast", set(kind.broadcast)),
        ("frees", freed),
    ):
        for axis in named:
            if axis not in sized:
                raise table.fail(key, f"{axis!r} is no sized axis of this kind")
    for axis, factors in kind.stacked.items():
        for factor in factors:
            if factor not in axes:
                raise table.fail("stacked", f"{axis!r} is made of {factor!r}, which is no axis of this kind")

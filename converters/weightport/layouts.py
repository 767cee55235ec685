"""Layouts: how one framework stores one kind of layer. Immutable values; ``layout_file`` reads and checks them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .checkpoint import Setting
from .errors import UsageError
from .kinds import KINDS_FILE, Kind, Label, layouts_folder
from .notation import Dimensions

ONLY = "only"
PLACEHOLDER = re.compile(r"{([a-z_ ]+)}")


@dataclass(frozen=True)
class PartLayout:
    """One role's share of a tensor: its dimensions, and the places that it does not have axes for.

    ``fixed`` gives the place on axes that the part has one place of; ``partial`` the labels, in order, on axes that
    it has some labels of; ``first`` the first index on counted axes that it has from there on. ``memory``, where it
    is not empty, are the axes that each block's elements have when they are read row by row. ``turned`` are the axes
    that are stored from their end to their start.
    """

    role: str
    axes: str
    dimensions: Dimensions
    fixed: Mapping[str, Label]
    partial: Mapping[str, tuple[str, ...]]
    first: Mapping[str, int]
    memory: tuple[str, ...] = ()
    turned: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """Parts that follow one another in a tensor, once for every combination of places on the axes of ``each``."""

    each: tuple[str, ...]
    parts: tuple[PartLayout, ...]


@dataclass(frozen=True)
class TensorLayout:
    """One tensor (or family of tensors) of a layout: one part, or several that follow one another ``along`` a
    dimension.

    ``name`` may hold placeholders: ``{axis}``, or ``{axis axis}`` for the number of a place on several axes,
    counted in row-major order. ``spellings`` are this tensor's own words for labels in its name. ``when`` has the
    settings under which the tensor is stored this way; an ``optional`` one may be absent while its role's others are
    there. ``collection`` is the tree that it is in, where that is not the framework's usual one.
    """

    name: str
    runs: tuple[Run, ...]
    along: int
    spellings: Mapping[str, Mapping[str, str]]
    when: Mapping[str, Setting]
    dtype: str | None = None
    optional: bool = False
    collection: str = ""

    @cached_property
    def parts(self) -> tuple[PartLayout, ...]:
        """Every part, in the order in which it first stands."""
        return tuple(part for run in self.runs for part in run.parts)

    @cached_property
    def roles(self) -> frozenset[str]:
        """The roles that it stores, or parts of them."""
        return frozenset(part.role for part in self.parts)

    @cached_property
    def placeholders(self) -> tuple[tuple[str, ...], ...]:
        """The axes of each placeholder of the name."""
        return tuple(tuple(text.split()) for text in PLACEHOLDER.findall(self.name))

    @cached_property
    def spelled_axes(self) -> tuple[str, ...]:
        """The axes that are spelled inside the name."""
        return tuple(axis for axes in self.placeholders for axis in axes)

    @property
    def axes(self) -> str:
        """The axes of all parts, as text."""
        return " + ".join(dict.fromkeys(part.axes for part in self.parts))


@dataclass(frozen=True)
class Naming:
    """How a framework's checkpoints name tensors: the names of modules, outermost first, and the tensor's own.

    ``separator`` stands between them, ``collection`` before them all: a tree that holds one kind of tensor. ``skipped``
    has what is saved beside the weights, by its outermost name.
    """

    separator: str = "."
    collection: str = ""
    skipped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """How one framework stores one kind.

    ``table`` is its name within the framework (the kind's, or another where the framework stores the kind in several
    ways). ``orders`` has the order of each labelled axis that lives inside tensors, ``spellings`` the text of each
    label in names. ``settings`` are the values the framework can express (a setting that is not there is free),
    ``lacks`` values that it cannot, ``ties`` settings that it has one value for; ``equal`` sized axes that
    are the product of others in it; ``spread`` the setting that is the first share of an axis which stands in several
    dimensions; ``storage`` the values of settings that change the storage only. Mathematics = sign x stored + added
    constant.
    ``modules`` are the names that the framework itself gives to such layers, a number after them aside.
    ``channels`` says where the channels of a feature map stand when the framework flattens it: ``first`` or ``last``.
    ``verified`` says how the layout is known: ``recorded`` from the running framework or read in its ``source``.
    """

    framework: str
    table: str
    kind: Kind
    orders: Mapping[str, tuple[str, ...]]
    spellings: Mapping[str, Mapping[str, str]]
    tensors: tuple[TensorLayout, ...]
    settings: Mapping[str, tuple[Setting, ...]]
    lacks: Mapping[str, tuple[Setting, ...]]
    ties: Mapping[str, str]
    equal: Mapping[str, tuple[str, ...]]
    spread: Mapping[str, str]
    storage: Mapping[str, tuple[Setting, ...]]
    adds: Mapping[str, Mapping[str, float]]
    negates: frozenset[str]
    where: str
    title: str = ""
    verified: str = ""
    source: str = ""
    channels: str = ""
    modules: tuple[str, ...] = ()
    naming: Naming = Naming()

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def name(self) -> str:
        """``framework.table``."""
        return f"{self.framework}.{self.table}"

    def order(self, part: PartLayout, axis: str) -> tuple[str, ...]:
        """The labels of an axis in the order in which this part stores them."""
        return part.partial.get(axis) or self.default_order(part.role, axis)

    def default_order(self, role: str, axis: str) -> tuple[str, ...]:
        """The layout's order of a role's labels on an axis."""
        own = self.kind.labels_of(role, axis)
        return tuple(label for label in self.orders.get(axis, own) if label in own)

    def words(self, tensor: TensorLayout, axis: str) -> Mapping[str, str]:
        """How the labels of an axis are written inside a tensor's name."""
        return tensor.spellings.get(axis) or self.spellings.get(axis, {})

    def tensor_name(self, tensor: TensorLayout, places: Mapping[str, Label], counts: Mapping[str, int]) -> str:
        """The name of one tensor of a family at these places."""
        return PLACEHOLDER.sub(lambda match: self._spelled(tensor, match[1].split(), places, counts), tensor.name)

    def forced_settings(self) -> dict[str, Setting]:
        """The settings for which this framework can express one value only."""
        return {name: values[0] for name, values in self.settings.items() if len(values) == 1}

    def to_json(self) -> dict[str, Any]:
        """The layout as JSON data."""
        return {
            "layout": self.name,
            "framework": self.framework,
            "title": self.title,
            "kind": self.kind.name,
            "orders": {axis: list(order) for axis, order in self.orders.items()},
            "tensors": [_tensor_json(tensor) for tensor in self.tensors],
            "settings": {name: list(values) for name, values in self.settings.items()},
            "lacks": {name: list(values) for name, values in self.lacks.items()},
            "adds": {role: dict(constants) for role, constants in self.adds.items()},
            "negates": sorted(self.negates),
            "verified": self.verified,
            "source": self.source,
        }

    def adding_roles(self) -> tuple[str, ...]:
        """The roles to which the framework adds a constant when it runs, so that a layer always has them."""
        return tuple(self.adds)

    def _spelled(
        self, tensor: TensorLayout, axes: list[str], places: Mapping[str, Label], counts: Mapping[str, int]
    ) -> str:
        if len(axes) > 1:
            return str(self._number(axes, places, counts))
        label, words = places[axes[0]], self.words(tensor, axes[0])
        if ONLY in words and counts.get(axes[0]) == 1:
            return words[ONLY]
        return words.get(str(label), str(label))

    def _number(self, axes: list[str], places: Mapping[str, Label], counts: Mapping[str, int]) -> int:
        number = 0
        for axis in axes:
            index = places[axis] if axis in self.kind.counted else self.kind.labels[axis].index(str(places[axis]))
            number = number * counts[axis] + int(index)
        return number


def _tensor_json(tensor: TensorLayout) -> dict[str, Any]:
    parts = [
        {
            "role": part.role,
            "axes": part.axes,
            "fixed": dict(part.fixed),
            "only": {axis: list(labels) for axis, labels in part.partial.items()},
        }
        for part in tensor.parts
    ]
    return {"name": tensor.name, "parts": parts, "when": dict(tensor.when)}


def framework_files() -> Mapping[str, Path]:
    """The layout file of every framework, in the order of their names."""
    return {path.stem: path for path in sorted(layouts_folder().glob("*.toml")) if path.name != KINDS_FILE}


def naming_of(framework: str) -> Naming:
    """How the checkpoints of a framework name tensors."""
    return next((layout.naming for layout in layouts_of(framework).values()), Naming())


@cache
def layouts_of(framework: str) -> Mapping[str, Layout]:
    """The layouts of one framework by their names; none where it has no file. Reads that framework's file alone."""
    from .layout_file import load_layouts

    path = framework_files().get(framework)
    return load_layouts(path) if path else MappingProxyType({})


def all_layouts() -> Mapping[str, Layout]:
    """Every layout by its name, ``framework.table``, in the order of the frameworks' files."""
    every = {name: layout for framework in framework_files() for name, layout in layouts_of(framework).items()}
    return MappingProxyType(every)


def layout_named(name: str) -> Layout:
    """The layout called ``framework.table``. Raises UsageError, listing what there is, where there is none."""
    layouts = layouts_of(name.split(".", maxsplit=1)[0])
    if name not in layouts:
        raise UsageError(f"no layout {name!r}; known are {', '.join(layouts or framework_files())}")
    return layouts[name]

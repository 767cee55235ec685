"""Layers out of nothing but names and shapes, for any framework that has a layout file.

A layer is a group of tensors that one layout explains whole: every name is one of the layout's below one module, every
tensor that the layout needs is there, and the shapes agree. Where a larger group and a smaller one claim a tensor, the
larger one is the layer: the four dense layers inside a cell are its gates.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeAlias

from ..checkpoint import Layer, Setting
from ..errors import LayoutError, UnknownSizeError
from ..families import tensors_named
from ..layouts import Layout, layouts_of, naming_of
from ..notation import SPATIAL, is_of_any_rank, spatial_count
from ..views import view_of

Path: TypeAlias = tuple[str, ...]

_NUMBERED = re.compile(r"_?\d+$")
_MOST_PARTS = 6
"""Names of modules that a layout's own name of a tensor may have inside."""


@dataclass(frozen=True)
class Group:
    """Tensors below the module ``path`` that may be one layer of a layout: their names there, and in the checkpoint.
    ``settings`` are those that the tensors alone force."""

    layout: Layout
    path: Path
    tensors: Mapping[str, str]
    settings: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def members(self) -> frozenset[str]:
        """The checkpoint's names."""
        return frozenset(self.tensors.values())

    @property
    def is_called_so(self) -> bool:
        """Whether the module has the name that the framework gives to such layers itself."""
        return bool(self.path) and _NUMBERED.sub("", self.path[-1]) in self.layout.modules

    @property
    def is_usual(self) -> bool:
        """Whether the layout is the framework's own of the kind."""
        return self.layout.table == self.layout.kind.name


def layers_of(
    framework: str, paths: Mapping[str, Path], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[tuple[Layer, ...], dict[str, str]]:
    """The layers, in the order of their first tensors, and the tensors that are in none with the reasons.

    ``paths`` has the names of modules and of the tensor in them, outermost first, by the checkpoint's name."""
    layers: dict[str, Layer] = {}
    unknown: dict[str, str] = {}
    for members, groups in _claims(framework, paths, shapes):
        found = _layer(groups)
        if isinstance(found, Layer):
            layers.update(dict.fromkeys(members, found))
        else:
            unknown.update(dict.fromkeys(members, found))
    for name, path in paths.items():
        if name not in layers and name not in unknown:
            module, shape = ".".join(path[:-1]) or "the root", list(shapes[name])
            unknown[name] = f"{module}: {framework} has no layer with a {path[-1]!r} {shape} and what is beside it"
    ordered = {layers[name].name: layers[name] for name in paths if name in layers}
    return tuple(ordered.values()), unknown


def _claims(
    framework: str, paths: Mapping[str, Path], shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[frozenset[str], list[Group]]]:
    """Sets of tensors that are a layer, with all that each of them may be; no two sets share a tensor."""
    alike: dict[frozenset[str], list[Group]] = {}
    for group in _groups(framework, paths):
        settings = _fitting(group.layout, tuple((local, shapes[name]) for local, name in group.tensors.items()))
        if settings is not None:
            alike.setdefault(group.members, []).append(replace(group, settings=settings))
    taken: set[str] = set()
    for members in sorted(alike, key=lambda members: -len(members)):
        if not members & taken:
            taken |= members
            yield members, alike[members]


def _groups(framework: str, paths: Mapping[str, Path]) -> Iterator[Group]:
    """Every set of tensors below one module whose names are those of one layout.

    A layout whose tensors are in modules of their own has all that is below the layer's module, or nothing."""
    below = Counter(path[:depth] for path in paths.values() for depth in range(len(path)))
    separator = naming_of(framework).separator
    found: dict[tuple[str, Path], dict[str, str]] = {}
    for name, path in paths.items():
        for parts in range(1, min(len(path), _MOST_PARTS) + 1):
            local = separator.join(path[-parts:])
            for table in _tables_with(framework, local):
                found.setdefault((table, path[:-parts]), {})[local] = name
    for (table, path), tensors in found.items():
        layout = layouts_of(framework)[table]
        if all(separator not in local for local in tensors) or below[path] == len(tensors):
            yield Group(layout, path, tensors)


@lru_cache(maxsize=4096)
def _tables_with(framework: str, local: str) -> tuple[str, ...]:
    """The layouts that have a tensor of that name."""
    return tuple(layout.name for layout in layouts_of(framework).values() if tensors_named(layout, local))


@lru_cache(maxsize=4096)
def _fitting(layout: Layout, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> Mapping[str, Setting] | None:
    """The settings under which the layout explains tensors of these names and shapes, None where it does not. Layers
    repeat themselves: what follows from equal ones is worked out once."""
    return next((settings for settings in _forms(layout) if _fits(layout, dict(shapes), settings)), None)


def _forms(layout: Layout) -> Iterator[dict[str, Setting]]:
    """Settings under which the layout has other tensors, as any of which a group may be complete; none at first."""
    yield {}
    for name in dict.fromkeys(name for tensor in layout.tensors for name in tensor.when):
        yield from ({name: value} for value in layout.settings.get(name, ()))


def _fits(layout: Layout, shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Setting]) -> bool:
    """Whether the layout explains these tensors; a size that only the other side of a conversion tells may be open.

    What moves over no axis of space is no convolution, and all of its tensors have the same ones."""
    try:
        view_of(layout, shapes, settings)
    except UnknownSizeError:
        return True
    except LayoutError:
        return False
    counts = {
        spatial_count(tensor.parts[0].dimensions, len(shape))
        for local, shape in shapes.items()
        for tensor in tensors_named(layout, local)
        if is_of_any_rank(tensor.parts[0].dimensions)
    }
    return SPATIAL in layout.kind.broadcast or (len(counts) < 2 and 0 not in counts)


def _layer(groups: Sequence[Group]) -> Layer | str:
    """The layer that a set of tensors is: of several kinds where neither names nor shapes tell, or why it is none.

    The outermost module decides: that one of its own is called ``linear`` does not tell a dense layer from a cell."""
    outermost = min(len(group.path) for group in groups)
    outer = [group for group in groups if len(group.path) == outermost]
    told = [group for group in outer if group.is_called_so]
    if not told:
        told = outer if len({group.layout.kind.name for group in groups}) == 1 else list(groups)
    first = told[0]
    if len(told) == 1:
        return _named(first, (first.layout.kind.name,), "" if first.is_usual else first.layout.name)
    if all(group.path == first.path and group.is_usual for group in told):
        return _named(first, tuple(group.layout.kind.name for group in told), "")
    listed = " or ".join(sorted(f"a {group.layout.table} {'.'.join(group.path)!r}" for group in told))
    return f"can be {listed}; nothing tells which"


def _named(group: Group, kinds: tuple[str, ...], layout: str) -> Layer:
    return Layer(".".join(group.path), kinds, group.tensors, group.settings, layout=layout)

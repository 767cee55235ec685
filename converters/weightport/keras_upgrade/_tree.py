"""Where Keras 3 keeps each weight of a model: the paths of its tree of objects, worked out from the config alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..checkpoint import Layer
from ..errors import RefusedError
from ..frameworks._keras_classes import Writer
from ..frameworks._keras_config import Entry
from ..frameworks._keras_objects import counted_places
from ..frameworks._keras_units import Unit, Walk

KERAS_3 = Writer(3)


@dataclass(frozen=True)
class Tree:
    """``groups`` has every object that holds weights with its layer's name, ``tensors`` the name of each tensor in the
    file by the layer's name and the tensor's name in the layout."""

    groups: Mapping[str, str]
    tensors: Mapping[tuple[str, str], str]


def tree_of(root: Entry, layers: tuple[Layer, ...]) -> Tree:
    """The tree of a model with this Keras 3 config, for the layers that the older file has.

    Raises RefusedError where the two do not have the same layers: a layer would get no weights, or another's."""
    units = {unit.name: unit for unit in _units(root)}
    names = [layer.name for layer in layers]
    problems = [f"{name}: the upgraded model has no place for its weights" for name in names if name not in units]
    problems += [f"{name}: two layers of the model have this name" for name in _twice(root)]
    if problems:
        raise RefusedError("the model cannot be upgraded", problems)
    groups, tensors = {}, {}
    for name in names:
        for owner in units[name].owners:
            groups[owner.path] = units[name].entry.name
            for number, variable in enumerate(owner.variables):
                tensors[name, owner.prefix + variable.name] = f"{owner.path}/vars/{number}"
    return Tree(groups, tensors)


def _units(root: Entry) -> Iterator[Unit]:
    for unit in Walk(KERAS_3, counted_places).units(root, ""):
        if unit.kind:
            yield unit


def _twice(root: Entry) -> list[str]:
    names = [unit.name for unit in _units(root)]
    return sorted({name for name in names if names.count(name) > 1})

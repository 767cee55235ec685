"""Where Keras 3 keeps each weight of a model: the paths of its tree of objects, worked out from the config alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..checkpoint import Layer
from ..errors import RefusedError
from ..frameworks._keras_classes import Writer
from ..frameworks._keras_config import Entry
from ..frameworks._keras_objects import counted_places
from ..frameworks._keras_parts import taken_apart
from ..frameworks._keras_units import Unit, Walk

KERAS_3 = Writer(3)


@dataclass(frozen=True)
class Tree:
    """``groups`` has every object that holds weights with its layer's name, ``tensors`` the name of each tensor in the
    file by the layer's name and the tensor's name in the layout, ``layouts`` the layout of each layer where it is not
    the usual one of its kind."""

    groups: Mapping[str, str]
    tensors: Mapping[tuple[str, str], str]
    layouts: Mapping[str, str]


def tree_of(root: Entry, layers: tuple[Layer, ...]) -> Tree:
    """The tree of a model with this Keras 3 config, for the layers that the older file has.

    Raises RefusedError where the two do not have the same layers: a layer would get no weights, or another's."""
    units = [unit for unit in Walk(KERAS_3, counted_places).units(root, "") if unit.kind]
    placed = [layer for unit in units for layer in _layers(unit)]
    names = [layer.name for layer in placed]
    problems = [
        f"{layer.name}: the upgraded model has no place for its weights" for layer in layers if layer.name not in names
    ]
    problems += [f"{name}: two layers of the model have this name" for name in sorted(_twice(names))]
    if problems:
        raise RefusedError("the model cannot be upgraded", problems)
    groups = {owner.path: unit.entry.name for unit in units for owner in unit.owners}
    tensors = {(layer.name, local): name for layer in placed for local, name in layer.tensors.items()}
    return Tree(groups, tensors, {layer.name: layer.layout for layer in placed if layer.layout})


def _layers(unit: Unit) -> Iterator[Layer]:
    """The layers that a unit is, with the tensors where Keras 3 keeps them."""
    tensors = {
        owner.prefix + variable.name: f"{owner.path}/vars/{number}"
        for owner in unit.owners
        for number, variable in enumerate(owner.variables)
    }
    yield from taken_apart(Layer(unit.name, (str(unit.kind),), tensors, layout=unit.layout), unit.entry.class_name)


def _twice(names: Sequence[str]) -> set[str]:
    return {name for name in names if names.count(name) > 1}

"""Layers in a tree of objects whose config does not list them: subclassed models, files of weights only.

A container's group is named after the class of its member; so is a layer that the user gave no name. Where neither
tells, a layer is recognised only where its tensors can be nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ._keras_classes import ATTENTION_GROUPS, CLASS_OF_SNAKE, KIND_OF_CLASS, with_variables
from ._keras_config import Entry, entry_of, joined, stem
from ._keras_tree import Tree
from ._keras_units import Unit, Walk

_CLASS_OF_ROWS = {4: "LSTM", 3: "GRU", 1: "SimpleRNN"}
_AROUND_A_LAYER = {"time_distributed": "TimeDistributed", "spectral_normalization": "SpectralNormalization"}
_DIRECTIONS = ("forward_layer", "backward_layer")


@dataclass(frozen=True)
class Unknown:
    """Tensors of one object that no kind covers, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class _Guess:
    """What an object is taken for; ``sure`` where its class' name is in the file."""

    raw: dict[str, Any]
    sure: bool


def guessed_units(tree: Tree, walk: Walk, path: str, name: str) -> Iterator[Unit | Unknown]:
    """The layers at and below a path, under that name."""
    guess = _object(tree, path) if path else None
    entry = entry_of(guess.raw) if isinstance(guess, _Guess) else None
    if isinstance(guess, _Guess) and entry is not None:
        yield from _units(walk, entry, name, path, sure=guess.sure)
        return
    if isinstance(guess, str) and path not in tree.tensors:
        yield from (Unknown(below, guess) for below in tree.below(path))
        return
    if path in tree.tensors:
        yield Unknown(path, guess if isinstance(guess, str) else "these are variables of the model itself")
    for child in tree.children(path):
        yield from guessed_units(tree, walk, child, _child_name(tree, child, name))


def _units(walk: Walk, entry: Entry, name: str, path: str, *, sure: bool) -> Iterator[Unit]:
    for unit in walk.units(entry, name, path):
        note = f"is taken for {unit.kind} by the shapes of its tensors: the file does not name its class"
        yield unit if sure else replace(unit, notes=(*unit.notes, note))


def _child_name(tree: Tree, path: str, name: str) -> str:
    """The dotted name of an object: the user's names of what it is in, or attributes where the file has no names."""
    parent, _, own = path.rpartition("/")
    if own == "layer" and stem(parent.rpartition("/")[2]) in _AROUND_A_LAYER:
        return name
    if path in tree.objects:
        return joined(name, tree.objects[path] or own)
    has_names = any(tree.objects.values())
    return name if has_names or own == "layers" else joined(name, own)


def _object(tree: Tree, path: str) -> _Guess | str | None:
    """What the object at a path is taken for, the reason why it is no kind, or None where it is only a parent."""
    parts = {child.rpartition("/")[2] for child in tree.children(path)}
    wrapper = _AROUND_A_LAYER.get(stem(path.rpartition("/")[2]))
    if parts == {"layer"} and wrapper:
        return _wrapped(wrapper, {"layer": _object(tree, f"{path}/layer")})
    if path in tree.tensors:
        return _plain(tree, path) if not parts else "an object with variables and layers of its own has no kind"
    if parts == set(_DIRECTIONS):
        return _two_directions(tree, path)
    if parts == {"cell"}:
        return _cell_holder(tree, path)
    class_name = _attention_class(parts)
    if class_name:
        return _attention(tree, path, class_name)
    return None


def _attention_class(parts: set[str]) -> str | None:
    """The class of an attention whose dense layers are called so: no other layer has parts of these names."""
    for class_name, groups in ATTENTION_GROUPS.items():
        needed = set(groups.values()) - {groups["gate"]}
        if needed <= parts <= {*needed, groups["gate"]}:
            return class_name
    return None


def _attention(tree: Tree, path: str, class_name: str) -> _Guess:
    groups = ATTENTION_GROUPS[class_name]
    has_bias = len(tree.shapes_of(f"{path}/{groups['query']}")) == 2
    has_gate = f"{path}/{groups['gate']}" in tree.tensors
    return _Guess({"class_name": class_name, "config": {"use_bias": has_bias, "use_gate": has_gate}}, sure=True)


def _two_directions(tree: Tree, path: str) -> _Guess | None:
    forward, backward = (_object(tree, f"{path}/{part}") for part in _DIRECTIONS)
    return _wrapped("Bidirectional", {"layer": forward, "backward_layer": backward})


def _wrapped(class_name: str, inner: Mapping[str, _Guess | str | None]) -> _Guess | None:
    guesses = {key: guess for key, guess in inner.items() if isinstance(guess, _Guess)}
    if len(guesses) < len(inner):
        return None
    config = {key: guess.raw for key, guess in guesses.items()}
    return _Guess({"class_name": class_name, "config": config}, all(guess.sure for guess in guesses.values()))


def _cell_holder(tree: Tree, path: str) -> _Guess | str | None:
    """An RNN layer: something with a cell, or with a stack of cells, and nothing else."""
    cell = f"{path}/cell"
    if cell not in tree.tensors:
        cells = tree.children(f"{cell}/cells")
        guesses = [_cell(tree, path) for path in cells]
        if not cells or not all(isinstance(guess, _Guess) for guess in guesses):
            return None
        found = [_renamed(guess, f"{guess.raw['class_name']}Cell") for guess in guesses if isinstance(guess, _Guess)]
        stack = {"class_name": "StackedRNNCells", "config": {"cells": [guess.raw for guess in found]}}
        return _Guess({"class_name": "RNN", "config": {"cell": stack}}, all(guess.sure for guess in found))
    class_name = _class(tree, path)
    if KIND_OF_CLASS.get(class_name) == "conv_lstm":
        return _of_class(tree, cell, class_name)
    guess = _cell(tree, cell)
    if isinstance(guess, _Guess) and class_name in KIND_OF_CLASS:
        same = KIND_OF_CLASS[class_name] == KIND_OF_CLASS[guess.raw["class_name"]]
        return replace(guess, sure=True) if same else f"its tensors are not those of a {class_name}"
    return guess


def _cell(tree: Tree, path: str) -> _Guess | str:
    """The layer whose cell has tensors of these shapes: (in, n u), (u, n u) and, with a bias, (n u) or (2, n u)."""
    shapes = tree.shapes_of(path)
    rows = _rows(shapes)
    class_name = _CLASS_OF_ROWS.get(rows)
    if class_name is None:
        return f"no kind of recurrent layer has tensors of the shapes {_listed(shapes)}"
    raw = {"class_name": class_name, "config": {"use_bias": len(shapes) == 3, "name": _name(tree, path)}}
    return _Guess(raw, sure=_class(tree, path) == f"{class_name}Cell")


def _rows(shapes: list[tuple[int, ...]]) -> int:
    """How many blocks of gates a cell's tensors have, 0 where they are no cell's."""
    if len(shapes) not in (2, 3) or any(len(shape) != 2 for shape in shapes[:2]):
        return 0
    kernel, recurrent = shapes[:2]
    units = recurrent[0]
    rows, rest = divmod(recurrent[1], units) if units else (0, 1)
    biases = [(rows * units,), *([(2, rows * units)] if rows == 3 else [])]
    fits = not rest and kernel[1] == recurrent[1] and (len(shapes) == 2 or shapes[2] in biases)
    return rows if fits else 0


def _plain(tree: Tree, path: str) -> _Guess | str:
    """A layer that has all its tensors itself."""
    class_name, shapes = _class(tree, path), tree.shapes_of(path)
    if class_name in KIND_OF_CLASS:
        return _of_class(tree, path, class_name)
    if class_name:
        return f"{class_name} has no kind yet"
    if path.endswith("/cell"):
        guess = _cell(tree, path)
        return guess if isinstance(guess, str) else _renamed(guess, f"{guess.raw['class_name']}Cell")
    if len(shapes) == 2 and len(shapes[0]) == 2 and shapes[1] == shapes[0][1:]:
        return _Guess({"class_name": "Dense"}, sure=False)
    if len(shapes) == 4 and len(set(shapes)) == 1 and len(shapes[0]) == 1:
        return _Guess({"class_name": "BatchNormalization"}, sure=False)
    return f"the file names no class, and tensors of the shapes {_listed(shapes)} can be of several"


def _renamed(guess: _Guess, class_name: str) -> _Guess:
    return replace(guess, raw={**guess.raw, "class_name": class_name})


def _of_class(tree: Tree, path: str, class_name: str) -> _Guess | str:
    found = with_variables(Entry(class_name, ""), tree.shapes_of(path))
    if isinstance(found, str):
        return f"the {class_name} {found}"
    return _Guess({"class_name": class_name, "config": dict(found.config)}, sure=True)


def _class(tree: Tree, path: str) -> str:
    """The class that the file names for an object: that of a container's member, or of a layer with a default name.

    Empty where it names none; the name itself where it is no class that is known."""
    own = stem(path.rpartition("/")[2])
    if tree.is_in_container(path):
        return CLASS_OF_SNAKE.get(own, own)
    return CLASS_OF_SNAKE.get(stem(tree.objects.get(path) or ""), "")


def _name(tree: Tree, path: str) -> str:
    return tree.objects.get(path) or path.rpartition("/")[2]


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes)

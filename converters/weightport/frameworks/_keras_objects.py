"""Checkpoints that store a tree of objects: ``.keras`` and ``.weights.h5`` (keras/src/saving/saving_lib.py).

A group's path is made of attribute names and, in containers, of class names with a counter; the user's name of a layer
stands in the group's ``name`` (Keras 3.10 and later) or in the config only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..checkpoint import Contents, Layer, Structure
from ..errors import CheckpointError
from ._keras_classes import KIND_OF_CLASS, Writer
from ._keras_config import Entry, entry_of, snake_case, stem
from ._keras_guess import Unknown, guessed_units
from ._keras_tree import Tree
from ._keras_units import Owner, Unit, Walk, layers_of

# Keras 2.12 and 2.13 visit a model's layers as this property first, later ones as ``layers``.
_OLD_CONTAINER = "_layer_checkpoint_dependencies"
_SEEDS = {"seed_generator", "random_generator"}
_NOWHERE = "\0"  # no group can have this name
_CHECKED = {*KIND_OF_CLASS, "Bidirectional", "TimeDistributed", "RNN"}


def objects_structure(contents: Contents, writer: Writer) -> Structure:
    """The layers of a tree of objects, and what its other tensors are."""
    tree = Tree.of(contents)
    skipped = dict(_state(tree, contents.description.get("optimizer", ())))
    places = _Places(tree, writer)
    reading = _Reading(tree.with_tensors_only(skipped), writer)
    root = entry_of(contents.description.get("config"))
    if root is not None and root.layers is not None:
        reading.described(Walk(writer, places), root)
        reading.undecided(places.undecided)
    reading.rest("", "")
    return Structure(tuple(reading.layers), {**skipped, **reading.skipped}, reading.unknown, reading.kindless)


def _state(tree: Tree, training: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What is stored beside the weights: of the optimizer, of metrics, of random generators."""
    for name in training:
        yield name, "metric state" if name.partition("/")[0] == "metrics" else "optimizer state"
    for path, names in tree.tensors.items():
        if _base(path).lstrip("_") in _SEEDS:
            yield from ((name, "seed generator state") for name in names)


@dataclass
class _Places:
    """Finds the groups of a container's members: by the user's names where the file has them, else by counting.

    ``undecided`` collects groups of which Keras 2 does not say which member each one is."""

    tree: Tree
    writer: Writer
    undecided: dict[str, str] = field(default_factory=dict)

    def __call__(self, container: str, entries: Sequence[Entry]) -> list[str]:
        paths = self.tree.children(container)
        if not paths and container.endswith("layers"):
            paths = self.tree.children(container.removesuffix("layers") + _OLD_CONTAINER)
        counted = (
            counted_places(container, entries) if self.writer.major >= 3 else self._in_order(container, entries, paths)
        )
        named = {name: path for path in paths if (name := self.tree.objects.get(path)) is not None}
        if len(named) < len(paths):  # older files have no names; cells may share one
            return counted
        return [self._named(entry, named, path) for entry, path in zip(entries, counted, strict=True)]

    def _named(self, entry: Entry, named: Mapping[str, str], counted: str) -> str:
        """The group of that name; what counting gives is looked at only to tell a contradiction from an absence."""
        path = named.get(entry.name, counted)
        name = self.tree.objects.get(path)
        if name is None or (name == entry.name and _base(path) == snake_case(entry.class_name)):
            return path
        if entry.class_name in _CHECKED:
            raise CheckpointError(
                f"the config has the {entry.class_name} {entry.name!r} where the weights have {name!r} in group "
                f"{path}: they are not of one model"
            )
        return path if name == entry.name else _NOWHERE

    def _in_order(self, container: str, entries: Sequence[Entry], paths: Sequence[str]) -> list[str]:
        """Keras 2 counts layers that stand twice in some versions and not in others: only the order is certain."""
        places = counted_places(container, entries)
        for base in {snake_case(entry.class_name) for entry in entries}:
            members = [index for index, entry in enumerate(entries) if snake_case(entry.class_name) == base]
            groups = [path for path in paths if _base(path) == base]
            if len(groups) == len(members):
                for index, path in zip(members, groups, strict=True):
                    places[index] = path
            else:
                reason = (
                    f"the file does not say which of the {len(members)} {entries[members[0]].class_name} layers it is"
                )
                self.undecided |= dict.fromkeys(groups, reason)
                for index in members:
                    places[index] = _NOWHERE
        return places


def counted_places(container: str, entries: Sequence[Entry]) -> list[str]:
    """The paths that the order of the members gives: each class is counted for itself."""
    counters: dict[str, int] = {}
    places = []
    for entry in entries:
        base = snake_case(entry.class_name)
        number = counters[base] = counters.get(base, -1) + 1
        places.append(f"{container}/{base}_{number}" if number else f"{container}/{base}")
    return places


def _base(path: str) -> str:
    return stem(path.rpartition("/")[2])


class _Reading:
    """The layers found so far, and the tensors that no kind covers."""

    def __init__(self, tree: Tree, writer: Writer) -> None:
        self.layers: list[Layer] = []
        self.unknown: dict[str, str] = {}
        self.kindless: dict[str, dict[str, str]] = {}
        self.skipped: dict[str, str] = {}
        self._tree = tree
        self._writer = writer
        self._taken: set[str] = set()
        self._present: set[tuple[str, str]] = set()

    def described(self, walk: Walk, root: Entry) -> None:
        """Take every layer that the config lists."""
        absent = []
        for unit in walk.units(root, ""):
            if unit.state:
                self._skip(unit)
            elif unit.kind is None:
                self._without_kind(unit)
            elif all(owner.path in self._tree.objects or not owner.variables for owner in unit.owners):
                self._take(unit)
            else:
                absent.append(unit)
        for unit in absent:  # a layer that several models share is stored once, with the first of them
            is_somewhere = not any(owner.path.startswith(_NOWHERE) for owner in unit.owners)
            if is_somewhere and _identity(unit) not in self._present:
                raise CheckpointError(
                    f"the config has the {unit.entry.class_name} {unit.name!r}, and the file has no weights for it in "
                    f"group {unit.owners[0].path}"
                )

    def undecided(self, reasons: dict[str, str]) -> None:
        """Refuse all tensors at and below these paths."""
        for path, reason in reasons.items():
            for below in self._tree.below(path):
                self._refuse(below, reason)

    def rest(self, path: str, name: str) -> None:
        """Take what is left at and below a path, recognised by names and shapes."""
        tree = self._tree.with_tensors_only({*self._taken, *self.unknown, *self.skipped})
        walk = Walk(self._writer, lambda container, entries: tree.children(container))
        for found in guessed_units(tree, walk, path, name):
            if isinstance(found, Unknown):
                self._refuse(found.path, f"{found.path or 'the root'}: {found.reason}")
            elif found.state:
                self._skip(found)
            elif found.kind is None:
                self._refuse(found.owners[0].path, f"{found.name}: {found.reason}")
            else:
                self._take(found)

    def _take(self, unit: Unit) -> None:
        """Make a layer of a unit whose objects are there; one that was never built has no tensors."""
        self._present.add(_identity(unit))
        found = [self._tree.tensors.get(owner.path, ()) for owner in unit.owners]
        if not any(found):
            return
        if [len(names) for names in found] != [len(owner.variables) for owner in unit.owners]:
            self._refuse_count(unit, sum(map(len, found)))
            return
        tensors = {
            owner.prefix + variable.name: name
            for owner, names in zip(unit.owners, found, strict=True)
            for variable, name in zip(owner.variables, names, strict=True)
        }
        self._taken |= set(tensors.values())
        self.layers += layers_of(unit, tensors, self._tree.shapes)

    def _refuse_count(self, unit: Unit, found: int) -> None:
        expected = sum(len(owner.variables) for owner in unit.owners)
        reason = f"{unit.name}: a {unit.entry.class_name} of its config has {expected} tensors, and here are {found}"
        for owner in unit.owners:
            self._refuse(owner.path, reason)

    def _without_kind(self, unit: Unit) -> None:
        """The tensors of a class without a kind; a user's own class may hold layers that have one."""
        path = unit.owners[0].path
        self.kindless[unit.name] = dict(self._own_names(unit.owners[0]))
        for below in self._tree.below(path) if unit.entry.is_keras_own else [path]:
            self._refuse(below, f"{unit.name}: {unit.reason}")
        if not unit.entry.is_keras_own:
            self.rest(path, unit.name)

    def _own_names(self, owner: Owner) -> Iterator[tuple[str, str]]:
        """The tensors at and below an owner's path: by its variables' names where it has as many, else by place."""
        for path in self._tree.below(owner.path):
            found = self._tree.tensors[path]
            inside = path[len(owner.path) :].lstrip("/")
            is_whole = not inside and len(found) == len(owner.variables)
            for index, name in enumerate(found):
                local = owner.variables[index].name if is_whole else str(index)
                yield f"{inside}/{local}" if inside else local, name

    def _skip(self, unit: Unit) -> None:
        """The tensors of a wrapper beside those of the layer in it: its state, and a second copy of the kernel, over
        which Keras reads that of the layer."""
        names = [name for owner in unit.owners for name in self._tree.tensors.get(owner.path, ())]
        self.skipped |= dict.fromkeys(names, f"{unit.name}: {unit.state}")

    def _refuse(self, path: str, reason: str) -> None:
        names = [name for name in self._tree.tensors.get(path, ()) if name not in self._taken]
        self.unknown |= dict.fromkeys(names, reason)


def _identity(unit: Unit) -> tuple[str, str]:
    return unit.entry.class_name, unit.entry.name

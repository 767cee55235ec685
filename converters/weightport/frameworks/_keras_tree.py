"""The groups of a checkpoint that stores a tree of objects, by their paths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..checkpoint import Contents


@dataclass(frozen=True)
class Tree:
    """Paths of objects, each with the user's name for it and the tensors that are its own.

    ``objects`` has every object of the file, ``tensors`` only those that have tensors of their own."""

    objects: Mapping[str, str | None]
    tensors: Mapping[str, tuple[str, ...]]
    shapes: Mapping[str, tuple[int, ...]]
    _children: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, contents: Contents) -> Tree:
        """The tree that the contents' description has."""
        groups = contents.description.get("groups", {})
        clean = {path.replace("\\", "/").strip("/"): group for path, group in groups.items()}  # written on Windows
        objects = {path: group.get("name") for path, group in clean.items()}
        tensors = {path: tuple(group["weights"]) for path, group in clean.items() if group["weights"]}
        shapes = {name: contents.tensors[name].shape for names in tensors.values() for name in names}
        return cls(objects, tensors, shapes, _index(objects))

    def with_tensors_only(self, without: Iterable[str]) -> Tree:
        """The same objects, of which only those are children that have tensors, and others than ``without``."""
        taken = set(without)
        left = {path: tuple(name for name in names if name not in taken) for path, names in self.tensors.items()}
        tensors = {path: names for path, names in left.items() if names}
        return Tree(self.objects, tensors, self.shapes, _index(tensors))

    def children(self, path: str) -> tuple[str, ...]:
        """The paths one step below, in the order of their counters."""
        return self._children.get(path, ())

    def below(self, path: str) -> list[str]:
        """The paths of all objects with tensors at or below a path."""
        return [other for other in self.tensors if other == path or not path or other.startswith(f"{path}/")]

    def is_in_container(self, path: str) -> bool:
        """Whether the last part of a path is a class' name, not an attribute's: its parent is a list or a dict."""
        parent = path.rpartition("/")[0]
        return parent != "" and parent not in self.objects

    def shapes_of(self, path: str) -> list[tuple[int, ...]]:
        """The shapes of an object's own tensors."""
        return [self.shapes[name] for name in self.tensors.get(path, ())]


def _index(paths: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Every path's children, those of intermediate paths too."""
    children: dict[str, set[str]] = {}
    for path in paths:
        inner = path
        while inner:
            outer = inner.rpartition("/")[0]
            children.setdefault(outer, set()).add(inner)
            inner = outer
    return {path: tuple(sorted(found, key=_natural)) for path, found in children.items()}


def _natural(path: str) -> tuple[str, int]:
    base, number = re.fullmatch(r"(.*?)(?:_(\d+))?", path, re.DOTALL).groups()  # type: ignore[union-attr]
    return base, int(number or 0)

"""Frameworks that have layouts and no module of their own here: checkpoints that are names, shapes and nothing more.

A tensor is called after the modules that it is in and by its name in the layout: ``params/lstm/cell/hi/kernel``,
``layers.0.Wx``. What a layer is follows from these alone, so one class serves every framework that has a layout file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from ..checkpoint import Contents, Output, Structure
from ..errors import UsageError
from ..families import tensors_named
from ..layouts import Naming, framework_files, layouts_of, naming_of
from ._named_layers import Path, layers_of

if TYPE_CHECKING:
    from ..graph.building import Reader, Writer

SEPARATORS = re.compile("[./]")


class NamedFramework:
    """A framework that is told by its layouts. No template is needed to write for it: a layer keeps its name, and its
    tensors have those of the layout."""

    NAMES_FROM_SOURCE = True
    CHOICES: tuple[str, ...] = ()

    def __init__(self, name: str) -> None:
        self.NAME = name

    def structure(self, contents: Contents) -> Structure:
        """The layers that the tensors' names and shapes show, in the file's order."""
        skipped = dict(contents.description.get("skipped", {}))
        paths: dict[str, Path] = {}
        collections = self.collections()
        for name in contents.tensors:
            path = tuple(SEPARATORS.split(name))
            reason = self._naming.skipped.get(path[0])
            if reason:
                skipped[name] = reason
            else:
                paths[name] = _inside(collections, path)
        shapes = {name: contents.tensors[name].shape for name in paths}
        layers, unknown = layers_of(self.NAME, paths, shapes)
        return Structure(layers, {name: skipped[name] for name in skipped if name in contents.tensors}, unknown)

    def tensor_name(self, layer: str, tensor: str) -> str:
        """The names of the collection, of the layer's modules and of the tensor, one after the other."""
        naming = self._naming
        modules = [part for part in SEPARATORS.split(layer) if part]
        return naming.separator.join([part for part in (self._collection(tensor), *modules, tensor) if part])

    def owns(self, model: object) -> bool:
        """Live models are those of frameworks that have a module here."""
        del model
        return False

    def read_live(self, model: Any) -> Contents:
        """Raises UsageError: see :meth:`owns`."""
        raise UsageError(f"a live {type(model).__name__} is not read; save its weights as .npz or .msgpack")

    def write_live(self, model: Any, tensors: Sequence[Output]) -> None:
        """Raises UsageError: see :meth:`owns`."""
        del tensors
        raise UsageError(f"a live {type(model).__name__} is not written to; convert into a file and load that")

    def graph_reader(self) -> Reader | None:
        """Such checkpoints do not say what their model computes."""
        return None

    def graph_writer(self) -> Writer | None:
        """Nothing writes whole models of these frameworks."""
        return None

    @property
    def _naming(self) -> Naming:
        return naming_of(self.NAME)

    def collections(self) -> set[str]:
        """The trees that this framework keeps tensors in."""
        tensors = [tensor for layout in layouts_of(self.NAME).values() for tensor in layout.tensors]
        return {self._naming.collection, *(tensor.collection for tensor in tensors)} - {""}

    def _collection(self, name: str) -> str:
        """The collection of a layout's tensor of that name."""
        found = [tensor for layout in layouts_of(self.NAME).values() for tensor in tensors_named(layout, name)]
        return next((tensor.collection for tensor in found if tensor.collection), self._naming.collection)


def _inside(collections: set[str], path: Path) -> Path:
    """The path without the collections around the model; a training state may hold one inside another."""
    while len(path) > 1 and path[0] in collections:
        path = path[1:]
    return path


def framework_of_names(names: Sequence[str]) -> str | None:
    """The one framework in whose collections all these names are; None where there is none, or more than one."""
    outer = {SEPARATORS.split(name)[0] for name in names}
    found = [framework for framework, (usual, known) in _outermost().items() if usual in outer and outer <= known]
    return found[0] if len(found) == 1 else None


@cache
def _outermost() -> Mapping[str, tuple[str, frozenset[str]]]:
    """The usual collection of every framework that has one, and all that can stand where it does."""
    found = {framework: naming_of(framework) for framework in framework_files()}
    return {
        framework: (naming.collection, frozenset({*NamedFramework(framework).collections(), *naming.skipped}))
        for framework, naming in found.items()
        if naming.collection
    }

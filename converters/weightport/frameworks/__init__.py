"""Frameworks: how each one describes a model's structure, nothing of bytes.

A framework is one module here; one that has a layout file only is told by its layouts' names.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, cast

from ..checkpoint import Contents, Output, Structure
from ..errors import UsageError
from ..layouts import framework_files, layouts_of
from ._named import NamedFramework, framework_of_names

if TYPE_CHECKING:
    from ..graph.building import Reader, Writer


__all__ = [
    "Framework",
    "all_frameworks",
    "framework_named",
    "framework_names",
    "framework_of_model",
    "framework_of_names",
    "named_frameworks",
]


class Framework(Protocol):
    """What a module in this folder provides. It imports its framework, if at all, inside ``read_live`` and
    ``write_live`` only."""

    NAME: str
    NAMES_FROM_SOURCE: bool
    """Whether a checkpoint of this framework can be made from another's layer names, without a template."""
    CHOICES: tuple[str, ...]
    """What a caller may choose of a model that ``graph_writer`` writes: names of fields of
    :class:`weightport.graph.building.Choices`."""

    def structure(self, contents: Contents) -> Structure:
        """The layers behind the tensors, in the model's order."""
        ...

    def tensor_name(self, layer: str, tensor: str) -> str:
        """The checkpoint's name for a layout's tensor of a layer (where NAMES_FROM_SOURCE)."""
        ...

    def owns(self, model: object) -> bool:
        """Whether ``model`` is a live model of this framework; imports nothing to find out."""
        ...

    def read_live(self, model: Any) -> Contents:
        """The live model's tensors and its description of itself."""
        ...

    def write_live(self, model: Any, tensors: Sequence[Output]) -> None:
        """Load the tensors into the live model, in place."""
        ...

    def graph_reader(self) -> Reader | None:
        """What reads a whole model out of a checkpoint, None where checkpoints of this framework hold none."""
        ...

    def graph_writer(self) -> Writer | None:
        """What writes a whole model into a file of this framework, None where nothing does."""
        ...


@cache
def framework_names() -> tuple[str, ...]:
    """The names of the frameworks that have a module here, which are the modules' names."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


def all_frameworks() -> Mapping[str, Framework]:
    """Every framework that has a module here, by its name."""
    return {name: _module(name) for name in framework_names()}


@cache
def _module(name: str) -> Framework:
    return cast(Framework, importlib.import_module(f".{name}", __package__))


def framework_named(name: str) -> Framework:
    """The framework of that name: a module here, or any that has a layout file. Raises UsageError where there is
    neither."""
    if name in framework_names():
        return _module(name)
    if layouts_of(name):
        return NamedFramework(name)
    known = sorted({*framework_names(), *framework_files()})
    raise UsageError(f"no framework {name!r}; known are {', '.join(known)}")


@cache
def named_frameworks() -> frozenset[str]:
    """The frameworks that have a layout file and no module here."""
    return frozenset(framework_files()) - frozenset(framework_names())


def framework_of_model(model: object) -> Framework:
    """The framework that a live model belongs to. Raises UsageError where none claims it."""
    for framework in all_frameworks().values():
        if framework.owns(model):
            return framework
    raise UsageError(
        f"a {type(model).__module__}.{type(model).__qualname__} is neither a path nor a live model of "
        f"{', '.join(all_frameworks())}"
    )

"""Registries of emitters: for one target, one function a kind of operation, in modules found because they are there."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

from ..errors import RefusedError
from .custom import registered_classes
from .operations import Operation

Context = TypeVar("Context")


@dataclass(frozen=True)
class EmitterRegistry(Generic[Context]):
    """The emitters of one target, which are in the modules of ``package``.

    ``target`` is what :func:`weightport.register_layer` calls it, ``title`` what messages call it."""

    target: str
    title: str
    package: str
    emitters: dict[str, Callable[[Context, Operation], None]] = field(default_factory=dict)

    def emits(
        self, *kinds: str
    ) -> Callable[[Callable[[Context, Operation], None]], Callable[[Context, Operation], None]]:
        """Make a function the emitter of these kinds."""

        def register(emitter: Callable[[Context, Operation], None]) -> Callable[[Context, Operation], None]:
            for kind in kinds:
                if kind in self.emitters:
                    raise ValueError(f"two emitters for {kind}")
                self.emitters[kind] = emitter
            return emitter

        return register

    def emitter_of(self, operation: Operation) -> Callable[[Context, Operation], None]:
        """The emitter for an operation. Raises RefusedError naming its layer where there is none."""
        custom = registered_classes().get(operation.kind)
        found = custom.emitters.get(self.target) if custom else self._found.get(operation.kind)
        if found is None:
            raise RefusedError(f"{operation.layer}: there is no way yet to write {operation.kind} as {self.title}")
        return found

    @cached_property
    def _found(self) -> Mapping[str, Callable[[Context, Operation], None]]:
        for module in pkgutil.iter_modules(importlib.import_module(self.package).__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        return self.emitters

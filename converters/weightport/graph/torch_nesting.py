"""Models in a model as PyTorch source: the classes that they have, and the modules that they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .torch_code import class_name


class CallsDifferError(Exception):
    """Two calls of one nested model do not compute the same lines: it cannot be a module of its own."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self.model = model


@dataclass(frozen=True)
class NestedModule:
    """A nested model as an attribute of the module around it, with its code and the orders that it takes values in."""

    attribute: str
    code: str
    orders: tuple[tuple[int, ...], ...]


@dataclass
class NestedClasses:
    """The classes of nested models by their text; models whose text is the same share one."""

    taken: set[str] = field(default_factory=set)
    found: dict[str, tuple[str, list[str]]] = field(default_factory=dict)

    def of(self, model: str, name: str, body: str) -> str:
        """The class for a model with that body; ``name`` is the model's own within the one around it."""
        if body not in self.found:
            self.found[body] = self._free(name), []
        name, models = self.found[body]
        models.append(model)
        return name

    def __iter__(self) -> Iterator[tuple[str, list[str], str]]:
        """Name, models and body of each, in an order in which those that others use come first."""
        yield from ((name, models, body) for body, (name, models) in self.found.items())

    def _free(self, name: str) -> str:
        stem = re.sub(r"[\W_]*\d+$", "", name) or name  # block_1 and block_2 are blocks
        choices = [class_name(stem), class_name(name), *(f"{class_name(name)}Part{number}" for number in range(2, 999))]
        found = next(one for one in choices if one not in self.taken)
        self.taken.add(found)
        return found

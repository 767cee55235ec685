"""One call of a Keras layer or operation: what a translator is given, and the registry of translators.

A translator is a function in a module of ``keras_layers``; it adds operations to the graph and returns the call's
outputs, nested as Keras nests them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..errors import RefusedError
from ..frameworks._keras_activations import activation_name
from ..frameworks._keras_config import Entry
from .activations import ACTIVATIONS, known_activation, with_defaults
from .builder import Builder
from .operations import Shape, Value

Nested: TypeAlias = Any
"""A Value, or a list, tuple or dict of them, nested as Keras does."""
Translator: TypeAlias = Callable[["Call"], Nested]

KERAS_3 = 3
"""The version that configs are of: older ones are brought up to date before they are read."""

_TRANSLATORS: dict[str, Translator] = {}


class Models(Protocol):
    """What reads layers inside layers: the reader itself."""

    is_legacy: bool
    """Whether the model is of Keras 1 or 2, whose layers find and lose the masks of their inputs otherwise."""

    def inner(self, entry: Entry, name: str, arguments: Sequence[Any], mask: Value | None) -> Nested:
        """The outputs of a layer that another one holds."""
        ...


class Weights(Protocol):
    """Where a layer's tensors are found."""

    def of(self, name: str) -> Mapping[str, str]:
        """The checkpoint's tensors of a layer by the layer's own names for them."""
        ...

    def layout(self, name: str, kind: str) -> str:
        """The layout that they are stored in."""
        ...

    def reason(self, name: str) -> str:
        """Why it is not known what a layer's tensors are."""
        ...

    def dtype(self, tensor: str) -> str:
        """The dtype that a tensor is stored in."""
        ...


@dataclass(frozen=True)
class Call:
    """A layer, what it is called with, and the graph to add operations to."""

    entry: Entry
    name: str
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    builder: Builder
    weights: Weights
    models: Models

    @property
    def config(self) -> Mapping[str, Any]:
        """The layer's own config."""
        return self.entry.config

    @property
    def x(self) -> Value:
        """The first input. Raises RefusedError where it is no tensor."""
        first = next(iter(flat(self.arguments)), None) or next(iter(flat(self.keywords)), None)
        if first is None:
            raise self.refused("it is called with no tensor")
        return first

    @property
    def inputs(self) -> list[Value]:
        """All the tensors that it is called with, in order."""
        return list(flat(self.arguments))

    def argument(self, index: int, key: str, default: Any = None) -> Any:
        """What was given at a position or under a key."""
        if index < len(self.arguments):
            return self.arguments[index]
        return self.keywords.get(key, default)

    def mask(self, value: Value) -> Value | None:
        """The mask that comes with a value."""
        return self.builder.masks.get(value.name)

    def refused(self, reason: str) -> RefusedError:
        """The error that says why this layer cannot be translated."""
        return RefusedError(f"{self.name}: {self.entry.class_name}: {reason}")

    def own_weights(self, needed: str, *more: str) -> dict[str, str]:
        """The layer's tensors of these names. Raises RefusedError where there is none of the first."""
        found = self.weights.of(self.name)
        if needed not in found:
            raise self.unknown_weights(needed)
        return self.optional_weights(needed, *more)

    def unknown_weights(self, wanted: str) -> RefusedError:
        """The error that says why a layer's weights are not found."""
        return self.refused(
            f"it is not known which tensor of the file is its {wanted}: {self.weights.reason(self.name)}"
        )

    def optional_weights(self, *names: str) -> dict[str, str]:
        """Those of the layer's tensors of these names that it has."""
        found = self.weights.of(self.name)
        return {name: found[name] for name in names if name in found}

    def add(
        self,
        kind: str,
        inputs: Sequence[Value | None],
        settings: Mapping[str, Any],
        *,
        suffix: str = "",
        weights: Mapping[str, str] | None = None,
        layout: str = "",
        dtype: str | None = None,
        shapes: Sequence[Shape] | None = None,
        ends: Sequence[str] = (),
    ) -> Value:
        """Add an operation of this layer; gives its first output."""
        return self.add_all(
            kind, inputs, settings, suffix=suffix, weights=weights, layout=layout, dtype=dtype, shapes=shapes, ends=ends
        )[0]

    def add_all(
        self,
        kind: str,
        inputs: Sequence[Value | None],
        settings: Mapping[str, Any],
        *,
        suffix: str = "",
        weights: Mapping[str, str] | None = None,
        layout: str = "",
        dtype: str | None = None,
        shapes: Sequence[Shape] | None = None,
        ends: Sequence[str] = (),
    ) -> tuple[Value, ...]:
        """Add an operation of this layer; gives all its outputs."""
        return self.builder.add(
            kind,
            inputs,
            settings,
            layer=self.name,
            suffix=suffix,
            weights=weights,
            layout=layout,
            dtype=dtype,
            shapes=shapes,
            ends=ends,
        )

    def number(self, number: float, dtype: str) -> Value:
        """A constant number."""
        return self.add("constant", [], {"value": np.asarray(number, dtype)}, suffix="number", dtype=dtype)

    def activated(self, value: Value, said: Any) -> Value:
        """The value after an activation as a config says it: a name, a function or a layer."""
        name = activation_name(said, KERAS_3)
        is_layer = isinstance(said, Mapping) and isinstance(said.get("config"), Mapping) and has_translator(name)
        if name not in ACTIVATIONS and is_layer:
            inner = replace(self, entry=replace(self.entry, class_name=name, config=said["config"]), arguments=(value,))
            translated: Value = translator_of(name)(inner)
            return translated
        name = known_activation(name, self.name)
        if name == "linear":
            return value
        if name == "glu":
            return self._gated(value)
        settings = {**with_defaults(name, ACTIVATIONS[name])}
        if "axis" in settings:
            settings["axis"] %= value.rank
        return self.add("activation", [value], settings, suffix=name)

    def _gated(self, value: Value) -> Value:
        """One half of the last axis times the sigmoid of the other."""
        axis = value.rank - 1
        half = (value.shape[axis] or 0) // 2
        one, other = self.add_all("split", [value], {"axis": axis, "sizes": (half, half)}, suffix="halves")
        gate = self.add("activation", [other], {"function": "sigmoid"}, suffix="gate")
        return self.add("multiply", [one, gate], {}, suffix="glu")


def flat(nested: Nested) -> Iterator[Value]:
    """The values in nested arguments, in order."""
    if isinstance(nested, Value):
        yield nested
    elif isinstance(nested, Mapping):
        for key in sorted(nested):
            yield from flat(nested[key])
    elif isinstance(nested, list | tuple):
        for item in nested:
            yield from flat(item)


def translates(*class_names: str) -> Callable[[Translator], Translator]:
    """Make a function the translator of these classes; ``ops.Add`` is an operation of ``keras.ops``."""

    def register(translator: Translator) -> Translator:
        for name in class_names:
            if name in _TRANSLATORS:
                raise ValueError(f"two translators for {name}")
            _TRANSLATORS[name] = translator
        return translator

    return register


@cache
def _translators() -> Mapping[str, Translator]:
    from . import keras_layers

    for module in pkgutil.iter_modules(keras_layers.__path__):
        importlib.import_module(f"{keras_layers.__name__}.{module.name}")
    return _TRANSLATORS


def has_translator(class_name: str) -> bool:
    """Whether there is a translator for the class."""
    return class_name in _translators()


def translator_of(class_name: str) -> Translator:
    """The translator for a class. Raises KeyError where there is none."""
    return _translators()[class_name]

"""Keras' model config as plain data: a description to understand, never a class to instantiate.

A config is JSON of any Keras version, and from a file that nobody vouches for: every access checks what it finds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# A config has the name under which Keras exports a class, which gives its objects' groups and names another one.
OWN_NAME = {"GroupQueryAttention": "GroupedQueryAttention"}

MERGE = "Merge"
"""Keras 1's one layer for all merging. It holds the layers that it merges where a Sequential begins with it."""


@dataclass(frozen=True)
class Entry:
    """One serialized object of a config: its class, its name and its own config."""

    class_name: str
    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    module: str = ""
    rank: int | None = None
    """The number of axes of the input that it was built for, where the config says so."""

    @property
    def layers(self) -> tuple[Entry, ...] | None:
        """The layers of a model, in the model's order; None for what is no model."""
        return self.inner_list("layers")

    @property
    def frozen(self) -> bool:
        """Whether it says of itself that it does not train."""
        return self.config.get("trainable") is False

    @property
    def is_keras_own(self) -> bool:
        """Whether the class is Keras' own, not the user's, where the config says so."""
        return self.module == "keras" or self.module.startswith("keras.")

    def inner(self, key: str) -> Entry | None:
        """The serialized object at a key of the config (a wrapper's ``layer``, an RNN's ``cell``)."""
        return entry_of(self.config.get(key))

    def inner_list(self, key: str) -> tuple[Entry, ...] | None:
        """The serialized objects at a key, or None where there is no list of them."""
        values = self.config.get(key)
        if not isinstance(values, Sequence) or isinstance(values, str):
            return None
        entries = [entry_of(value) for value in values]
        found = tuple(entry for entry in entries if entry is not None)
        return found if len(found) == len(entries) else None

    def flag(self, key: str) -> bool | None:
        """The boolean at a key, None where the config does not say."""
        value = self.config.get(key)
        return value if isinstance(value, bool) else None

    def whole(self, key: str) -> int | None:
        """The integer at a key, None where the config does not say."""
        value = self.config.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


def entry_of(value: object) -> Entry | None:
    """Read one serialized object ``{"class_name": ..., "config": {...}}``, None for anything else."""
    if not isinstance(value, Mapping) or not isinstance(value.get("class_name"), str):
        return None
    config = value.get("config")
    if isinstance(config, list):  # a Sequential model before Keras 2.2.3
        config = {"layers": config}
    if not isinstance(config, Mapping):
        config = {}
    exported = value["class_name"].rpartition(">")[2]  # "package>Class" of a registered class
    class_name = OWN_NAME.get(exported, exported)
    names = [value.get("name"), config.get("name"), snake_case(class_name)]
    module = value.get("module")
    return Entry(
        class_name=class_name,
        name=next(name for name in names if isinstance(name, str) and name),
        config=config,
        module=module if isinstance(module, str) else "",
        rank=_rank(value.get("build_config")),
    )


def snake_case(class_name: str) -> str:
    """A class name as Keras writes it into group names (keras/src/utils/naming.py, to_snake_case)."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower() or "layer"


def stem(name: str) -> str:
    """A default name or a group's name without its counter: ``lstm`` of ``lstm_2``."""
    return re.sub(r"_\d+$", "", name)


def layer_name(name: str) -> str:
    """A Keras layer's name as a part of a dotted name; ``/``, which Keras 2 allowed, becomes ``.`` too."""
    return name.replace("/", ".")


def joined(outer: str, inner: str) -> str:
    """The name of a layer inside another: ``outer.inner``; layers of the root model have no prefix."""
    return f"{outer}.{layer_name(inner)}" if outer else layer_name(inner)


def major_version(version: object, default: int) -> int:
    """The first number of a Keras version, ``default`` where there is none."""
    found = re.match(r"\d+", version) if isinstance(version, str) else None
    return int(found.group()) if found else default


def _rank(build_config: object) -> int | None:
    shape = build_config.get("input_shape") if isinstance(build_config, Mapping) else None
    is_shape = isinstance(shape, Sequence) and all(size is None or isinstance(size, int) for size in shape)
    return len(shape) if is_shape and shape is not None else None

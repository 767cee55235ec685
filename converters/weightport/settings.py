"""Settings: what changes a layer's result and is not in its weights. Compared here, never converted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from .checkpoint import Setting
from .layouts import Layout


def unsupported(layout: Layout, settings: Mapping[str, Setting], allowed: Iterable[str] = ()) -> list[str]:
    """One line for each setting that the layout's framework cannot express and that ``allowed`` does not name.

    A setting that the storage depends on (a GRU's ``reset``) cannot be allowed: its tensors would mean another thing.
    """
    patterns = tuple(allowed)
    structural = {name for tensors in layout.tensors for name in tensors.when} | apart_settings(layout)
    problems = []
    for name, problem in _problems(layout, settings):
        if name in structural:
            problems.append(f"{problem}: no weights make it compute the same")
        elif not any(fnmatchcase(name, pattern) or pattern == settings[name] for pattern in patterns):
            problems.append(f"{problem}; --allow {name} carries the weights all the same")
    return problems


def _problems(layout: Layout, settings: Mapping[str, Setting]) -> Iterator[tuple[str, str]]:
    """Each setting that the layout cannot express, and why."""
    for name, values in layout.settings.items():
        if name in settings and settings[name] not in values:
            yield name, f"{name} is {settings[name]}, and {layout.name} can only be {' or '.join(map(str, values))}"
    for name, values in layout.lacks.items():
        if settings.get(name) in values:
            yield name, f"{name} is {settings[name]}, which {layout.name} does not have"
    for name, other in layout.ties.items():
        if name in settings and other in settings and settings[name] != settings[other]:
            yield name, f"{name} is {settings[name]} and {other} {settings[other]}; {layout.name} has one for both"


def apart_settings(layout: Layout) -> set[str]:
    """The settings that decide which parts of a parameter sum, and so what its stored tensors mean."""
    return {name for role in layout.kind.roles.values() if role.apart for name in role.apart.when}

"""The commands: one module each, found because it is there; its command has the module's name."""

from __future__ import annotations

import importlib
import pkgutil

import click


def command_names() -> list[str]:
    """Every command, in the alphabet's order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def command_named(name: str) -> click.Command | None:
    """The command of that name, None where there is none."""
    if name not in command_names():
        return None
    module = importlib.import_module(f".{name}", __package__)
    command: click.Command = getattr(module, name)
    return command

"""No code out of a checkpoint: what a config may have put into a graph before it becomes Python source.

A config may say anything, a text with code where a number should be too. Names are made identifiers, and sentences go
into docstrings cleaned; everything else that is written is a number, or a word that is checked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import CheckpointError
from .custom import registered_classes
from .operations import Graph, Value

_WORD = re.compile(r"[\w.]*")
_EQUATION = re.compile(r"[A-Za-z., ]+->[A-Za-z. ]*")
_NUMBERS = "biufcV"  # kinds of NumPy dtypes; V has those of ml_dtypes


def refuse_code(graph: Graph) -> None:
    """Raises CheckpointError where a setting, a shape or a dtype is neither a number nor a word.

    The settings of a class that the user registered are for the user's own emitter."""
    for value in graph.values.values():
        _refuse_unless(_is_described(value), value.name)
    for operation in graph.operations:
        if operation.kind not in registered_classes():
            for setting in _leaves(operation.settings):
                _refuse_unless(_is_plain(setting), operation.layer)


def _refuse_unless(fits: bool, name: str) -> None:
    if not fits:
        raise CheckpointError(
            f"{' '.join(name.split())[:80]}: its config has a text where a number or a word should be"
        )


def _is_described(value: Value) -> bool:
    sizes = all(size is None or (isinstance(size, int) and not isinstance(size, bool)) for size in value.shape)
    return sizes and bool(_WORD.fullmatch(value.dtype))


def _leaves(settings: Any) -> Iterator[Any]:
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            yield from (key, *_leaves(value))
    elif isinstance(settings, list | tuple | set | frozenset):
        for value in settings:
            yield from _leaves(value)
    else:
        yield settings


def _is_plain(setting: Any) -> bool:
    if isinstance(setting, str):
        return bool(_WORD.fullmatch(setting) or _EQUATION.fullmatch(setting))
    if isinstance(setting, np.ndarray):
        return setting.dtype.kind in _NUMBERS
    return setting is None or isinstance(setting, bool | int | float | np.generic)

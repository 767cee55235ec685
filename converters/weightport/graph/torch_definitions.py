"""The definitions of ``torch_parts`` that a file needs, as text, with all that they use in turn."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LOADING = "loading.read_safetensors"
_FOLDER = Path(__file__).parent / "torch_parts"

# Every import that an emitted file may need: what it is used as, and the line.
_IMPORTS = (
    (r"\bjson\.", "import json"),
    (r"\bCallable\[|\bSequence\[", "from collections.abc import {names}"),
    (r"\bPath\b", "from pathlib import Path"),
    (r"\btorch\.", "import torch"),
    (r"\bTensor\b|\bnn\.", "from torch import {names}"),
)
_NAMES = {
    "from collections.abc import {names}": ("Callable", "Sequence"),
    "from torch import {names}": ("Tensor", "nn"),
}


@dataclass(frozen=True)
class Definition:
    """One function, class or name at the top of a module: its text, and the names in it."""

    lines: tuple[str, ...]
    uses: frozenset[str]


def definitions(wanted: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The text of each definition, those that it uses before it; ``wanted`` are like ``lstm.LSTM``."""
    known = _known()
    done: set[str] = set()
    for name in wanted:
        yield from _with_used(name.partition(".")[2], known, done)


def names_of_parts() -> frozenset[str]:
    """What the definitions are called: a model may not be called alike."""
    return frozenset(_known())


def imports_of(text: str) -> Iterator[str]:
    """The import lines that a file with this text needs, sorted as isort does."""
    yield "from __future__ import annotations"
    yield ""
    for pattern, line in _IMPORTS:
        if line == "import torch":
            yield ""
        if re.search(pattern, text):
            used = [name for name in _NAMES.get(line, ()) if re.search(rf"\b{name}\b", text)]
            yield line.format(names=", ".join(used))


def _with_used(name: str, known: Mapping[str, Definition], done: set[str]) -> Iterator[tuple[str, ...]]:
    if name in done:
        return
    done.add(name)
    for used in sorted(known[name].uses & set(known) - {name}):
        yield from _with_used(used, known, done)
    yield known[name].lines


@cache
def _known() -> Mapping[str, Definition]:
    """Every definition of the folder by its name."""
    found: dict[str, Definition] = {}
    for path in sorted(_FOLDER.glob("*.py")):
        text = path.read_text()
        lines = text.splitlines()
        for node in ast.parse(text).body:
            name = _name_of(node)
            if name:
                used = frozenset(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))
                used |= _annotations(node)
                found[name] = Definition(tuple(lines[node.lineno - 1 : node.end_lineno]), used)
    return found


def _name_of(node: ast.stmt) -> str:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    is_name = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    return node.targets[0].id if is_name else ""  # type: ignore[attr-defined]


def _annotations(node: ast.AST) -> frozenset[str]:
    """Names inside annotations that are written as text."""
    texts = (
        inner.value for inner in ast.walk(node) if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
    )
    return frozenset(text for text in texts if text.isidentifier())

"""Malicious checkpoints: what strangers have put into files to harm those who open them, one module a format.

Each attack is a function that writes its file. Nothing here is downloaded, and nothing is dangerous to weightport; to
a loader that trusts its files much of it is (``test_attacks.py`` shows that too). ``python tests/hostile/make.py
FOLDER`` writes them all.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

SECRET = b"TOPSECRET: another file's contents, which no checkpoint may bring into the open. ..."
"""What the files outside an attack's folder hold: 84 bytes, which are 21 float32."""


@dataclass(frozen=True)
class Place:
    """Where an attack is laid out: its own ``folder``, and a neighbour that it may not touch.

    ``secret`` exists and may not be read; ``canary`` does not, and appears when code of the file has run."""

    folder: Path
    secret: Path
    canary: Path

    @classmethod
    def made(cls, folder: Path) -> Place:
        """A place below ``folder``, with its secret."""
        place = cls(folder / "model", folder / "outside" / "secret.bin", folder / "outside" / "canary")
        place.folder.mkdir(parents=True)
        place.secret.parent.mkdir()
        place.secret.write_bytes(SECRET)
        return place

    @property
    def command(self) -> str:
        """What an attacker has the shell do."""
        return f"touch {self.canary}"


Make: TypeAlias = Callable[[Place], Path]


@dataclass(frozen=True)
class Attack:
    """A file, made by ``make``, and the words with which it is refused; empty if it holds honest weights as well,
    which are read without what surrounds them."""

    name: str
    make: Make
    words: str


_REGISTERED: dict[str, Attack] = {}


def attack(words: str, name: str = "") -> Callable[[Make], Make]:
    """Enter a function into the list of attacks."""

    def enter(make: Make) -> Make:
        family = getattr(make, "func", make).__module__.rpartition(".")[2]  # of a partial call, its function's
        full = f"{family}/{name or make.__name__.replace('_', ' ')}"
        if full in _REGISTERED:
            raise ValueError(f"two attacks are called {full!r}")
        _REGISTERED[full] = Attack(full, make, words)
        return make

    return enter


@cache
def all_attacks() -> Mapping[str, Attack]:
    """Every attack by its name, ``format/what it does``."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(_REGISTERED.items()))

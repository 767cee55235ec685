"""What a hypothesis is: a usual mistake, and what a slot of B would hold if it had been made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..checkpoint import Array
from .case import Slot, Slots

Made: TypeAlias = Callable[[Slots, Slot], Array | None]
"""From A's arrays to what a slot would hold; None where the mistake says nothing of that slot."""


@dataclass(frozen=True)
class Hypothesis:
    """A usual mistake.

    ``text`` is a sentence without its full stop that a user can act on; where the mistake was made in some parameters
    only, their names are added. ``moves`` says that it moves values and turns signs, and does nothing else to them:
    then it is tried only where B has A's values, and also together with another one of its sort."""

    text: str
    made: Made
    moves: bool = True

    def after(self, other: Hypothesis) -> Hypothesis:
        """Both mistakes, ``other`` first."""

        def made(slots: Slots, slot: Slot) -> Array | None:
            return self.made(_Changed(slots, other.made), slot)

        return Hypothesis(f"{other.text} and {self.text.removeprefix('equal if ')}", made)


class _Changed(Mapping[Slot, Array]):
    """A's arrays as they are after a mistake; each is made when it is asked for."""

    def __init__(self, slots: Slots, made: Made) -> None:
        self._slots, self._made = slots, made

    def __getitem__(self, slot: Slot) -> Array:
        changed = self._made(self._slots, slot)
        return self._slots[slot] if changed is None else changed

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)

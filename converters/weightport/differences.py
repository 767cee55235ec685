"""What a comparison of two checkpoints found, layer by layer and place by place. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .checkpoint import Setting

SAME, DIFFERING, MISSING, INCOMPLETE = "same", "differing", "missing", "incomplete"


@dataclass(frozen=True)
class PlaceDifference:
    """One place of a parameter in which the two sides differ: the gate, side, direction and stacked layer that
    ``labels`` name.

    ``index`` says where along ``axes`` the largest difference is, ``a`` and ``b`` what is there on either side;
    ``largest`` is infinite where only one of them is NaN.
    """

    labels: tuple[str, ...]
    axes: tuple[str, ...]
    elements: int
    differing: int
    largest: float
    index: tuple[int, ...]
    a: float
    b: float


@dataclass(frozen=True)
class RoleComparison:
    """One parameter of a layer. ``verdict`` is ``same``, ``differing`` or ``missing``: one side has none, and nothing
    stands for its absence.

    ``precision`` is the dtype to whose precision the values agree or not; empty where they were compared exactly.
    ``nan`` counts the places where both sides have NaN, which are the same. ``note`` says what is worth knowing.
    """

    role: str
    verdict: str
    elements: int = 0
    precision: str = ""
    nan: int = 0
    places: tuple[PlaceDifference, ...] = ()
    note: str = ""

    @property
    def differing(self) -> int:
        """How many elements differ."""
        return sum(place.differing for place in self.places)

    @property
    def largest(self) -> float:
        """The largest difference, 0 where there is none."""
        return max((place.largest for place in self.places), default=0.0)


@dataclass(frozen=True)
class SettingDifference:
    """A setting that both sides state and state differently; ``advice`` says what to do about it."""

    name: str
    a: Setting
    b: Setting
    advice: str = ""

    def __str__(self) -> str:
        stated = f"{self.name} is {self.a} in A and {self.b} in B"
        return f"{stated}: {self.advice}" if self.advice else stated


@dataclass(frozen=True)
class LayerComparison:
    """One pair of layers, or a layer that has no partner (then ``a`` or ``b`` is empty).

    ``problems`` are sizes that differ, so that nothing else could be compared; ``notes`` say how the two were brought
    together, ``doubt`` why they may not be the same although their values are. ``diagnosis`` are sentences: the usual
    mistakes that explain the differences, and what none explains.
    """

    kind: str
    a: str
    b: str
    paired_by: str = ""
    roles: tuple[RoleComparison, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    doubt: str = ""
    settings: tuple[SettingDifference, ...] = ()
    diagnosis: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """``same``, ``differing`` or ``missing``; ``incomplete`` where the values are the same and there is a doubt."""
        if not self.paired_by:
            return MISSING
        if self.problems or any(role.verdict != SAME for role in self.roles):
            return DIFFERING
        return INCOMPLETE if self.doubt else SAME

    @property
    def name(self) -> str:
        """The layer's name on both sides."""
        return self.a if self.a == self.b else f"{self.a} and {self.b}" if self.a and self.b else self.a or self.b

    @property
    def elements(self) -> int:
        """How many values were compared."""
        return sum(role.elements for role in self.roles)

    @property
    def differing(self) -> int:
        """How many of them differ."""
        return sum(role.differing for role in self.roles)

    @property
    def largest(self) -> float:
        """The largest difference."""
        return max((role.largest for role in self.roles), default=0.0)


@dataclass(frozen=True)
class Comparison:
    """Two checkpoints as mathematics: A and B, their layers, and what could not be compared.

    ``uncovered_a`` and ``uncovered_b`` are tensors that belong to no layer, with the reason; ``skipped_a`` and
    ``skipped_b`` tensors that are no weights.
    """

    a: str
    b: str
    framework_a: str
    framework_b: str
    layers: tuple[LayerComparison, ...]
    uncovered_a: Mapping[str, str] = field(default_factory=dict)
    uncovered_b: Mapping[str, str] = field(default_factory=dict)
    skipped_a: Mapping[str, str] = field(default_factory=dict)
    skipped_b: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """``same`` where every weight of either side was found on the other and is the same; ``differing`` where one
        is not; ``incomplete`` where all that could be compared is the same and something, or everything, could not."""
        verdicts = {layer.verdict for layer in self.layers}
        if verdicts & {DIFFERING, MISSING}:
            return DIFFERING
        return INCOMPLETE if self.uncovered_a or self.uncovered_b or verdicts != {SAME} else SAME

    @property
    def same(self) -> bool:
        """Whether the verdict is ``same``."""
        return self.verdict == SAME

    def to_json(self) -> dict[str, Any]:
        """The comparison as JSON data."""
        facts = {name: value for name, value in vars(self).items() if name != "layers"}
        return {"verdict": self.verdict, **facts, "layers": [_layer_json(layer) for layer in self.layers]}


def _layer_json(layer: LayerComparison) -> dict[str, Any]:
    roles = [{**asdict(role), "differing": role.differing, "largest": role.largest} for role in layer.roles]
    totals = {"elements": layer.elements, "differing": layer.differing, "largest": layer.largest}
    return {**asdict(layer), "verdict": layer.verdict, **totals, "roles": roles}

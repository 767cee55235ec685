"""What a comparison of two models found. Plain data: it is shown, saved and asserted elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .measure import Difference

AGREES, DIFFERS, UNREACHED = "agrees", "differs", "not reached"


@dataclass(frozen=True)
class Depth:
    """One depth of the comparison (weights, layers, model): how it went, and why where it was not reached."""

    name: str
    verdict: str
    reason: str = ""


@dataclass(frozen=True)
class OutputParity:
    """One pair of outputs, in the case in which they are furthest apart. ``order`` is how the other was turned."""

    name: str
    other: str
    case: str
    order: str
    difference: Difference


@dataclass(frozen=True)
class LayerParity:
    """One pair of layers. ``difference`` is of their outputs while the models ran, None where it was not reached."""

    name: str
    other: str
    kind: str
    paired_by: str
    difference: Difference | None = None
    case: str = ""
    differs: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """What this pair's outputs show."""
        if self.difference is None:
            return UNREACHED
        return AGREES if self.difference.agrees else DIFFERS


@dataclass(frozen=True)
class Parity:
    """Whether two models compute the same, how near they are, and where and why they part.

    ``first`` names the first layer that diverges; ``causes`` are sentences, the likeliest first; ``missing`` are layers
    that the other side does not have. True in a condition exactly where the models agree."""

    one: str
    other: str
    frameworks: tuple[str, str]
    depths: tuple[Depth, ...]
    outputs: tuple[OutputParity, ...] = ()
    layers: tuple[LayerParity, ...] = ()
    first: str = ""
    causes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    tolerance: str = ""

    @property
    def passed(self) -> bool:
        """Whether some depth was reached, and none that was reached differs."""
        verdicts = {depth.verdict for depth in self.depths}
        return AGREES in verdicts and DIFFERS not in verdicts and not self.missing

    def __bool__(self) -> bool:
        return self.passed

    @property
    def summary(self) -> str:
        """The verdict in one sentence."""
        reached = [depth.name for depth in self.depths if depth.verdict != UNREACHED]
        if not reached:
            return "nothing could be compared: " + "; ".join(depth.reason for depth in self.depths)
        if self.passed:
            return f"{self.one} and {self.other} compute the same, by their {_listed(reached)}"
        where = f"; the first layer that diverges is {self.first}" if self.first else ""
        bad = [depth.name for depth in self.depths if depth.verdict == DIFFERS] or ["layers"]
        return f"{self.one} and {self.other} DIFFER in their {_listed(bad)}{where}"

    def to_json(self) -> dict[str, Any]:
        """The result as JSON data."""
        document = asdict(self)
        for layer, data in zip(self.layers, document["layers"], strict=True):
            data["verdict"] = layer.verdict
        for output, data in zip(self.outputs, document["outputs"], strict=True):
            data["agrees"] = output.difference.agrees
        return {"passed": self.passed, "summary": self.summary, **document}


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

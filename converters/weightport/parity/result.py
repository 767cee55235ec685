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
class HeatMap:
    """The largest |a - b| of a recurrent layer, ``values[row][column]``, in words what it is of."""

    what: str
    rows: tuple[str, ...]
    columns: str
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class LayerParity:
    """One pair of layers, or a layer that has no partner (then ``name`` or ``other`` is empty).

    ``verdict`` is that of the pair. ``weights`` is what their comparison as mathematics says, ``difference`` that of
    their outputs while the models ran (None where they were not run or could not be watched), ``reference`` that of
    both sides run in NumPy on one random input (None where no reference has such a layer). ``settings`` are those that
    the two sides state differently, ``remarks`` what else is worth knowing."""

    name: str
    other: str
    kind: str
    verdict: str
    paired_by: str = ""
    weights: str = ""
    difference: Difference | None = None
    case: str = ""
    reference: Difference | None = None
    settings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    heat: tuple[HeatMap, ...] = ()

    @property
    def shown_name(self) -> str:
        """The name on both sides."""
        return self.name if self.name == self.other else " / ".join(filter(None, (self.name, self.other)))

    @property
    def measured(self) -> Difference | None:
        """The difference that counts: of the models' own run where there is one, else of the references."""
        return self.difference or self.reference


@dataclass(frozen=True)
class Parity:
    """Whether two models compute the same, how near they are, and where and why they part.

    ``first`` names the first layer that diverges; ``causes`` are sentences, the likeliest first. ``inputs`` says which
    inputs were turned into another order of axes for the other model. True in a condition exactly where the models
    agree at every depth that was reached, and some depth was."""

    one: str
    other: str
    frameworks: tuple[str, str]
    depths: tuple[Depth, ...]
    outputs: tuple[OutputParity, ...] = ()
    layers: tuple[LayerParity, ...] = ()
    first: str = ""
    causes: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    tolerance: str = ""

    @property
    def passed(self) -> bool:
        """Whether some depth was reached, and none that was reached differs."""
        verdicts = {depth.verdict for depth in self.depths}
        return AGREES in verdicts and DIFFERS not in verdicts

    def __bool__(self) -> bool:
        return self.passed

    @property
    def summary(self) -> str:
        """The verdict in one sentence."""
        reached = [depth.name for depth in self.depths if depth.verdict == AGREES]
        if self.passed:
            return f"A and B compute the same, by their {_listed(reached)}"
        bad = [depth.name for depth in self.depths if depth.verdict == DIFFERS]
        if not bad:
            return "nothing could be compared"
        where = f"; the first layer that diverges is {self.first}" if self.first else ""
        return f"A and B DIFFER, by their {_listed(bad)}{where}"

    def to_json(self) -> dict[str, Any]:
        """The result as JSON data."""
        document = asdict(self)
        for output, data in zip(self.outputs, document["outputs"], strict=True):
            data["agrees"] = output.difference.agrees
        return {"passed": self.passed, "summary": self.summary, **document}


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

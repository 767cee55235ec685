"""Reports: what a conversion did, layer by layer, and what the weights could not carry. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .checkpoint import Setting
from .plan import EXACT, FOLDED, Plan


@dataclass(frozen=True)
class LayerReport:
    """One pair of layers.

    ``folded`` names the blocks that were computed, ``notes`` everything else worth a look. ``settings`` is what the
    source says that weights cannot carry; ``differs`` what the two sides state differently.
    """

    kind: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    paired_by: str
    verdict: str
    folded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    differs: tuple[str, ...] = ()


@dataclass
class Report:
    """What a conversion did. ``nan`` counts the NaNs that were carried, by target tensor; ``notes`` are of it all."""

    source: str
    target: str
    source_framework: str
    target_framework: str
    layers: tuple[LayerReport, ...]
    plan: Plan
    carried: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    unfilled: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    elements: int = 0
    nan: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    written: bool = False

    @property
    def verdict(self) -> str:
        """``folded`` where any layer is, else ``exact``."""
        return FOLDED if any(layer.verdict == FOLDED for layer in self.layers) else EXACT

    def to_json(self) -> dict[str, Any]:
        """The report as JSON data; the plan is left to :meth:`weightport.plan.Plan.to_json`."""
        shown = {name: value for name, value in vars(self).items() if name not in {"plan", "layers"}}
        return {"verdict": self.verdict, "layers": [asdict(layer) for layer in self.layers], **shown}

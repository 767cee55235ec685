"""Reports: what a conversion did, layer by layer, and what the weights could not carry. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .checkpoint import Setting
from .coverage import Coverage
from .plan import EXACT, FOLDED, Plan

METADATA_KEY = "weightport"
"""Under which the settings that weights cannot carry stand, in formats that have a place for text."""


@dataclass(frozen=True)
class LayerReport:
    """One pair of layers.

    ``folded`` names the blocks that were computed, ``notes`` everything else worth a look. ``settings`` is what the
    source says that weights cannot carry; ``differs`` what the two sides state differently, and what to do about it.
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
    """What a conversion did. ``nan`` counts the NaNs that were carried, by target tensor; ``notes`` are of it all;
    ``coverage`` says how much of both models it reached."""

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
    coverage: Coverage = field(default_factory=Coverage)

    @property
    def verdict(self) -> str:
        """``folded`` where any layer is, else ``exact``."""
        return FOLDED if any(layer.verdict == FOLDED for layer in self.layers) else EXACT

    @property
    def disagreements(self) -> list[str]:
        """The settings that must agree between the two models and do not, one line each."""
        return [f"{' + '.join(layer.targets)}: {text}" for layer in self.layers for text in layer.differs]

    def to_json(self) -> dict[str, Any]:
        """The report as JSON data; the plan is left to :meth:`weightport.plan.Plan.to_json`."""
        shown = {name: value for name, value in vars(self).items() if name not in {"plan", "layers", "coverage"}}
        layers = [asdict(layer) for layer in self.layers]
        return {
            "verdict": self.verdict,
            "layers": layers,
            **shown,
            "coverage": asdict(self.coverage),
            "disagreements": self.disagreements,
        }

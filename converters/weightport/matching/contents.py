"""Pairing by values: a layer whose numbers are another's, whatever their order, is that layer.

Only what names, sizes and order leave open is read. It settles which initializer of a traced graph is which parameter
where the other side is the model that it was traced from; two untrained models have no values in common.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np

from ..checkpoint import Layer
from ..engine import strided
from ..kinds import Kind
from ..views import View
from .pairing import Ambiguity, Pairing
from .sides import Pair, Side

BY_VALUES = "equal values"


def settle_by_values(source: Side, target: Side, found: Pairing) -> None:
    """Pair the layers that were left open and hold the same numbers as exactly one layer of the other side."""
    left = []
    for ambiguity in found.ambiguities:
        pairs = _equal(source, target, ambiguity)
        for pair in pairs:
            source.free.pop(pair.sources[0].name, None)
            target.free.pop(pair.targets[0].name, None)
        found.pairs += pairs
        taken = {layer.name for pair in pairs for layer in pair.sources}, {p.targets[0].name for p in pairs}
        rest = (
            tuple(layer for layer in layers if layer.name not in names)
            for layers, names in zip((ambiguity.sources, ambiguity.targets), taken, strict=True)
        )
        sources, targets = rest
        if sources and targets:
            left.append(replace(ambiguity, sources=sources, targets=targets))
    found.ambiguities[:] = left
    found.pairs.sort(key=lambda pair: target.positions[pair.targets[0].name])


def _equal(source: Side, target: Side, ambiguity: Ambiguity) -> list[Pair]:
    ours, theirs = (
        _by_values(side, layers, ambiguity.kind)
        for side, layers in ((source, ambiguity.sources), (target, ambiguity.targets))
    )
    return [
        Pair(ambiguity.kind, (ours[values],), (theirs[values],), BY_VALUES)
        for values in ours
        if values and values in theirs
    ]


def _by_values(side: Side, layers: Sequence[Layer], kind: str) -> dict[str, Layer]:
    """The layers by what they hold, without those that hold the same as another."""
    values = {layer.name: _values(side, layer, kind) for layer in layers}
    counts = Counter(values.values())
    return {values[layer.name]: layer for layer in layers if counts[values[layer.name]] == 1}


def _values(side: Side, layer: Layer, kind: str) -> str:
    """A digest of a layer's numbers, the same in every layout: sorted, and rounded to single precision. Empty where
    they are all alike, as those of a layer that was never trained may be."""
    view = side.view(layer, kind)
    digest = sha256()
    varied = False
    for role in _telling_roles(view):
        parts = [
            strided(np.ascontiguousarray(side.checkpoint.tensors[layer.tensors[block.tensor]].read()), block.block)
            for block in view.blocks
            if block.role == role and block.tensor
        ]
        numbers = np.sort(np.abs(np.concatenate([part.astype(np.float32).ravel() for part in parts])))
        varied = varied or bool(numbers.size and numbers[0] != numbers[-1])
        digest.update(role.encode() + numbers.tobytes())
    return digest.hexdigest() if varied else ""


def _telling_roles(view: View) -> list[str]:
    """The roles that hold the same numbers in every layout: needed ones, which are neither summed nor left out."""
    kind: Kind = view.layout.kind
    needed = [role for role in view.roles if kind.roles[role].needed and kind.roles[role].sums is None]
    return needed if not view.layout.adds else [role for role in needed if role not in view.layout.adds]

"""Two checkpoints of any two frameworks, compared as mathematics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .checkpoint import Checkpoint, Layer
from .diagnosis import diagnose, exchanged_layers
from .differences import DIFFERING, SAME, Comparison, LayerComparison, RoleComparison
from .layer_comparison import EXACTLY, Tolerance, compare_roles, sizes_that_differ
from .layer_pairing import pair_layers
from .layer_pairs import LayerPair, PairedLayers
from .mapping import NameMap
from .opening import PathLike, open_checkpoint
from .outputs import Progress
from .setting_differences import settings_differences


def diff(
    a: Any,
    b: Any,
    *,
    mapping: PathLike | Mapping[str, str] | NameMap | None = None,
    rtol: float = 0.0,
    atol: float = 0.0,
    from_a: str | None = None,
    from_b: str | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare the weights of ``a`` and ``b``; each is a path or a live model of any framework.

    Weights are compared as the mathematics has them: gates by name, two biases as their sum where only the sum
    matters, run-time constants added, an absent bias as zero. Values are the same when they are equal; where one side
    sums or casts what the other has apart, when they agree to the precision of the coarser dtype; ``rtol`` and ``atol``
    allow more. NaN is the same as NaN in the same place. Memory is bounded by one layer's tensors.

    :param mapping: pairs of layer names, or a mapping file (see :mod:`weightport.mapping`) that has more to say.
    :param from_a: whose layouts ``a`` follows, where its file does not say; ``from_b`` likewise.

    Raises RefusedError where layers could be paired in more than one way, CheckpointError for a file that cannot be
    read, UsageError for a call that makes no sense."""
    side_a, side_b = open_checkpoint(a, from_a), open_checkpoint(b, from_b)
    return compare(side_a, side_b, pair_layers(side_a, side_b, mapping), Tolerance(rtol, atol), progress)


def compare(
    a: Checkpoint, b: Checkpoint, paired: PairedLayers, tolerance: Tolerance = EXACTLY, progress: Progress | None = None
) -> Comparison:
    """Compare two open checkpoints whose layers are paired."""
    layers = []
    for done, pair in enumerate(paired.pairs):
        if progress:
            progress(pair.a.name, done, len(paired.pairs))
        layers.append(compare_layer(pair, tolerance))
    layers = list(_diagnosed(paired.pairs, layers, tolerance))
    layers += [_alone(layer, a=True) for layer in paired.only_a] + [_alone(layer, a=False) for layer in paired.only_b]
    twins = _twins(a, b)
    layers += [_compare_tensor(a, b, name) for name in twins]
    return Comparison(
        a=a.contents.origin,
        b=b.contents.origin,
        framework_a=a.framework,
        framework_b=b.framework,
        layers=tuple(layers),
        uncovered_a={name: why for name, why in a.structure.unknown.items() if name not in twins},
        uncovered_b={name: why for name, why in b.structure.unknown.items() if name not in twins},
        skipped_a=a.structure.skipped,
        skipped_b=b.structure.skipped,
    )


def compare_layer(pair: LayerPair, tolerance: Tolerance = EXACTLY) -> LayerComparison:
    """Compare one pair of layers: weights, and the settings that both state."""
    problems = sizes_that_differ(pair)
    return LayerComparison(
        kind=pair.kind.name,
        a=pair.a.name,
        b=pair.b.name,
        paired_by=pair.how,
        roles=() if problems else compare_roles(pair, tolerance),
        problems=problems,
        notes=pair.notes,
        doubt=pair.doubt,
        settings=settings_differences(pair.a, pair.b),
    )


def _diagnosed(
    pairs: Sequence[LayerPair], layers: Sequence[LayerComparison], tolerance: Tolerance
) -> Iterator[LayerComparison]:
    """The layers, with what explains the difference of each one that differs."""
    differing = [index for index, layer in enumerate(layers) if layer.verdict == DIFFERING and not layer.problems]
    exchanged = exchanged_layers(pairs, differing, tolerance)
    for index, layer in enumerate(layers):
        if index not in differing:
            yield layer
        elif index in exchanged:
            yield replace(layer, diagnosis=(exchanged[index],))
        else:
            yield replace(layer, diagnosis=diagnose(pairs[index], tolerance))


def _alone(layer: Layer, *, a: bool) -> LayerComparison:
    """A layer without a partner."""
    name = layer.name or "(root)"
    return LayerComparison(" or ".join(layer.kinds), name if a else "", "" if a else name)


def _twins(a: Checkpoint, b: Checkpoint) -> list[str]:
    """The tensors without a layer that two checkpoints of one framework have under the same name and shape."""
    if a.framework != b.framework:
        return []
    both = [name for name in a.structure.unknown if name in b.structure.unknown]
    return [name for name in both if a.tensors[name].shape == b.tensors[name].shape]


def _compare_tensor(a: Checkpoint, b: Checkpoint, name: str) -> LayerComparison:
    """A tensor that no kind covers, value by value."""
    ours, theirs = a.tensors[name].read(), b.tensors[name].read()
    differing = int(np.sum(_unequal(ours, theirs)))
    note = f"{differing} of {ours.size} values differ; no kind says what they mean" if differing else ""
    role = RoleComparison("values", DIFFERING if differing else SAME, ours.size, note=note)
    return LayerComparison("no kind", name, name, "name", (role,))


def _unequal(ours: Any, theirs: Any) -> Any:
    return (ours != theirs) & ~((ours != ours) & (theirs != theirs))  # noqa: PLR0124

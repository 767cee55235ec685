"""Verdicts: what the weights, the layers' runs and the references say of each layer, and of each depth as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from ..checkpoint import Checkpoint
from ..differences import INCOMPLETE, SAME, Comparison, LayerComparison
from ..layer_pairs import PairedLayers
from .heat import heat_maps
from .measure import Difference
from .model_depth import Question, WatchedPair
from .reference_depth import compare_references
from .result import AGREES, DIFFERS, UNREACHED, Depth, LayerParity
from .tolerance import coarsest_dtype


def judged_layers(
    ours: Checkpoint,
    theirs: Checkpoint,
    paired: PairedLayers,
    comparison: Comparison | None,
    watched: Mapping[str, WatchedPair],
    model: Depth,
    question: Question,
) -> tuple[LayerParity, ...]:
    """Every pair in the first side's order, then the layers of either side that have no partner."""
    if comparison is None:
        return ()
    dtype = coarsest_dtype([ours, theirs])
    pairs = []
    for pair, weights in zip(paired.pairs, comparison.layers, strict=False):
        run = watched.get(pair.b.name)
        reference, why_not = compare_references(pair, dtype, question)
        difference, remarks = _counted_difference(run, model)
        layer = LayerParity(
            name=pair.a.name,
            other=pair.b.name,
            kind=pair.kind.name,
            verdict="",
            paired_by=pair.how,
            weights=weights.verdict,
            difference=difference,
            case=run.case.what if run else "",
            reference=reference,
            settings=tuple(map(str, weights.settings)),
            remarks=(*remarks, *([why_not] if why_not and difference is None else ())),
            heat=heat_maps(pair, run.run if run else None, weights_differ=weights.verdict != SAME),
        )
        pairs.append(_judged(layer, model))
    alone = [layer for layer in comparison.layers if not layer.paired_by]
    return (*pairs, *(_missing(layer) for layer in alone))


def _counted_difference(run: WatchedPair | None, model: Depth) -> tuple[Difference | None, tuple[str, ...]]:
    """The difference of a pair that ran, unless it cannot be held against the layer: the whole models agree, and the
    two were not given the same or do not give out the same form (a layer that is used twice, in another order), or
    they differ at steps that a mask hides and nowhere else."""
    if run is None:
        return None, ()
    comparable = run.run.same_form and run.run.takes_the_same(run.limits[0])
    if model.verdict == AGREES and not run.difference.agrees and not comparable:
        return None, ("used otherwise in the two models, which agree as a whole",)
    if model.verdict == AGREES and run.only_masked:
        return None, ("differs where steps are masked only, and the models agree as a whole",)
    return run.difference, ()


def _judged(layer: LayerParity, model: Depth) -> LayerParity:
    """The layer with its verdict. What the models' own run shows counts before the reference, which knows only what
    the files say; where the whole models agree, a reference alone convicts no layer."""
    if layer.difference is not None:
        agrees = layer.difference.agrees
    elif layer.reference is not None and (layer.reference.agrees or model.verdict != AGREES):
        agrees = layer.reference.agrees
    else:
        return replace(layer, verdict=UNREACHED)
    return replace(layer, verdict=AGREES if agrees else DIFFERS)


def _missing(layer: LayerComparison) -> LayerParity:
    side = "B" if layer.a else "A"
    remark = f"missing in {side}; if its work is done elsewhere there, allow it by name"
    return LayerParity(layer.a, layer.b, layer.kind, DIFFERS, weights=layer.verdict, remarks=(remark,))


def is_allowed(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def weights_depth(comparison: Comparison | None, problem: str, allow: Sequence[str]) -> Depth:
    if comparison is None:
        return Depth("weights", UNREACHED, problem)
    bad = [layer for layer in comparison.layers if layer.verdict != SAME]
    counted = [layer for layer in bad if not is_allowed(layer.a or layer.b, allow)]
    if counted:
        return Depth("weights", DIFFERS, "in " + ", ".join(layer.name or "(root)" for layer in counted))
    if comparison.verdict == INCOMPLETE:
        names = [*comparison.uncovered_a, *comparison.uncovered_b]
        listed = ", ".join(names[:4]) + (" ..." if len(names) > 4 else "")
        return Depth("weights", UNREACHED, f"in no layer that can be compared: {listed}" if names else "no layers")
    return Depth("weights", AGREES, f"but for {', '.join(layer.name for layer in bad)}, as allowed" if bad else "")


def layers_depth(layers: Sequence[LayerParity], problem: str, *, asked: bool) -> Depth:
    if not asked:
        return Depth("layers", UNREACHED, "not asked for")
    reached = [layer for layer in layers if layer.verdict != UNREACHED]
    if problem or not reached:
        return Depth("layers", UNREACHED, problem or "no pair of layers could be run")
    bad = [layer for layer in reached if layer.verdict == DIFFERS]
    if bad:
        return Depth("layers", DIFFERS, f"{len(bad)} of {len(layers)}")
    live = sum(layer.difference is not None for layer in reached)
    how = [f"{live} side by side in the running models"] if live else []
    how += [f"{len(reached) - live} by the NumPy reference"] if live < len(reached) else []
    how += [f"{len(layers) - len(reached)} not reached"] if len(reached) < len(layers) else []
    return Depth("layers", AGREES, ", ".join(how))

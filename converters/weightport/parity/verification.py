"""``weightport.verify``: two models at every depth that can be reached, and one verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checkpoint import Checkpoint
from ..comparison import compare
from ..differences import Comparison
from ..errors import LayoutError, RefusedError
from ..layer_comparison import Tolerance
from ..layer_pairing import pair_layers
from ..layer_pairs import LayerPair, PairedLayers
from ..mapping import NameMap
from ..opening import PathLike, open_checkpoint
from .causes import MASKED, causes
from .factories import is_source, model_of_source
from .inputs import LENGTHS
from .model_depth import ModelRuns, Question, WatchedPair, compare_outputs, run_both, watch_layers
from .orders import AS_IS
from .result import AGREES, DIFFERS, UNREACHED, Depth, LayerParity, OutputParity, Parity
from .runners import UnreachableError, runners_of
from .verdicts import is_allowed, judged_layers, layers_depth, weights_depth


def verify(
    a: Any,
    b: Any,
    inputs: Any = None,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    lengths: Sequence[int] = LENGTHS,
    layers: bool = True,
    mapping: PathLike | Mapping[str, str] | NameMap | None = None,
    allow: Iterable[str] = (),
    from_a: str | None = None,
    from_b: str | None = None,
) -> Parity:
    """Whether ``a`` and ``b`` compute the same; each is a file or a live model of any framework.
    A file of PyTorch source (``.py``) is a program, and is run: its ``load()`` gives the model.

    Three depths, each where it can be reached: the weights as mathematics (no framework needed), the layers (side by
    side while both models run, and by the NumPy references, which need no framework), the whole models.

    :param inputs: what both models are run on: an array, several in a list, arrays by input name, or an ``.npy`` or
        ``.npz`` file, in the order of axes that ``a`` wants. By default random inputs that fit the models' own specs.
    :param rtol: and ``atol``: what may differ, |a - b| <= atol + rtol * max|a|. By default what rounding can do, which
        is measured for this model (:mod:`weightport.parity.tolerance`).
    :param seed: of the first random inputs.
    :param lengths: what free dimensions become (steps of a sequence; places of an image beyond what kernels reach).
    :param layers: compare the layers, too.
    :param mapping: pairs of layer names, as :func:`weightport.convert` takes them.
    :param allow: glob patterns of layers that may be missing on one side or hold other weights, where the whole models
        compute the same all the same (a batch norm that an exporter folded into the convolution before it).
    :param from_a: and ``from_b``: whose layouts a file follows that does not say.

    Raises UsageError for a call that makes no sense and CheckpointError for a file that cannot be read."""
    question = Question(inputs, rtol, atol, seed, layers, tuple(lengths))
    names = [str(model) if is_source(model) else "" for model in (a, b)]
    a, b = (model_of_source(Path(model)) if is_source(model) else model for model in (a, b))
    ours, theirs = open_checkpoint(a, from_a), open_checkpoint(b, from_b)
    paired, problem = _paired(ours, theirs, mapping)
    comparison = compare(ours, theirs, paired, Tolerance(rtol or 0.0, atol or 0.0)) if not problem else None
    outputs, runs, model = _model_depth(a, b, (ours, theirs), paired, question)
    watched = watch_layers(runs, paired.pairs, question) if runs and layers else {}
    patterns = tuple(allow)
    found = judged_layers(ours, theirs, paired, comparison, watched, model, question) if layers else ()
    counted = tuple(layer for layer in found if not is_allowed(layer.name or layer.other, patterns))
    first = next((layer for layer in counted if layer.verdict == DIFFERS), None)
    return Parity(
        one=names[0] or ours.contents.origin,
        other=names[1] or theirs.contents.origin,
        frameworks=(ours.framework, theirs.framework),
        depths=(
            weights_depth(comparison, problem, patterns),
            layers_depth(counted, problem, asked=layers),
            model,
        ),
        outputs=outputs,
        layers=found,
        first=first.name or first.other if first else "",
        causes=(*(runs.warnings if runs else ()), *_causes(first, paired, comparison, watched, found)),
        cases=tuple(case.what for case in runs.cases) if runs else (),
        inputs=_turns(runs) if runs else {},
        tolerance=_tolerance(runs, question) if runs else "",
    )


def _paired(
    ours: Checkpoint, theirs: Checkpoint, mapping: PathLike | Mapping[str, str] | NameMap | None
) -> tuple[PairedLayers, str]:
    """The pairs in the first side's order, or none and why."""
    try:
        paired = pair_layers(ours, theirs, mapping)
    except (RefusedError, LayoutError) as error:
        return PairedLayers((), (), ()), str(error)
    order = {layer.name: index for index, layer in enumerate(ours.layers)}
    pairs = sorted(paired.pairs, key=lambda pair: order[pair.a.layers[0].name])
    return PairedLayers(tuple(pairs), paired.only_a, paired.only_b), ""


def _model_depth(
    a: Any, b: Any, checkpoints: tuple[Checkpoint, Checkpoint], paired: PairedLayers, question: Question
) -> tuple[tuple[OutputParity, ...], ModelRuns | None, Depth]:
    try:
        one, other = runners_of((a, b), checkpoints)
        runs = run_both(one, other, paired.pairs, question)
    except UnreachableError as error:
        return (), None, Depth("model", UNREACHED, str(error))
    outputs, wrong = compare_outputs(runs, question)
    bad = [output for output in outputs if not output.difference.agrees]
    problems = [f"{output.name}: {output.difference.problem}" for output in bad if output.difference.problem]
    reason = wrong or "; ".join(problems) or (f"{len(bad)} of {len(outputs)} outputs" if bad else "")
    return outputs, runs, Depth("model", DIFFERS if wrong or bad else AGREES, reason)


def _causes(
    first: LayerParity | None,
    paired: PairedLayers,
    comparison: Comparison | None,
    watched: Mapping[str, WatchedPair],
    layers: Sequence[LayerParity],
) -> tuple[str, ...]:
    if first is None or comparison is None:
        return ()
    if not first.paired_by:
        return tuple(f"{first.name or first.other}: {remark}" for remark in first.remarks)
    index = next(index for index, pair in enumerate(paired.pairs) if pair.a.name == first.name)
    pair: LayerPair = paired.pairs[index]
    run = watched.get(pair.b.name)
    before = [layer.name for layer in layers[:index] if layer.verdict == AGREES]
    if run is not None and run.only_masked:
        return (f"{first.name}: {MASKED}",)
    limits = run.limits if run else (0.0, 0.0)
    return causes(pair, comparison.layers[index], run.run if run else None, limits, before[-1] if before else "")


def _turns(runs: ModelRuns) -> dict[str, str]:
    return {f"input {index}": order.name for index, order in enumerate(runs.orders) if order is not AS_IS}


def _tolerance(runs: ModelRuns, question: Question) -> str:
    if question.measures_rounding:
        return f"what rounding in {runs.dtype} does to this model, measured"
    return f"given: atol {question.atol or 0:g}, rtol {question.rtol or 0:g}"

"""``weightport.verify``: two models at every depth that can be reached, and one verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..checkpoint import Checkpoint
from ..errors import UsageError, WeightportError
from ..mapping import NameMap, name_map
from ..match import Pair, match, sides
from ..opening import PathLike, open_checkpoint
from .model_depth import ModelRuns, Question, compare_layers, compare_outputs, run_both
from .orders import AS_IS
from .result import AGREES, DIFFERS, UNREACHED, Depth, LayerParity, OutputParity, Parity
from .runners import UnreachableError, runner_of


def verify(
    a: Any,
    b: Any,
    inputs: Any = None,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    layers: bool = True,
    mapping: PathLike | Mapping[str, str] | None = None,
) -> Parity:
    """Whether ``a`` and ``b`` compute the same; each is a file or a live model of any framework.

    Three depths, each where it can be reached: the weights as mathematics, the layers, the whole models.

    :param inputs: what both models are run on: an array, several in a list, arrays by input name, or an ``.npy`` or
        ``.npz`` file, in the order of axes that ``a`` wants. By default random inputs that fit the models' own specs.
    :param rtol: and ``atol``: what may differ, |a - b| <= atol + rtol * max|a|. By default what rounding can do, which
        is measured for this model (:mod:`weightport.parity.tolerance`).
    :param seed: of the first random inputs.
    :param layers: compare the layers, too, while the models run.
    :param mapping: pairs of layer names, as :func:`weightport.convert` takes them.

    Raises UsageError for a call that makes no sense and CheckpointError for a file that cannot be read."""
    question = Question(inputs, rtol, atol, seed, layers)
    ours, theirs = open_checkpoint(a), open_checkpoint(b)
    pairs, missing, problem = _pairs(ours, theirs, name_map(mapping))
    try:
        runs = run_both(runner_of(a, ours), runner_of(b, theirs), pairs, question)
    except UnreachableError as error:
        return _unreached(ours, theirs, missing, str(error))
    outputs, wrong = compare_outputs(runs, question)
    found = compare_layers(runs, pairs, question) if layers else ()
    return Parity(
        one=ours.contents.origin,
        other=theirs.contents.origin,
        frameworks=(ours.framework, theirs.framework),
        depths=(_layer_depth(found, problem, asked=layers), _model_depth(outputs, wrong)),
        outputs=outputs,
        layers=found,
        first=_first(found),
        causes=runs.warnings,
        missing=missing,
        cases=tuple(case.what for case in runs.cases),
        inputs=_turns(runs),
        tolerance=_tolerance(runs, question),
    )


def _pairs(ours: Checkpoint, theirs: Checkpoint, mapping: NameMap) -> tuple[list[Pair], tuple[str, ...], str]:
    """The pairs in the first side's order, the layers without a partner, and why they could not be paired."""
    source, target = sides(ours, theirs, mapping)
    try:
        pairs = match(source, target, mapping)
    except UsageError:
        raise
    except WeightportError as error:
        return [], (), str(error)
    order = {layer.name: index for index, layer in enumerate(ours.layers)}
    missing = [
        f"{layer.name or '(root)'} ({' or '.join(layer.kinds)}) of {side.checkpoint.contents.origin} has no partner"
        for side in (source, target)
        for layer in side.free.values()
    ]
    return sorted(pairs, key=lambda pair: order[pair.sources[0].name]), tuple(missing), ""


def _layer_depth(layers: tuple[LayerParity, ...], problem: str, *, asked: bool) -> Depth:
    reached = [layer for layer in layers if layer.difference is not None]
    if not asked:
        return Depth("layers", UNREACHED, "layers=False")
    if problem or not reached:
        return Depth("layers", UNREACHED, problem or "no pair of layers could be watched while the models ran")
    bad = [layer for layer in reached if layer.verdict == DIFFERS]
    return Depth("layers", DIFFERS if bad else AGREES, f"{len(bad)} of {len(reached)} differ" if bad else "")


def _model_depth(outputs: tuple[OutputParity, ...], wrong: str) -> Depth:
    if wrong:
        return Depth("model", DIFFERS, wrong)
    bad = [output for output in outputs if not output.difference.agrees]
    problems = [f"{output.name}: {output.difference.problem}" for output in bad if output.difference.problem]
    return Depth("model", DIFFERS if bad else AGREES, "; ".join(problems))


def _first(layers: tuple[LayerParity, ...]) -> str:
    return next((layer.name for layer in layers if layer.verdict == DIFFERS), "")


def _turns(runs: ModelRuns) -> dict[str, str]:
    names = [str(index) for index in range(len(runs.orders))]
    return {name: order.name for name, order in zip(names, runs.orders, strict=True) if order is not AS_IS}


def _tolerance(runs: ModelRuns, question: Question) -> str:
    if question.measures_rounding:
        return f"what rounding in {runs.dtype} does to this model, measured"
    return f"given: atol {question.atol or 0:g}, rtol {question.rtol or 0:g}"


def _unreached(ours: Checkpoint, theirs: Checkpoint, missing: tuple[str, ...], reason: str) -> Parity:
    return Parity(
        one=ours.contents.origin,
        other=theirs.contents.origin,
        frameworks=(ours.framework, theirs.framework),
        depths=(Depth("layers", UNREACHED, reason), Depth("model", UNREACHED, reason)),
        missing=missing,
    )

"""What a conversion as a whole did: its settled plan, its report, and whether every tensor has its place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from math import prod

from .checkpoint import Array, Checkpoint, DType
from .conversion_job import Job
from .coverage import coverage_of
from .engine import settle
from .errors import RefusedError
from .mapping import NameMap
from .paired_layers import PairedLayer
from .plan import LayerPlan, Plan, TensorPlan, carried
from .planner import is_floating
from .report import METADATA_KEY, LayerReport, Report
from .tying import tied, ties_of, with_ties


def same_tensors(job: Job, layers: Sequence[PairedLayer], dtype: DType | None) -> list[TensorPlan]:
    """Between two checkpoints of one framework, what no layer covers is carried where name and shape agree."""
    goal = job.source if job.identity else job.template
    if goal is None or job.source.framework != job.framework.NAME:
        return []
    planned = {tensor.name for layer in layers for tensor in layer.plan.tensors}
    names: Iterable[str] = job.source.tensors if job.identity else job.source.structure.unknown
    free = [name for name in names if name not in planned and name in goal.tensors]
    tensors = [job.source.tensors[name] for name in free]
    same = [tensor for tensor in tensors if goal.tensors[tensor.name].shape == tensor.shape]
    return [carried(tensor.name, tensor.shape, _cast(tensor.dtype, dtype)) for tensor in same]


def _cast(found: DType, wanted: DType | None) -> DType:
    return wanted if wanted is not None and is_floating(found) else found


def report_of(job: Job, layers: Sequence[PairedLayer], same: Sequence[TensorPlan]) -> Report:
    """The report of a conversion that is not written yet; its plan is settled by the source's values.

    Raises RefusedError where a value that the target has no place for is not what would make it superfluous."""
    read = partial(_read, job.source)
    plan = tied(settle(Plan(tuple(layer.plan for layer in layers)), read), ties_of(job.template), read)
    filled = {*(tensor.name for tensor in plan.tensors), *(tensor.name for tensor in same)}
    used = {name for layer in layers for source in layer.pair.sources for name in source.tensors.values()}
    used = with_ties(used | {tensor.name for tensor in same}, ties_of(job.source))
    skipped = job.source.structure.skipped
    goal = job.template
    unfilled = [n for n in goal.tensors if n not in filled and n not in goal.structure.skipped] if goal else []
    unused = [name for name in job.source.tensors if name not in used and name not in skipped]
    coverage = coverage_of(
        plan.tensors,
        [tensor.shape for tensor in same],
        job.source.tensors,
        goal.tensors if goal else {},
        (unused, skipped, unfilled),
    )
    return Report(
        source=job.source.contents.origin,
        target=job.target_name,
        source_framework=job.source.framework,
        target_framework=job.framework.NAME,
        layers=tuple(_settled(layer.report, settled) for layer, settled in zip(layers, plan.layers, strict=True)),
        plan=plan,
        carried=tuple(sorted(filled)),
        unused=tuple(unused),
        unfilled=tuple(unfilled),
        skipped=skipped,
        elements=sum(prod(shape) for shape in [*(t.shape for t in plan.tensors), *(t.shape for t in same)]),
        coverage=coverage,
    )


def _read(checkpoint: Checkpoint, name: str) -> Array:
    return checkpoint.tensors[name].read()


def _settled(report: LayerReport, plan: LayerPlan) -> LayerReport:
    folded = [move.what for tensor in plan.tensors for move in tensor.moves if move.folds]
    return replace(report, verdict=plan.verdict, folded=tuple(folded))


def refuse_incomplete(
    report: Report, job: Job, names: NameMap, allow_unused: tuple[str, ...], allow_missing: tuple[str, ...]
) -> None:
    """Raise RefusedError listing every tensor that is unused or unfilled and that nobody allowed to be."""
    reasons: Mapping[str, str] = job.source.structure.unknown
    ignored = _ignored(job.source, names), _ignored(job.template, names)
    problems = [
        f"unused: {name}" + (f" ({reasons[name]})" if name in reasons else "")
        for name in report.unused
        if name not in ignored[0] and not matches_any(name, allow_unused)
    ]
    problems += [
        f"unfilled: {name}"
        for name in report.unfilled
        if name not in ignored[1] and not matches_any(name, allow_missing)
    ]
    if problems:
        raise RefusedError(
            f"{report.source} and {report.target} do not have the same tensors; "
            "--allow-unused and --allow-missing take patterns of those that do not matter",
            problems,
        )


def _ignored(checkpoint: Checkpoint | None, names: NameMap) -> set[str]:
    """The tensors that the mapping file says stay behind, or whose layer it says so of."""
    if checkpoint is None or not names.ignore:
        return set()
    layers = [layer for layer in checkpoint.layers if names.ignores(layer.name)]
    tensors = {name for name in checkpoint.tensors if names.ignores(name)}
    return tensors | {name for layer in layers for name in layer.tensors.values()}


def metadata_of(report: Report) -> dict[str, str]:
    """What the weights cannot carry, for formats that have a place for text."""
    layers = {
        name: {"kind": layer.kind, "settings": dict(layer.settings)}
        for layer in report.layers
        for name in layer.targets
    }
    return {METADATA_KEY: json.dumps({"source": report.source_framework, "layers": layers})} if layers else {}


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Whether the name fits one of these glob patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)

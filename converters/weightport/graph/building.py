"""A model that runs on the other side, built from the graph of the source: read, write, and say what was done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from math import prod
from pathlib import Path
from typing import TypeAlias

from ..checkpoint import Checkpoint, Setting
from ..coverage import Coverage, share_of
from ..errors import CheckpointError, RefusedError
from ..plan import EXACT, LayerPlan, Plan
from ..report import METADATA_KEY, LayerReport, Report
from ..staging import staged
from .operations import Graph, Operation

Reader: TypeAlias = Callable[[Checkpoint], Graph]


@dataclass(frozen=True)
class Choices:
    """What a caller may choose of a model that is built; each belongs to one target.

    ``opset`` is the version of ONNX' operators; ``channels_last`` keeps every value of PyTorch source as Keras has it.
    """

    opset: int | None = None
    channels_last: bool = False

    @property
    def made(self) -> tuple[str, ...]:
        """The names of those that are not left as they are by default."""
        return tuple(one.name for one in fields(self) if getattr(self, one.name) != one.default)


@dataclass(frozen=True)
class Written:
    """What a writer wrote: the plans of the layers that went through one, and the names of the tensors."""

    plans: tuple[LayerPlan, ...]
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """What is to be written. ``path`` is None for a dry run: everything is done but the writing."""

    graph: Graph
    checkpoint: Checkpoint
    path: Path | None
    choices: Choices
    metadata: Mapping[str, str]


Writer: TypeAlias = Callable[[Request], Written]


def build_model(
    source: Checkpoint,
    target: Path,
    frameworks: tuple[str, str],
    read: Reader,
    write: Writer,
    *,
    choices: Choices,
    dry_run: bool,
    overwrite: bool,
    may_stay: Callable[[str], bool],
) -> Report:
    """Write the source's whole model to ``target``; ``frameworks`` are those of the source and of the target.

    Raises RefusedError where the source does not say what it computes, or the target cannot express it."""
    with _told(source.contents.origin):
        graph = read(source)
    _refuse_unused(graph, source, may_stay)
    metadata = _metadata(graph, frameworks[0])
    if dry_run:
        with _told(source.contents.origin):
            written = write(Request(graph, source, None, choices, metadata))
    else:
        with staged(target, overwrite=overwrite) as path, _told(source.contents.origin):
            written = write(Request(graph, source, path, choices, metadata))
    report = _report(graph, source, str(target), frameworks, written)
    report.written = not dry_run
    return report


@contextmanager
def _told(origin: str) -> Iterator[None]:
    """A config may say anything: where a reader stumbles over it, the file is not as it should be."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
        raise CheckpointError(
            f"{origin}: its description of the model is damaged, or of a version that is not known ({reason}; "
            "--debug shows more)"
        ) from error


def _report(graph: Graph, source: Checkpoint, target: str, frameworks: tuple[str, str], written: Written) -> Report:
    used = {name for operation in graph.operations for name in operation.weights.values()}
    unused = tuple(_unused(graph, source))
    skipped = {**source.structure.skipped, **dict.fromkeys(graph.bookkeeping, "bookkeeping")}
    plans = {plan.sources[0]: plan for plan in written.plans}
    layers = {one.layer: one for one in graph.operations if one.weights}
    return Report(
        source=source.contents.origin,
        target=target,
        source_framework=frameworks[0],
        target_framework=frameworks[1],
        layers=tuple(_layer_report(operation, plans.get(name)) for name, operation in layers.items()),
        plan=Plan(tuple(plans.values())),
        carried=written.tensors,
        unused=unused,
        skipped=skipped,
        elements=sum(prod(source.tensors[name].shape) for name in used),
        coverage=Coverage(
            carried=share_of(source.tensors, used),
            unused=share_of(source.tensors, unused),
            skipped=share_of(source.tensors, skipped),
        ),
        notes=graph.notes,
    )


def _layer_report(operation: Operation, plan: LayerPlan | None) -> LayerReport:
    folds = [move.what for tensor in plan.tensors for move in tensor.moves if move.folds] if plan else []
    return LayerReport(
        kind=operation.kind,
        sources=(operation.layer,),
        targets=(operation.layer,),
        paired_by="graph",
        verdict=plan.verdict if plan else EXACT,
        folded=tuple(folds),
        notes=plan.notes if plan else (),
    )


def _plain(operation: Operation) -> dict[str, Setting]:
    """Those of the operation's settings that are numbers and words."""
    return {key: value for key, value in operation.settings.items() if isinstance(value, bool | int | float | str)}


def _metadata(graph: Graph, framework: str) -> dict[str, str]:
    """Where the model came from, for formats that have a place for text."""
    layers = {one.layer: {"kind": one.kind, "settings": _plain(one)} for one in graph.operations if one.weights}
    return {METADATA_KEY: json.dumps({"source": framework, "layers": layers})}


def _unused(graph: Graph, source: Checkpoint) -> list[str]:
    """The weights that no operation takes. What counts training steps or keeps states between calls is none."""
    used = {name for operation in graph.operations for name in operation.weights.values()}
    known = {*used, *source.structure.skipped, *graph.bookkeeping}
    return [name for name in source.tensors if name not in known]


def _refuse_unused(graph: Graph, source: Checkpoint, may_stay: Callable[[str], bool]) -> None:
    problems = [f"unused: {name}" for name in _unused(graph, source) if not may_stay(name)]
    if problems:
        raise RefusedError(
            f"{source.contents.origin} has weights that its model does not use; --allow-unused takes patterns of those "
            "that do not matter",
            problems,
        )

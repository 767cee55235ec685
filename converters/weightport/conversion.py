"""The conversion: read, pair, plan, settle, write. File or live model in, file or live model out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .checkpoint import DType
from .completeness import matches_any, metadata_of, refuse_incomplete, report_of, same_tensors
from .conversion_job import Job
from .errors import UsageError
from .frameworks import framework_named
from .graph.building import Choices, build_model
from .mapping import NameMap, name_map
from .opening import PathLike
from .outputs import Progress, outputs
from .paired_layers import paired_layers
from .report import Report

_CHOSEN_FOR = {
    "opset": "an opset is chosen for an ONNX model that is built",
    "channels_last": "the place of the channels is chosen for PyTorch source (.py) that is built from a whole model",
}


def convert(
    source: Any,
    target: Any,
    *,
    into: Any = None,
    mapping: PathLike | Mapping[str, str] | NameMap | None = None,
    from_framework: str | None = None,
    to_framework: str | None = None,
    architecture: PathLike | None = None,
    dtype: str | None = None,
    shard_size: int | str | None = None,
    allow: Iterable[str] = (),
    allow_unused: Iterable[str] = (),
    allow_missing: Iterable[str] = (),
    dry_run: bool = False,
    overwrite: bool = False,
    opset: int | None = None,
    channels_last: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Convert the weights of ``source`` into ``target``; each is a path or a live model.

    Without a template, a target that is a model and no list of weights (ONNX) is built from what the source says of
    its own model (Keras).

    :param into: a template: a file (or live model) that has the target's structure, names and format.
    :param mapping: pairs of layer names, or a mapping file (see :mod:`weightport.mapping`) that has more to say.
    :param architecture: a file with the model's config, for Keras weights that have none (``model.to_json()``).
    :param dtype: what floating-point tensors become; by default each keeps its own.
    :param shard_size: the most bytes of tensors in one shard (``"5GB"``), where the target is an index of shards.
    :param allow: settings that the target's framework cannot run and that are carried all the same.
    :param allow_unused: glob patterns of source tensors that may stay behind.
    :param allow_missing: glob patterns of target tensors that may keep the template's values.
    :param dry_run: plan and report, and write nothing.
    :param overwrite: replace an existing target.
    :param opset: the version of ONNX' operators in a model that is built.
    :param channels_last: keep every value of a model that is built as PyTorch source in the order that Keras has it.
        Without it convolutions and what is between them run with the channels first, and values are turned where they
        come from elsewhere or go there. The model takes and gives the same arrays as in Keras either way.

    Raises RefusedError, listing every reason, where the result would be wrong or incomplete; nothing is written
    then. Raises CheckpointError for a file that cannot be read and UsageError for a call that makes no sense."""
    job = Job.prepare(
        source, target, into, from_framework, to_framework, architecture, overwrite=overwrite, dry_run=dry_run
    )
    choices = _choices(job, opset, channels_last)
    if job.is_built:
        return _built(job, choices, dtype, tuple(allow_unused), dry_run=dry_run, overwrite=overwrite)
    names = name_map(mapping)
    wanted, shard_bytes = _dtype(dtype), job.shard_bytes(shard_size)
    layers = list(paired_layers(job, names, tuple(allow), wanted))
    same = same_tensors(job, layers, wanted)
    report = report_of(job, layers, same)
    refuse_incomplete(report, job, names, tuple(allow_unused), tuple(allow_missing))
    if not dry_run:
        tensors = outputs(job.source, report, [*report.plan.tensors, *same], progress)
        job.write(tensors, metadata_of(report), shard_bytes, overwrite=overwrite)
        report.written = True
    return report


def _choices(job: Job, opset: int | None, channels_last: bool) -> Choices:
    """What was chosen of a model that is built. Raises UsageError where the target is none that has the choice."""
    choices = Choices(opset, channels_last)
    open_to = job.framework.CHOICES if job.is_built else ()
    for name in choices.made:
        if name not in open_to:
            raise UsageError(f"{_CHOSEN_FOR[name]}; {job.target_name} is not")
    return choices


def _built(
    job: Job, choices: Choices, dtype: str | None, allow_unused: tuple[str, ...], *, dry_run: bool, overwrite: bool
) -> Report:
    """Build the target's model from the source's."""
    if dtype is not None:
        raise UsageError("a model that is built keeps the dtypes of its source; leave out 'dtype'")
    read, write = framework_named(job.source.framework).graph_reader(), job.framework.graph_writer()
    if read is None or write is None:
        raise UsageError(f"{job.target_name} cannot be built from {job.source.framework}")
    return build_model(
        job.source,
        job.target,
        (job.source.framework, job.framework.NAME),
        read,
        write,
        choices=choices,
        dry_run=dry_run,
        overwrite=overwrite,
        may_stay=lambda name: matches_any(name, allow_unused),
    )


def _dtype(name: str | None) -> DType | None:
    if name is None:
        return None
    import ml_dtypes

    try:
        return np.dtype(getattr(ml_dtypes, name, name))
    except TypeError:
        raise UsageError(
            f"no dtype {name!r}; known are float32, float16, float64, bfloat16, float8_e4m3fn ..."
        ) from None

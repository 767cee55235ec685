"""The conversion: read, pair, plan, settle, write. File or live model in, file or live model out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoint import Array, Checkpoint, DType, Layer, Output, Setting
from .coverage import coverage_of
from .engine import settle
from .errors import RefusedError, UsageError
from .flattening import flattened_view_for
from .formats import Format, format_of_suffix
from .frameworks import Framework, framework_named, framework_of_model
from .keras_upgrade import ALLOWED, Upgrade, upgrade
from .layer_pairs import LayerSide
from .layouts import Layout, layout_named, layouts_of
from .mapping import NameMap, name_map
from .match import Pair, Side, match, sides
from .matching.feature_maps import agree_on_maps, maps_of
from .opening import PathLike, open_checkpoint
from .outputs import Progress, SameTensor, outputs
from .plan import LayerPlan, Plan
from .planner import Part, is_floating, plan_layer
from .report import LayerReport, Report
from .setting_differences import settings_differences
from .settings import apart_settings, unsupported
from .shards import byte_size, sharded_format
from .staging import refuse_existing, staged
from .translation import target_roles
from .tying import tied, ties_of, with_ties

METADATA_KEY = "weightport"


def convert(
    source: Any,
    target: Any,
    *,
    into: Any = None,
    mapping: PathLike | Mapping[str, str] | NameMap | None = None,
    from_framework: str | None = None,
    to_framework: str | None = None,
    dtype: str | None = None,
    shard_size: int | str | None = None,
    allow: Iterable[str] = (),
    allow_unused: Iterable[str] = (),
    allow_missing: Iterable[str] = (),
    dry_run: bool = False,
    overwrite: bool = False,
    opset: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Convert the weights of ``source`` into ``target``; each is a path or a live model.

    Without a template, a target that is a model and no list of weights (ONNX) is built from what the source says of
    its own model (Keras).

    :param into: a template: a file (or live model) that has the target's structure, names and format.
    :param mapping: pairs of layer names, or a mapping file (see :mod:`weightport.mapping`) that has more to say.
    :param dtype: what floating-point tensors become; by default each keeps its own.
    :param shard_size: the most bytes of tensors in one shard (``"5GB"``), where the target is an index of shards.
    :param allow: settings that the target's framework cannot run and that are carried all the same.
    :param allow_unused: glob patterns of source tensors that may stay behind.
    :param allow_missing: glob patterns of target tensors that may keep the template's values.
    :param dry_run: plan and report, and write nothing.
    :param overwrite: replace an existing target.
    :param opset: the version of ONNX' operators in a model that is built.

    Raises RefusedError, listing every reason, where the result would be wrong or incomplete; nothing is written
    then. Raises CheckpointError for a file that cannot be read and UsageError for a call that makes no sense."""
    job = _Job.prepare(source, target, into, from_framework, to_framework, overwrite=overwrite, dry_run=dry_run)
    if job.is_built:
        return _built(job, opset, dtype, tuple(allow_unused), dry_run=dry_run, overwrite=overwrite)
    if opset is not None:
        raise UsageError(f"an opset is chosen for an ONNX model that is built; {job.target_name} is not")
    names = name_map(mapping)
    wanted, shard_bytes = _dtype(dtype), job.shard_bytes(shard_size)
    layers = list(_paired_layers(job, names, tuple(allow), wanted))
    same = _same_tensors(job, layers, wanted)
    report = _report(job, layers, same)
    _refuse_incomplete(report, job, names, tuple(allow_unused), tuple(allow_missing))
    if not dry_run:
        tensors = outputs(job.source, report, [*report.plan.tensors, *same], progress)
        job.write(tensors, _metadata(report), shard_bytes, overwrite=overwrite)
        report.written = True
    return report


@dataclass(frozen=True)
class _Job:
    """The two ends of a conversion. ``template`` has the target's structure; without one it is made anew, as
    ``upgraded`` says where the source is a model of an older version of the framework."""

    source: Checkpoint
    target: Any
    framework: Framework
    format: Format | None
    template: Checkpoint | None
    identity: bool
    upgraded: Upgrade | None = None

    @classmethod
    def prepare(
        cls,
        source: Any,
        target: Any,
        into: Any,
        from_framework: str | None,
        to_framework: str | None,
        *,
        overwrite: bool,
        dry_run: bool,
    ) -> _Job:
        if not isinstance(target, str | os.PathLike):
            if into is not None:
                raise UsageError("a live model is its own template; leave out 'into'")
            checkpoint = open_checkpoint(source, from_framework)
            return cls(checkpoint, target, framework_of_model(target), None, open_checkpoint(target), identity=False)
        path = Path(target)
        file_format = format_of_suffix(path)
        framework = framework_named(to_framework or file_format.FRAMEWORK)
        if not dry_run:
            refuse_existing(path, overwrite=overwrite)
        checkpoint = open_checkpoint(source, from_framework)
        template = open_checkpoint(into, to_framework) if into is not None else None
        upgraded = upgrade(checkpoint, file_format.NAME) if template is None else None
        identity = template is None and checkpoint.framework == framework.NAME and not upgraded
        if template is not None and template.framework != framework.NAME:
            raise UsageError(
                f"{path.name} is a {framework.NAME} file and the template {template.contents.origin} is of "
                f"{template.framework}; name a target with the template's suffix"
            )
        job = cls(checkpoint, path, framework, file_format, template, identity, upgraded)
        is_made = identity or upgraded or framework.NAMES_FROM_SOURCE or job.is_built
        if template is None and not is_made:
            raise RefusedError(
                f"{checkpoint.contents.origin}: {checkpoint.framework} weights do not say how the {framework.NAME} "
                f"model is built; give a {framework.NAME} file that does with --into TEMPLATE"
            )
        return job

    @property
    def is_built(self) -> bool:
        """Whether the target is a whole model that the source's own model tells how to build."""
        if self.format is None or self.template is not None or self.identity:
            return False
        return bool(framework_named(self.source.framework).graph_reader() and self.framework.graph_writer())

    @property
    def target_name(self) -> str:
        return str(self.target) if self.format else f"live {type(self.target).__name__}"

    def shard_bytes(self, size: int | str | None) -> int | None:
        """The size of a shard. Raises UsageError where the target cannot have any."""
        if size is not None:
            sharded_format(self.format, Path(self.target_name))
        return None if size is None else byte_size(size)

    def write(
        self, outputs: Sequence[Output], metadata: Mapping[str, str], shard_bytes: int | None, *, overwrite: bool
    ) -> None:
        if self.format is None:
            self.framework.write_live(self.target, outputs)
            return
        template = self.source if self.identity else self.template
        contents = template.contents if template and template.contents.format != "live" else None
        contents = self.upgraded.contents if self.upgraded else contents
        write = self.format.write
        if shard_bytes is not None:
            write = partial(sharded_format(self.format, self.target).write_shards, shard_bytes=shard_bytes)
        with staged(self.target, overwrite=overwrite) as path:
            write(path, outputs, template=contents, metadata=metadata)


def _built(
    job: _Job, opset: int | None, dtype: str | None, allow_unused: tuple[str, ...], *, dry_run: bool, overwrite: bool
) -> Report:
    """Build the target's model from the source's."""
    from .graph.building import build_model

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
        opset=opset,
        dry_run=dry_run,
        overwrite=overwrite,
        may_stay=lambda name: _matches(name, allow_unused),
    )


@dataclass(frozen=True)
class _PairedLayer:
    pair: Pair
    plan: LayerPlan
    report: LayerReport


def _paired_layers(job: _Job, mapping: NameMap, allow: tuple[str, ...], dtype: DType | None) -> Iterator[_PairedLayer]:
    if job.identity:
        return
    problems: list[str] = []
    if job.template is None:
        source, target = Side(job.source), None
        pairs = [Pair(_only_kind(job.source, layer), (layer,), (layer,), "name") for layer in job.source.layers]
    else:
        source, target = sides(job.source, job.template, mapping)
        pairs = match(source, target, mapping)
    for pair in pairs:
        try:
            yield _pair_layers(job, source, target, pair, mapping, allow, dtype)
        except RefusedError as error:
            problems += [f"{pair.names}: {problem}" for problem in error.problems or [str(error)]]
    if problems:
        raise RefusedError(f"{job.source.contents.origin} does not fit {job.target_name}", problems)


def _only_kind(checkpoint: Checkpoint, layer: Layer) -> str:
    if len(layer.kinds) == 1:
        return layer.kinds[0]
    raise RefusedError(
        f"{checkpoint.contents.origin}: {layer.name!r} can be {' or '.join(layer.kinds)}; only a template tells: --into"
    )


def _pair_layers(
    job: _Job,
    source: Side,
    target: Side | None,
    pair: Pair,
    mapping: NameMap,
    allow: tuple[str, ...],
    dtype: DType | None,
) -> _PairedLayer:
    layout = _target_layout(job, pair)
    pair = agree_on_maps(source, target, pair, layout, mapping)
    sources = source.parts(pair.sources, pair.kind)
    settings: dict[str, Setting] = {**pair.sources[0].settings, **sources[0].view.settings}
    allowed = (*allow, *ALLOWED) if job.upgraded else allow
    problems = [p for layer in pair.sources for p in unsupported(layout, {**layer.settings, **settings}, allowed)]
    if problems:
        raise RefusedError("", list(dict.fromkeys(problems)))
    targets = (
        target.parts(pair.targets, pair.kind) if target else [_fresh_part(job, layout, sources[0], pair.targets[0])]
    )
    _refuse_other_structure(layout, settings, targets[0].view.settings)
    plan = plan_layer(
        sources, targets, {**settings, **targets[0].view.settings}, lambda name: job.source.tensors[name].dtype, dtype
    )
    differs = () if target is None else _differences((source, pair.sources, sources), (target, pair.targets, targets))
    report = LayerReport(
        kind=pair.kind,
        sources=tuple(layer.name for layer in pair.sources),
        targets=tuple(part.name for part in targets),
        paired_by=pair.how,
        verdict=plan.verdict,
        notes=(*pair.notes, *plan.notes, *(note for layer in pair.sources for note in layer.notes)),
        settings=_stated(layout, pair.sources[0], settings),
        differs=differs,
    )
    return _PairedLayer(pair, plan, report)


def _differences(*ends: tuple[Side, tuple[Layer, ...], Sequence[Part]]) -> tuple[str, ...]:
    """The settings that both sides state and that mean different things, with what to do about each."""
    ours, theirs = (
        LayerSide(side.checkpoint, parts[0].view.layout.kind, layers, tuple(parts)) for side, layers, parts in ends
    )
    found = settings_differences(ours, theirs)
    texts = [f"{one.name} is {one.a} in the source, {one.b} in the target" for one in found]
    return tuple(f"{text}: {one.advice}" if one.advice else text for text, one in zip(texts, found, strict=True))


def _stated(layout: Layout, source: Layer, settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """The settings that the source states or that its tensors show, in the kind's order."""
    shown = {*source.settings, *apart_settings(layout)}
    return {name: settings[name] for name in layout.kind.settings if name in shown and name in settings}


def _target_layout(job: _Job, pair: Pair) -> Layout:
    own = pair.targets[0].layout if job.template else ""
    own = job.upgraded.layout(pair.targets[0].name) if job.upgraded else own
    if not own and f"{job.framework.NAME}.{pair.kind}" not in layouts_of(job.framework.NAME):
        hint = "leave it out of a template (--into) and allow it to stay behind with --allow-unused"
        raise RefusedError("", [f"{job.framework.NAME} has no layer of the kind {pair.kind}; {hint}"])
    return layout_named(own or f"{job.framework.NAME}.{pair.kind}")


def _fresh_part(job: _Job, layout: Layout, source: Part, target: Layer) -> Part:
    """The target's layer laid out anew under the source layer's name."""
    view = source.view
    roles = target_roles(layout, view.roles)
    if job.upgraded and view.layout == layout:
        fresh = view
    else:
        fresh = flattened_view_for(layout, roles, view.counts, view.sizes, view.settings, maps_of(target))
    name_of = job.upgraded.tensor_name if job.upgraded else job.framework.tensor_name
    return Part(source.name, fresh, {local: name_of(source.name, local) for local in fresh.shapes})


def _refuse_other_structure(layout: Layout, ours: Mapping[str, Setting], theirs: Mapping[str, Setting]) -> None:
    """Settings that decide what the stored biases mean have to agree where both sides know them."""
    for name in apart_settings(layout) & set(ours) & set(theirs):
        if ours[name] != theirs[name]:
            raise RefusedError("", [f"{name} is {ours[name]} in the source and {theirs[name]} in the target"])


def _same_tensors(job: _Job, layers: Sequence[_PairedLayer], dtype: DType | None) -> list[SameTensor]:
    """Between two checkpoints of one framework, what no layer covers is carried where name and shape agree."""
    goal = job.source if job.identity else job.template
    if goal is None or job.source.framework != job.framework.NAME:
        return []
    planned = {tensor.name for layer in layers for tensor in layer.plan.tensors}
    names: Iterable[str] = job.source.tensors if job.identity else job.source.structure.unknown
    free = [name for name in names if name not in planned and name in goal.tensors]
    tensors = [job.source.tensors[name] for name in free]
    return [SameTensor(t, _cast(t.dtype, dtype)) for t in tensors if goal.tensors[t.name].shape == t.shape]


def _cast(found: DType, wanted: DType | None) -> DType:
    return wanted if wanted is not None and is_floating(found) else found


def _report(job: _Job, layers: Sequence[_PairedLayer], same: Sequence[SameTensor]) -> Report:
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


def _refuse_incomplete(
    report: Report, job: _Job, names: NameMap, allow_unused: tuple[str, ...], allow_missing: tuple[str, ...]
) -> None:
    reasons: Mapping[str, str] = job.source.structure.unknown
    ignored = _ignored(job.source, names), _ignored(job.template, names)
    problems = [
        f"unused: {name}" + (f" ({reasons[name]})" if name in reasons else "")
        for name in report.unused
        if name not in ignored[0] and not _matches(name, allow_unused)
    ]
    problems += [
        f"unfilled: {name}" for name in report.unfilled if name not in ignored[1] and not _matches(name, allow_missing)
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


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _metadata(report: Report) -> dict[str, str]:
    """What the weights cannot carry, for formats that have a place for text."""
    layers = {
        name: {"kind": layer.kind, "settings": dict(layer.settings)}
        for layer in report.layers
        for name in layer.targets
    }
    return {METADATA_KEY: json.dumps({"source": report.source_framework, "layers": layers})} if layers else {}


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

"""The layers of a conversion: each pair with its plan and what the report says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .checkpoint import DType, Layer, Setting
from .conversion_job import Job
from .errors import RefusedError
from .flattening import flattened_view_for
from .keras_upgrade import ALLOWED
from .kind_choice import of_any_kind, with_kinds
from .layer_pairs import LayerSide
from .layouts import Layout, layout_named, layouts_of
from .mapping import NameMap
from .match import Pair, Side, match, sides
from .matching.feature_maps import agree_on_maps, maps_of
from .plan import LayerPlan
from .planner import Part, plan_layer
from .report import LayerReport
from .setting_differences import settings_differences
from .settings import apart_settings, unsupported
from .translation import target_roles


@dataclass(frozen=True)
class PairedLayer:
    """Layers of the source, the layers of the target that they fill, and how."""

    pair: Pair
    plan: LayerPlan
    report: LayerReport


def paired_layers(job: Job, mapping: NameMap, allow: tuple[str, ...], dtype: DType | None) -> Iterator[PairedLayer]:
    """Pair the layers and plan each pair; nothing where the target is the source in another format.

    ``allow`` names settings that the target's framework cannot run. Raises RefusedError listing every pair that
    cannot be carried."""
    if job.identity:
        return
    problems: list[str] = []
    origin, template = with_kinds(job.source, mapping), job.template and with_kinds(job.template, mapping)
    if template is None:
        source, target = Side(origin), None
        pairs = [Pair(layer.kinds[0], (layer,), (layer,), "name") for layer in origin.layers]
    else:
        source, target = sides(origin, template, mapping)
        pairs = match(source, target, mapping)
    planner = _PairPlanner(job, source, target, mapping, allow, dtype)
    for pair in pairs:
        try:
            yield planner.of_any_kind(pair)
        except RefusedError as error:
            problems += [f"{pair.names}: {problem}" for problem in error.problems or [str(error)]]
    if problems:
        raise RefusedError(f"{job.source.contents.origin} does not fit {job.target_name}", problems)


@dataclass(frozen=True)
class _PairPlanner:
    """What every pair of a conversion is planned with; no ``target`` where the layers are laid out anew."""

    job: Job
    source: Side
    target: Side | None
    mapping: NameMap
    allow: tuple[str, ...]
    dtype: DType | None

    def of_any_kind(self, pair: Pair) -> PairedLayer:
        """The pair as whatever both of its layers can be. One framework stores them all alike on both sides."""
        (layer, *more), others = pair.sources, pair.targets
        alike = bool(more) or len(others) > 1 or self.job.source.framework == self.job.framework.NAME
        kinds = [pair.kind] if alike else [kind for kind in layer.kinds if kind in others[0].kinds]
        return of_any_kind(layer.name, kinds, lambda kind: self.of_its_kind(replace(pair, kind=kind)))

    def of_its_kind(self, pair: Pair) -> PairedLayer:
        """The pair with its plan. Raises RefusedError where it cannot be carried."""
        layout = _target_layout(self.job, pair)
        pair = agree_on_maps(self.source, self.target, pair, layout, self.mapping)
        sources = self.source.parts(pair.sources, pair.kind)
        settings: dict[str, Setting] = {**pair.sources[0].settings, **sources[0].view.settings}
        self._refuse_unsupported(pair, layout, settings)
        targets = self._targets(pair, layout, sources[0])
        stated = targets[0].view.settings
        _refuse_other_structure(layout, settings, stated)
        plan = plan_layer(sources, targets, {**settings, **stated}, self._dtype_of, self.dtype)
        report = LayerReport(
            kind=pair.kind,
            sources=tuple(layer.name for layer in pair.sources),
            targets=tuple(part.name for part in targets),
            paired_by=pair.how,
            verdict=plan.verdict,
            notes=(*pair.notes, *plan.notes, *(note for layer in pair.sources for note in layer.notes)),
            settings=_stated(layout, pair.sources[0], settings),
            differs=self._differences(pair, sources, targets),
        )
        return PairedLayer(pair, plan, report)

    def _refuse_unsupported(self, pair: Pair, layout: Layout, settings: Mapping[str, Setting]) -> None:
        allowed = (*self.allow, *ALLOWED) if self.job.upgraded else self.allow
        problems = [p for layer in pair.sources for p in unsupported(layout, {**layer.settings, **settings}, allowed)]
        if problems:
            raise RefusedError("", list(dict.fromkeys(problems)))

    def _targets(self, pair: Pair, layout: Layout, source: Part) -> Sequence[Part]:
        if self.target is None:
            return [_fresh_part(self.job, layout, source, pair.targets[0])]
        return self.target.parts(pair.targets, pair.kind)

    def _dtype_of(self, name: str) -> DType:
        return self.job.source.tensors[name].dtype

    def _differences(self, pair: Pair, sources: Sequence[Part], targets: Sequence[Part]) -> tuple[str, ...]:
        if self.target is None:
            return ()
        return _differences((self.source, pair.sources, sources), (self.target, pair.targets, targets))


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


def _target_layout(job: Job, pair: Pair) -> Layout:
    own = pair.targets[0].layout if job.template else ""
    own = job.upgraded.layout(pair.targets[0].name) if job.upgraded else own
    if not own and f"{job.framework.NAME}.{pair.kind}" not in layouts_of(job.framework.NAME):
        hint = "leave it out of a template (--into) and allow it to stay behind with --allow-unused"
        raise RefusedError("", [f"{job.framework.NAME} has no layer of the kind {pair.kind}; {hint}"])
    return layout_named(own or f"{job.framework.NAME}.{pair.kind}")


def _fresh_part(job: Job, layout: Layout, source: Part, target: Layer) -> Part:
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

"""Attention that one model keeps as one layer and the other as dense layers side by side: these are put together.

Only where the other side has attention layers and this one has none, and only of dense layers that share a module and
are called after the four parts: nothing else is taken for attention.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..checkpoint import Checkpoint, Layer
from ..layouts import layouts_of
from .names import Name

KIND = "multi_head_attention"
TABLE = f"{KIND}_linears"
# How people call the four projections, by the last word or the last words of a layer's name that tell them apart.
_PARTS: Mapping[str, frozenset[str]] = {
    "query": frozenset({"q", "query", "queries", "wq"}),
    "key": frozenset({"k", "key", "keys", "wk"}),
    "value": frozenset({"v", "value", "values", "wv"}),
    "output": frozenset({"o", "out", "output", "wo", "proj", "projection", "dense"}),
}
_BESIDE = frozenset({"proj", "projection", "lin", "linear", "to", "dense", "fc", "w", "attention", "attn"})


def with_attention(one: Checkpoint, other: Checkpoint) -> tuple[Checkpoint, Checkpoint]:
    """Both checkpoints, the dense layers that make up an attention put together where only the other has it whole."""
    has = tuple(any(KIND in layer.kinds for layer in checkpoint.layers) for checkpoint in (one, other))
    return (
        _put_together(one) if has[1] and not has[0] else one,
        _put_together(other) if has[0] and not has[1] else other,
    )


def _put_together(checkpoint: Checkpoint) -> Checkpoint:
    layout = f"{checkpoint.framework}.{TABLE}"
    if layout not in layouts_of(checkpoint.framework):
        return checkpoint
    modules: dict[str, list[Layer]] = {}
    for layer in checkpoint.layers:
        if "dense" in layer.kinds:
            modules.setdefault(layer.name.rpartition(".")[0], []).append(layer)
    whole = {}
    for module, layers in modules.items():
        parts = _parts(layers)
        if parts:
            whole[parts["query"].name] = _layer(module, parts, layout), {part.name for part in parts.values()}
    gone = {name for _, names in whole.values() for name in names}
    left = tuple(_replaced(checkpoint.layers, {name: layer for name, (layer, _) in whole.items()}, gone))
    return replace(checkpoint, structure=replace(checkpoint.structure, layers=left))


def _replaced(layers: Sequence[Layer], whole: Mapping[str, Layer], gone: set[str]) -> Iterator[Layer]:
    """The layers with each attention in the place of its query's projection."""
    for layer in layers:
        if layer.name in whole:
            yield whole[layer.name]
        elif layer.name not in gone:
            yield layer


def _parts(layers: Sequence[Layer]) -> dict[str, Layer] | None:
    """The four projections among the dense layers of one module, None where they are not exactly there."""
    found: dict[str, list[Layer]] = {part: [] for part in _PARTS}
    for layer in layers:
        words = _words(layer)
        telling = words - _BESIDE or words
        for part, names in _PARTS.items():
            if telling and telling <= names:
                found[part].append(layer)
    if any(len(layers) != 1 for layers in found.values()):
        return None
    return {part: only for part, (only,) in found.items()}


def _words(layer: Layer) -> set[str]:
    return set(Name.of(layer.name.rpartition(".")[2]).words) - {"#"}


def _layer(module: str, parts: Mapping[str, Layer], layout: str) -> Layer:
    tensors = {f"{part}.{local}": name for part, layer in parts.items() for local, name in layer.tensors.items()}
    notes = (f"is {', '.join(part.name.rpartition('.')[2] for part in parts.values())} put together",)
    return Layer(module, (KIND,), tensors, notes=notes, layout=layout)

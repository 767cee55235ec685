"""Editing a checkpoint: one gate's block is set to a value, everything else is carried bit for bit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .blocks import StoredBlock, sum_class
from .checkpoint import Array, Checkpoint, DType, Layer, Tensor
from .engine import execute
from .errors import LayoutError, UsageError
from .formats import all_formats, format_of_suffix
from .match import layer_view
from .opening import PathLike, open_checkpoint
from .plan import Move, TensorPlan, carried
from .planner import describe
from .staging import staged
from .views import View

_ASSIGNMENT = re.compile(r"(?P<layer>.+)\.(?P<role>[a-z_]+)(\[(?P<labels>[^\]]*)\])?\s*=\s*(?P<value>[^=]+)")


@dataclass(frozen=True)
class Assignment:
    """``LAYER.ROLE[LABEL, LABEL]=VALUE``: which blocks of which layer become which value."""

    text: str
    layer: str
    role: str
    labels: tuple[str, ...]
    value: float

    @classmethod
    def parse(cls, text: str) -> Assignment:
        """Raises UsageError showing the form where ``text`` is none."""
        match = _ASSIGNMENT.fullmatch(text.strip())
        try:
            value = float(match["value"]) if match else None
        except ValueError:
            value = None
        if match is None or value is None:
            raise UsageError(f"{text!r} is no assignment; write LAYER.ROLE[LABEL]=VALUE, as in 'lstm.bias[forget]=5.0'")
        labels = tuple(label.strip() for label in (match["labels"] or "").split(",") if label.strip())
        return cls(text, match["layer"], match["role"], labels, value)


def edit(
    source: PathLike,
    target: PathLike,
    assignments: Sequence[str],
    *,
    from_framework: str | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write ``source`` to ``target`` (a file of the same format) with blocks of weights set to values.

    A value is meant in the mathematics: where two stored biases are summed, the first takes the value and the other
    becomes zero, unless the label of one side is given. ``from_framework`` names whose layouts the file follows, where
    it does not say. Returns one line for each block that was set. Raises UsageError for an assignment that names no
    block."""
    checkpoint = open_checkpoint(source, from_framework)
    path = Path(target)
    file_format = format_of_suffix(path)
    if checkpoint.contents.format != file_format.NAME and file_format.FRAMEWORK not in ("", checkpoint.framework):
        raise UsageError(f"{path}: edit keeps the framework; use a suffix of {checkpoint.framework}")
    moves: dict[str, list[Move]] = {}
    for assignment in map(Assignment.parse, assignments):
        for tensor, move in _moves(checkpoint, assignment):
            moves.setdefault(tensor, []).append(move)
    outputs = [_EditedTensor(tensor, _plan(tensor, moves.get(name, []))) for name, tensor in checkpoint.tensors.items()]
    writer = file_format if path.suffix != Path(source).suffix else all_formats()[checkpoint.contents.format]
    with staged(path, overwrite=overwrite) as temporary:
        writer.write(temporary, outputs, template=checkpoint.contents, metadata=checkpoint.contents.metadata)
    return [f"{name}: {move.what} = {move.constant:g}" for name, listed in moves.items() for move in listed]


@dataclass(frozen=True)
class _EditedTensor:
    """A tensor as it was, with some blocks filled anew."""

    tensor: Tensor
    plan: TensorPlan

    @property
    def name(self) -> str:
        return self.tensor.name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape

    @property
    def dtype(self) -> DType:
        return self.tensor.dtype

    def fill(self, memory: Array) -> None:
        execute(self.plan, lambda _: self.tensor.locate(), memory)


def _plan(tensor: Tensor, moves: Sequence[Move]) -> TensorPlan:
    plan = carried(tensor.name, tensor.shape, tensor.dtype)
    return replace(plan, moves=(*plan.moves, *moves))


def _moves(checkpoint: Checkpoint, assignment: Assignment) -> Iterator[tuple[str, Move]]:
    layer = _layer(checkpoint, assignment)
    view = _view(checkpoint, layer, assignment)
    seen: set[object] = set()
    for block in view.blocks:
        if not block.tensor or block.role != assignment.role or not _meant(block, assignment):
            continue
        term = sum_class(view.layout.kind, block.role, block.covers[0], view.settings)
        value = 0.0 if term in seen else assignment.value
        seen.add(term)
        what = describe(view.layout.kind, block.role, block.covers[0], view.counts)
        yield layer.tensors[block.tensor], Move(what, block.block, constant=block.sign * (value - block.adds))
    if not seen:
        known = sorted({str(label) for b in view.blocks if b.role == assignment.role for p in b.covers for label in p})
        raise UsageError(
            f"{assignment.text!r}: {assignment.role} of {layer.name!r} has no place {', '.join(assignment.labels)}; "
            f"its labels are {', '.join(known) or 'none'}"
        )


def _meant(block: StoredBlock, assignment: Assignment) -> bool:
    """Whether the labels name this block; a sum over sides is named by its other labels only."""
    return all(any(str(label) == wanted for label in block.covers[0]) for wanted in assignment.labels) and (
        len(block.covers) == 1 or not set(assignment.labels) & _summed_labels(block)
    )


def _summed_labels(block: StoredBlock) -> set[str]:
    """The labels in which the places of a sum differ."""
    return {str(label) for labels in zip(*block.covers, strict=True) if len(set(labels)) > 1 for label in labels}


def _layer(checkpoint: Checkpoint, assignment: Assignment) -> Layer:
    for layer in checkpoint.layers:
        if layer.name == assignment.layer:
            return layer
    known = ", ".join(layer.name for layer in checkpoint.layers)
    raise UsageError(f"{assignment.text!r}: no layer {assignment.layer!r}; the file has {known}")


def _view(checkpoint: Checkpoint, layer: Layer, assignment: Assignment) -> View:
    """The layer as the first of its possible kinds that has the role."""
    roles: list[str] = []
    for kind in layer.kinds:
        try:
            view = layer_view(checkpoint, layer, kind)
        except LayoutError:
            continue
        if assignment.role in view.roles:
            return view
        roles += view.roles
    stored = ", ".join(dict.fromkeys(roles))
    raise UsageError(f"{assignment.text!r}: {layer.name!r} stores no {assignment.role!r}; it stores {stored}")

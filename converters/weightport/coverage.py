"""Coverage: how much of both models a conversion reached, in tensors and in elements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from .checkpoint import Tensor
from .plan import TensorPlan


@dataclass(frozen=True)
class Share:
    """So many tensors, and so many elements."""

    tensors: int = 0
    elements: int = 0


@dataclass(frozen=True)
class Coverage:
    """What became of every tensor.

    Of the target: ``carried`` bit for bit, ``folded`` (computed from several, or shifted), ``constant`` (the source
    has nothing for them, and a constant stands for that), and ``unfilled``. A tensor that is partly folded counts as
    folded, its elements each for themselves. Of the source: ``unused``, and ``skipped`` (optimizer state and other
    things that are no weights)."""

    carried: Share = Share()
    folded: Share = Share()
    constant: Share = Share()
    unfilled: Share = Share()
    unused: Share = Share()
    skipped: Share = Share()


def coverage_of(
    planned: Sequence[TensorPlan],
    same: Iterable[tuple[int, ...]],
    source: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    left: tuple[Iterable[str], Iterable[str], Iterable[str]],
) -> Coverage:
    """The coverage of a settled plan. ``same`` has the shapes of tensors that are carried without one, ``left`` the
    unused and the skipped tensors of the source and the unfilled ones of the target."""
    tensors = {"carried": 0, "folded": 0, "constant": 0}
    elements = {"carried": 0, "folded": 0, "constant": 0}
    for tensor in planned:
        found = {_how(tensor, index) for index in range(len(tensor.moves))}
        tensors[next((how for how in ("folded", "carried", "constant") if how in found), "carried")] += 1
        for index, move in enumerate(tensor.moves):
            elements[_how(tensor, index)] += move.target.size
    for shape in same:
        tensors["carried"] += 1
        elements["carried"] += prod(shape)
    unused, skipped, unfilled = left
    return Coverage(
        **{how: Share(tensors[how], elements[how]) for how in tensors},
        unfilled=share_of(target, unfilled),
        unused=share_of(source, unused),
        skipped=share_of(source, skipped),
    )


def _how(tensor: TensorPlan, index: int) -> str:
    move = tensor.moves[index]
    return "folded" if move.folds else "carried" if move.sources else "constant"


def share_of(tensors: Mapping[str, Tensor], names: Iterable[str]) -> Share:
    """Those of the tensors that have one of the names."""
    shapes = [tensors[name].shape for name in names if name in tensors]
    return Share(len(shapes), sum(prod(shape) for shape in shapes))

"""What operators that every framework has make of the axes of activations: see :mod:`._feature_flow`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from ._feature_flow import CHANNELS, PLACE, PLAIN, Activation, Axes, Axis, Flow, Lost


def reshaped(flow: Flow, axes: Axes, sizes: Sequence[int | None], where: str) -> Activation:
    """The axes after a reshape into these sizes (-1 for one that follows): runs of axes that keep their product are
    merged, divided, or both."""
    goal = _without_free(axes, sizes)
    if len(goal) == 1:
        return (flow.merged(axes),)
    chunks = _chunks([axis.size for axis in axes], goal)
    result: list[Axis] = []
    for ours, theirs in chunks:
        taken = axes[ours[0] : ours[1]]
        wanted = goal[theirs[0] : theirs[1]]
        free = None in [*wanted, *(axis.size for axis in taken)]
        if len(wanted) == 0:
            continue
        if len(taken) == len(wanted) == 1:
            result.append(taken[0])
        elif free and any(axis.role in (PLACE, CHANNELS) for axis in taken):
            return Lost(f"{where} makes axes of it whose sizes are not known")
        elif free:
            result += flow.axes(PLAIN, wanted)
        else:
            result += flow.divided(flow.merged(taken), wanted, where) if taken else flow.axes(PLAIN, wanted)
    return tuple(result)


def _without_free(axes: Axes, sizes: Sequence[int | None]) -> list[int | None]:
    """The goal with its -1 filled in; None where it does not follow. As many free sizes on either side are the same."""
    goal, ours = list(sizes), [axis.size for axis in axes]
    if ours.count(None) > goal.count(None):
        return [None if size == -1 else size for size in goal]
    total = prod(size for size in ours if size is not None)
    rest = prod(size for size in goal if size not in (None, -1))
    follows = rest and not total % rest and ours.count(None) == goal.count(None)
    return [(total // rest if follows else None) if size == -1 else size for size in goal]


def _chunks(ours: Sequence[int | None], theirs: Sequence[int | None]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Pairs of (start, end) of the shortest runs of either side that have the same product, from the last axis on.

    Where sizes are free, what is left in front is one run of both sides."""
    chunks: list[tuple[tuple[int, int], tuple[int, int]]] = []
    end = (len(ours), len(theirs))
    while end != (0, 0):
        start = _run_start(ours, theirs, end)
        if start is None:
            chunks.append(((0, end[0]), (0, end[1])))
            break
        chunks.append(((start[0], end[0]), (start[1], end[1])))
        end = start
    return chunks[::-1]


def _run_start(
    ours: Sequence[int | None], theirs: Sequence[int | None], end: tuple[int, int]
) -> tuple[int, int] | None:
    """Where the shortest run of both sides begins that ends here; None where a free size hides it."""
    i, j = end
    one = other = 1
    while (i, j) == end or one != other:
        if i and (one <= other or not j):
            i -= 1
            size = ours[i]
            one *= size or 0
        elif j:
            j -= 1
            size = theirs[j]
            other *= size or 0
        else:
            return None
        if size is None:
            return None
    return i, j


def window_count(
    size: int | None, kernel: int, stride: int, dilation: int = 1, *, whole: bool = False, ceil: bool = False
) -> int | None:
    """How many places a sliding window has. ``whole``: at every stride, however far it reaches beyond the end."""
    if size is None or stride < 1:
        return None
    if whole:
        return -(-size // stride)
    reach = size - (kernel - 1) * dilation - 1
    return max((-(-reach // stride) if ceil else reach // stride) + 1, 0)


def lost_in(where: str, inputs: Sequence[Activation]) -> Lost:
    """What becomes of inputs in a way that is not known: a doubt where one of them is or may be a map."""
    mixes = [axis.features for one in inputs if not isinstance(one, Lost) for axis in one]
    lost = [one for one in inputs if isinstance(one, Lost)]
    has_map = any(not isinstance(one, Lost) and any(axis.role == PLACE for axis in one) for one in inputs)
    said = next((one.reason for one in lost if one.reason), f"it passes through {where}" if has_map else "")
    return Lost(said, (*mixes, *(number for one in lost for number in one.mixes)))


def summed(flow: Flow, activations: Sequence[Activation]) -> Axes | None:
    """What elementwise operators make: axes that meet run over the same features, and one of one element goes with
    any. None where the axes of some are not known."""
    known: list[Axes] = [one for one in activations if not isinstance(one, Lost)]
    if len(known) < len(activations) or not known:
        return None
    rank = max(map(len, known))
    result = list(next(one for one in known if len(one) == rank))
    for one in known:
        for back in range(1, len(one) + 1):
            ours, theirs = result[-back], one[-back]
            if ours.size == 1:
                result[-back] = theirs
            elif theirs.size != 1 and PLACE not in (ours.role, theirs.role):
                flow.same(ours, theirs)
            if theirs.role in (PLACE, CHANNELS) and result[-back].role not in (PLACE, CHANNELS):
                result[-back] = replace(result[-back], role=theirs.role, split=None)
    return tuple(result)

"""The search: which hypotheses explain the slots that differ, the plainest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from . import axes, labels, roles, storage, values
from .case import Case, Slot
from .hypothesis import Hypothesis
from .words import listed

SUSPECTS = (labels, roles, axes, values, storage)
"""The modules whose ``hypotheses`` are tried, in this order: of two that explain the same, the first is told."""

UNEXPLAINED = "no usual mistake explains"
"""How the sentence begins that says what is not explained."""

_MOST = 4
"""Mistakes that one layer may have at once."""
_COMPOSED = 1 << 16
"""The largest parameter in which two mistakes in one place are tried."""

UNEXPLAINED = "no usual mistake explains"
"""How the sentence begins that names what is left."""


def explain(case: Case) -> tuple[str, ...]:
    """One sentence for each mistake, and one for what no usual mistake explains; nothing where nothing differs."""
    if not case.open:
        return ()
    found = list(_cover(case, case.open, _hypotheses(case)))
    shuffled = [slot for slot in _left(case.open, found) if case.a[slot].size <= _COMPOSED and case.has_values(slot)]
    if shuffled:
        found += _cover(case, shuffled, _pairs(case))
    sentences = [f"{hypothesis.text}{_where(case, hypothesis, explained)}" for hypothesis, explained in found]
    left = dict.fromkeys(slot.role for slot in _left(case.open, found))
    if left:
        sentences.append(f"{UNEXPLAINED} {listed(list(left)) if found else 'it'}")
    return tuple(sentences)


def _hypotheses(case: Case) -> Iterator[Hypothesis]:
    for module in SUSPECTS:
        yield from module.hypotheses(case)


def _cover(
    case: Case, open_slots: Sequence[Slot], hypotheses: Iterable[Hypothesis]
) -> Iterator[tuple[Hypothesis, tuple[Slot, ...]]]:
    """The hypotheses that explain the most, one after the other, until all is explained or nothing more is.

    Of those that explain as much, one that leaves alone what agrees is better."""
    explained: dict[Hypothesis, tuple[Slot, ...]] = {}
    for hypothesis in hypotheses:
        slots = tuple(slot for slot in open_slots if _explains(case, hypothesis, slot))
        if slots:
            explained[hypothesis] = slots
        if len(slots) == len(open_slots) and not _spared(case, hypothesis, slots):
            break
    left = list(open_slots)
    for _ in range(_MOST):
        candidates = {
            hypothesis: new
            for hypothesis, slots in explained.items()
            if (new := tuple(slot for slot in slots if slot in left))
        }
        if not candidates:
            return
        best = max(candidates, key=lambda found: (len(candidates[found]), -len(_spared(case, found, explained[found]))))
        yield best, candidates[best]
        left = [slot for slot in left if slot not in candidates[best]]


def _spared(case: Case, hypothesis: Hypothesis, explained: Sequence[Slot]) -> list[Slot]:
    """The slots to which the mistake could have been made, too, and was not."""
    touched = [slot for slot in case.a if slot not in explained and hypothesis.made(case.a, slot) is not None]
    return [slot for slot in touched if not _explains(case, hypothesis, slot)]


def _explains(case: Case, hypothesis: Hypothesis, slot: Slot) -> bool:
    if hypothesis.moves and not case.may_be_moved(slot):
        return False
    made = hypothesis.made(case.a, slot)
    return made is not None and case.agrees(slot, made)


def _left(slots: Iterable[Slot], found: Sequence[tuple[Hypothesis, tuple[Slot, ...]]]) -> list[Slot]:
    explained = {slot for _, slots in found for slot in slots}
    return [slot for slot in slots if slot not in explained]


def _pairs(case: Case) -> Iterator[Hypothesis]:
    """Two mistakes in one place, one after the other."""
    composing = [hypothesis for hypothesis in _hypotheses(case) if hypothesis.moves]
    for one in composing:
        for other in composing:
            if one is not other:
                yield other.after(one)


def _where(case: Case, hypothesis: Hypothesis, explained: Sequence[Slot]) -> str:
    """The parameters, directions and stacked layers in which the mistake was made; nothing where it is everywhere."""
    spared = _spared(case, hypothesis, explained)
    words = []
    roles = list(dict.fromkeys(slot.role for slot in explained))
    wider = {slot.role for slot in (*spared, *case.open)}
    if wider - set(roles) and not all(role in hypothesis.text for role in roles):
        words.append(listed(roles))
    for axis, own, others in (
        ("direction", {slot.direction for slot in explained}, {slot.direction for slot in spared}),
        ("layer", {str(slot.layer) for slot in explained}, {str(slot.layer) for slot in spared}),
    ):
        if others - own:
            words.append(f"{axis} {listed(sorted(own))}")
    return f", in {' of '.join(words)} only" if words else ""

"""Names for the layers of an ONNX graph, which has none: as near as can be to those of the model it was made from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count

from ._onnx_draft import Draft

_PARAMETER = re.compile(r"(?P<module>.+)\.(weight|bias|running_(mean|var)|(weight|bias)_(ih|hh)_l\d+(_reverse)?)")
_ENDING = re.compile(r"[./_](weights?|bias|kernel|embeddings?|gamma|scale|data|W|R|B)$")
_MADE_UP = re.compile(r"onnx::|\d+$")


def layer_names(drafts: Sequence[Draft]) -> list[str]:
    """A name for each layer, no two alike.

    Asked in this order, and taken where it tells the layer from all others: the module that its parameters' names
    share (``fc.weight``), its node's name without the operator's (``/fc/MatMul``), its node's name, its weight's
    name, the operator with a number."""
    names: dict[int, str] = {}
    candidates = [list(_candidates(draft)) for draft in drafts]
    for level in range(4):
        open_ones = {index: each[level] for index, each in enumerate(candidates) if index not in names}
        counts = Counter(open_ones.values())
        taken = set(names.values())
        names |= {i: name for i, name in open_ones.items() if name and counts[name] == 1 and name not in taken}
    for index, draft in enumerate(drafts):
        if index not in names:
            names[index] = _numbered(draft.node.op, index, set(names.values()))
    return [names[index] for index in range(len(drafts))]


def _numbered(operator: str, number: int, taken: set[str]) -> str:
    return next(name for n in count(number) if (name := f"{operator}_{n}") not in taken)


def _candidates(draft: Draft) -> Iterator[str | None]:
    yield _module_of_parameters(draft)
    yield _module_of_node(draft)
    yield draft.node.name.strip("/").replace("/", ".") or None
    yield _weight_name(draft)


def _module_of_parameters(draft: Draft) -> str | None:
    modules = {match["module"] for name in draft.tensors.values() if (match := _PARAMETER.fullmatch(name))}
    return next(iter(modules)) if len(modules) == 1 else None


def _module_of_node(draft: Draft) -> str | None:
    """The node's name without the operator at its end; of a second such node in a module, the number is kept."""
    module, _, last = draft.node.name.strip("/").rpartition("/")
    match = re.fullmatch(rf"{re.escape(draft.node.op)}(?P<number>_\d+)?", last)
    return module.replace("/", ".") + (match["number"] or "") if module and match else None


def _weight_name(draft: Draft) -> str | None:
    name = next(iter(draft.tensors.values())).partition(":0")[0].strip("/").replace("/", ".")
    return None if _MADE_UP.match(name) else _ENDING.sub("", name) or None

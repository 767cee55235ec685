"""Which of the things that a training script saved are the model's weights, and what each of them is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from ..errors import CheckpointError
from ._pickle import Global, Opaque
from ._torch_objects import Storage, StoredTensor, Unreadable

WELL_KNOWN = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "weights", "params")
"""What training scripts call the state dict of the model itself, as against an average of it or an optimizer's."""
MAX_DEPTH = 32
MAX_NAME = 1024
MAX_LISTED = 10
_EXTRA_STATE = "_extra_state"
_OPTIMIZER = "param_groups"
_SHOWN = 80


@dataclass(frozen=True)
class State:
    """The weights by name, in the file's order; where they were nested, under which key; and what else was there."""

    tensors: Mapping[str, StoredTensor | Unreadable]
    key: str | None
    skipped: Mapping[str, str]


def find_state(value: object, where: str) -> State:
    """The state dict: ``value`` itself, or the one dictionary of tensors that it holds.

    What is no tensor is named in ``skipped``. Raises CheckpointError where there are no named tensors, or where it is
    not clear which of several dictionaries is the model's."""
    if type(value) is not dict:
        raise CheckpointError(f"{where} holds a {_what(value)} and no state dict; save model.state_dict() instead")
    filled = _with_tensors(value)
    key = _choose(value, filled, where)
    state = value if key is None else value[key]
    skipped = {} if key is None else {_named(k): _what(v) for k, v in value.items() if k != key}
    tensors: dict[str, StoredTensor | Unreadable] = {}
    for name, item in _walk(state, filled, where):
        if isinstance(item, StoredTensor | Unreadable):
            if name in tensors:
                raise CheckpointError(f"{where} has two tensors that are called {name!r}")
            tensors[name] = item
        else:
            skipped[name] = _what(item)
    return State(tensors, key, skipped)


def _choose(value: dict[Any, Any], filled: Set[int], where: str) -> str | None:
    """The key of the nested state dict, or None where ``value`` is one itself."""
    nested: list[str] = [key for key, item in value.items() if _may_be_state(key, item) and id(item) in filled]
    known = [key for key in nested if key in WELL_KNOWN]
    flat = any(type(key) is str and isinstance(item, StoredTensor | Unreadable) for key, item in value.items())
    if len(known) == 1:
        return known[0]
    if not nested and flat:
        return None
    if len(nested) == 1 and not flat:
        return nested[0]
    if nested:
        listed = ", ".join(map(_shown, nested[:MAX_LISTED])) + (", ..." if len(nested) > MAX_LISTED else "")
        beside = " beside tensors at the top" if flat else ""
        raise CheckpointError(
            f"{where} has more than one thing that can be the weights ({listed}{beside}); save the one that you mean "
            "as a plain state dict"
        )
    found = ", ".join(map(_shown, list(value)[:MAX_LISTED]))
    raise CheckpointError(
        f"{where} has no tensors by name (it has {found or 'nothing'}); save model.state_dict() instead"
    )


def _may_be_state(key: object, item: object) -> bool:
    """Whether the item is a dictionary and neither an optimizer's nor what a module keeps beside its tensors."""
    return type(item) is dict and type(key) is str and not key.endswith(_EXTRA_STATE) and _OPTIMIZER not in item


def _with_tensors(value: dict[Any, Any]) -> Set[int]:
    """The identities of the dictionaries that have tensors by name, themselves or in dictionaries inside.

    Each dictionary is looked through once, however often it is met: the pickle of a hostile file can nest a few of
    them into more ways than can be walked."""
    outer: dict[int, list[int]] = {}
    queue, found = [value], []
    known = {id(value)}
    for current in queue:
        for key, item in current.items():
            if isinstance(item, StoredTensor | Unreadable) and type(key) is str:
                found.append(id(current))
            elif _may_be_state(key, item):
                outer.setdefault(id(item), []).append(id(current))
                if id(item) not in known:
                    known.add(id(item))
                    queue.append(item)
    filled: set[int] = set()
    while found:
        identity = found.pop()
        if identity not in filled:
            filled.add(identity)
            found += outer.get(identity, ())
    return filled


def _walk(state: dict[Any, Any], filled: Set[int], where: str) -> Iterator[tuple[str, object]]:
    """Every item under its name, the names of nested dictionaries joined by dots, in order.

    A dictionary of tensors that is met a second time is refused: it may contain itself, or unfold without end."""
    seen: set[int] = set()
    stack = [_items("", state)]
    while stack:
        name, item = next(stack[-1], (None, None))
        if name is None:
            stack.pop()
            continue
        if len(name) > MAX_NAME:
            raise CheckpointError(f"{where} has a name of {len(name)} characters, {name[:_SHOWN]!r}...: refused")
        if not (_may_be_state(name, item) and id(item) in filled):
            yield name, item
            continue
        if id(item) in seen or len(stack) > MAX_DEPTH:
            raise CheckpointError(f"{where} nests {name[:_SHOWN]!r} in itself, twice, or too deep: refused")
        seen.add(id(item))
        stack.append(_items(f"{name}.", item))


def _items(prefix: str, state: Any) -> Iterator[tuple[str, object]]:
    for key, item in state.items():
        if type(key) is str:
            yield prefix + key, item
        else:
            yield prefix + _named(key), Opaque("value whose key is no name")


def _named(key: object) -> str:
    return key if type(key) is str else f"<{type(key).__name__} {str(key)[:_SHOWN]}>"


def _shown(key: object) -> str:
    return repr(key[:_SHOWN]) if type(key) is str else _named(key)


def _what(value: object) -> str:
    """A few words for something that is skipped. Never looks into it."""
    if isinstance(value, StoredTensor | Unreadable):
        return "tensor"
    if isinstance(value, Global | Opaque):
        return value.name
    if isinstance(value, Storage):
        return "storage"
    if type(value) is dict:
        return "state of an optimizer" if _OPTIMIZER in value else f"dict of {len(value)}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__

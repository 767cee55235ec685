"""Nested models as operations of their own, for targets that have a word for a model in a model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count, groupby

from .operations import Graph, Operation, Result, Value

MODEL = "model"
"""The kind of such an operation; its setting ``graph`` is the nested model's graph, whose inputs and results are the
operation's inputs and outputs in order."""

_FEW = 3
"""Nested models of fewer operations stay taken apart."""

_NUMBER = re.compile(r"_\d+$")


def nested(graph: Graph, apart: Collection[str] = ()) -> Graph:
    """The graph with one operation for each call of a nested model, except for those that are to stay ``apart``.

    A model stays apart, too, if a layer of it is used outside of it. In a nested graph operations are called as within
    their model, alike in every call of it."""
    apart = {*apart, *_sharing(graph.operations)}
    operations = tuple(
        replace(one, models=tuple(call for call in one.models if call[0] not in apart)) for one in graph.operations
    )
    return _folded(replace(graph, operations=operations), 0)


def _sharing(operations: Sequence[Operation]) -> set[str]:
    """The models that have a layer which another model, or what is around them, has as well."""
    places: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for one in operations:
        if one.weights:
            places.setdefault(tuple(sorted(one.weights.values())), set()).add(tuple(name for name, _ in one.models))
    return {name for found in places.values() if len(found) > 1 for path in found for name in path}


def _folded(graph: Graph, depth: int) -> Graph:
    """The graph in which the operations of one call, which follow one another, are one."""
    users = Counter(name for one in graph.operations for name in set(one.inputs))
    users.update(result.value for result in graph.results)
    values = graph.values
    operations: list[Operation] = []
    for call, section in groupby(graph.operations, lambda one: one.models[depth] if len(one.models) > depth else None):
        inside = list(section)
        if call is None or len(inside) < _FEW:
            operations += inside
        else:
            operations.append(_one(inside, depth, values, users))
    return replace(graph, operations=tuple(operations))


def _one(inside: Sequence[Operation], depth: int, values: Mapping[str, Value], users: Mapping[str, int]) -> Operation:
    """One operation for a call of a nested model. ``users`` counts who takes each value."""
    models = [name for name, _ in inside[0].models[: depth + 1]]
    model = models[-1]
    made = {value.name for one in inside for value in one.outputs}
    used = Counter(name for one in inside for name in set(one.inputs))
    inputs = [name for name in used if name and name not in made]
    inputs.sort(key=lambda name: values[name].dtype == "bool")  # masks come last
    outputs = [value for one in inside for value in one.outputs if users[value.name] > used[value.name]]
    own = dict(zip(inputs, _names([values[name] for name in inputs]), strict=True))
    operations = tuple(_within(model, inside, own))
    names = {value.name: one.name for one in operations for value in one.outputs}
    graph = Graph(
        name=model.removeprefix(f"{models[-2]}.") if depth else model,
        inputs=tuple(replace(values[name], name=own[name]) for name in inputs),
        results=tuple(Result(names[value.name], value.name) for value in outputs),
        operations=operations,
    )
    folded = _folded(graph, depth + 1)
    return Operation(MODEL, graph.name, model, tuple(inputs), tuple(outputs), {"graph": folded})


def _within(model: str, inside: Sequence[Operation], own: Mapping[str, str]) -> Iterator[Operation]:
    """The operations by the names that they have in their model, with its inputs by their own names."""
    taken: set[str] = set()
    for one in inside:
        suffix = _NUMBER.sub("", one.name.removeprefix(one.layer))
        name = f"{one.layer.removeprefix(f'{model}.')}{suffix}"
        free = next(each for number in count(1) if (each := f"{name}_{number}" if number > 1 else name) not in taken)
        taken.add(free)
        yield replace(one, name=free, inputs=tuple(own.get(name, name) for name in one.inputs))


def _names(values: Sequence[Value]) -> Iterator[str]:
    """What the inputs are called: x, y and z, masks, and indices."""
    seen: Counter[str] = Counter()
    for value in values:
        kind = "mask" if value.dtype == "bool" else "indices" if value.dtype.startswith("int") else "x"
        seen[kind] += 1
        number = seen[kind]
        short = kind == "x" and number <= 3
        yield "xyz"[number - 1] if short else kind if number == 1 else f"{kind}_{number}"

"""A graph while it is being read: operations are added one by one, with their shapes inferred and masks remembered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import RefusedError
from .concatenated_masks import shortened
from .operations import COMPARISONS, Graph, Operation, Result, Shape, Value, pruned
from .shape_rules import inferred

_BOOLEAN = {*COMPARISONS, "mask_steps"}


class Builder:
    """Collects operations. ``weight_shapes`` has the shape of every tensor of the checkpoint."""

    def __init__(self, weight_shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.masks: dict[str, Value] = {}
        self.notes: list[str] = []
        self.bookkeeping: list[str] = []
        self._weight_shapes = weight_shapes
        self._operations: list[Operation] = []
        self._inputs: list[Value] = []
        self._states: list[Result] = []
        self._taken: set[str] = set()
        self._models: tuple[tuple[str, int], ...] = ()
        self._calls: Counter[str] = Counter()
        self._masks: dict[
            object, tuple[Value, ...]
        ] = {}  # often made twice: by Keras, which writes them down, and here

    def input(self, name: str, shape: Shape, dtype: str) -> Value:
        """A new input of the model."""
        value = Value(self._free_name(name), shape, dtype)
        self._inputs.append(value)
        return value

    def state(self, name: str, value: Value) -> None:
        """Make a value a result beside the model's own outputs."""
        self._states.append(Result(self._free_name(name), value.name))

    @contextmanager
    def within(self, model: str) -> Iterator[None]:
        """Everything that is added comes from a call of this nested model."""
        before = self._models
        self._calls[model] += 1
        self._models = (*before, (model, self._calls[model]))
        try:
            yield
        finally:
            self._models = before

    def add(
        self,
        kind: str,
        inputs: Sequence[Value | None],
        settings: Mapping[str, Any],
        *,
        layer: str,
        suffix: str = "",
        weights: Mapping[str, str] | None = None,
        layout: str = "",
        dtype: str | None = None,
        shapes: Sequence[Shape] | None = None,
        ends: Sequence[str] = (),
    ) -> tuple[Value, ...]:
        """Add an operation and give its outputs.

        It is called ``layer/suffix``, or ``layer`` without one; its outputs are called like it, those after the first
        with ``ends``. Raises RefusedError where the inputs' shapes do not fit."""
        weights = weights or {}
        name = self._free_name(f"{layer}/{suffix}" if suffix else layer)
        # Keras writes down how masks are made, where a layer takes one; they are made here, too.
        is_mask = kind in _BOOLEAN or dtype == "bool" or (kind == "constant" and not settings["value"].ndim)
        again = (kind, tuple(value and value.name for value in inputs), repr(sorted(settings.items())), self._models)
        if is_mask and again in self._masks:
            return self._masks[again]
        if shapes is None:
            shapes = self._inferred(name, kind, settings, inputs, weights)
        names = [
            name,
            *(self._free_name(f"{name}/{end}") for end in [*ends, *map(str, range(len(ends) + 1, len(shapes)))]),
        ]
        made = "bool" if kind in _BOOLEAN else dtype or next((v.dtype for v in inputs if v is not None), "float32")
        outputs = tuple(Value(own, shape, made) for own, shape in zip(names, shapes, strict=False))
        given = tuple("" if value is None else value.name for value in inputs)
        own = dict(settings), dict(weights), layout, self._models
        self._operations.append(Operation(kind, name, layer, given, outputs, *own))
        if is_mask:
            self._masks[again] = outputs
        return outputs

    def built(self, name: str, results: Sequence[tuple[str, Value]]) -> Graph:
        """The whole graph, without what no result needs."""
        own = [Result(self._free_result(result), value.name) for result, value in results]
        notes = tuple(dict.fromkeys(self.notes))
        every = (*own, *self._states)
        graph = Graph(name, tuple(self._inputs), every, tuple(self._operations), notes, tuple(self.bookkeeping))
        return pruned(shortened(graph))

    def _inferred(
        self,
        name: str,
        kind: str,
        settings: Mapping[str, Any],
        inputs: Sequence[Value | None],
        weights: Mapping[str, str],
    ) -> list[Shape]:
        known = {local: self._weight_shapes[tensor] for local, tensor in weights.items()}
        try:
            return inferred(kind, settings, [value.shape for value in inputs if value is not None], known)
        except RefusedError as error:
            raise RefusedError(f"{name}: {error}") from error

    def _free_name(self, name: str) -> str:
        free, number = name, 1
        while free in self._taken:
            number += 1
            free = f"{name}_{number}"
        self._taken.add(free)
        return free

    def _free_result(self, name: str) -> str:
        """A result may be called like the value that it is; two results may not be called alike."""
        free, number = name, 1
        while f"result {free}" in self._taken:
            number += 1
            free = f"{name}_{number}"
        self._taken.add(f"result {free}")
        return free

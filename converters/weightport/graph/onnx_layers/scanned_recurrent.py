"""Recurrent layers with activations that ONNX' own operators do not have: one step after the other in a ``Scan``.

What comes out has the form of the operators' own outputs, so that everything around is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..onnx_context import Context
from ..operations import Operation
from .activation import activated_as

if TYPE_CHECKING:
    import onnx_ir as ir

_GATES = {"lstm": 4, "gru": 3, "rnn": 1}


@dataclass(frozen=True)
class Given:
    """What a recurrent operator of ONNX takes: steps ``(time, batch, features)``, weights by their names, how many
    steps count of each sample (None: all), and initial states (None: zeros)."""

    x: ir.Value
    weights: Mapping[str, ir.Value]
    lengths: ir.Value | None
    states: Sequence[ir.Value | None]


@dataclass(frozen=True)
class Cell:
    """One direction of a layer: its recurrent weight ``(units, gates * units)`` and bias (None: there is none)."""

    context: Context
    operation: Operation
    weight: ir.Value
    bias: ir.Value | None

    def product(self, state: ir.Value) -> ir.Value:
        """What the state gives to the gates."""
        return self.biased(self.context.node("MatMul", [state, self.weight]), self.bias)

    def biased(self, value: ir.Value, bias: ir.Value | None) -> ir.Value:
        """With the bias, where there is one."""
        return self.context.node("Add", [value, bias]) if bias is not None else value

    def activated(self, which: str, value: ir.Value) -> ir.Value:
        """After the activation that the settings have under a name."""
        return activated_as(self.context, self.operation, self.operation.settings[which], value)

    def split(self, value: ir.Value, *gates: int) -> Sequence[ir.Value]:
        """Parts of so many gates each."""
        sizes = [count * self.operation.settings["units"] for count in gates]
        return self.context.node_of_many("Split", [value, self.context.whole(sizes)], {"axis": -1}, len(gates))


def scanned(c: Context, operation: Operation, given: Given) -> list[ir.Value]:
    """``(time, directions, batch, units)``, then the last states ``(directions, batch, units)``.

    Steps after a sample's length keep its states."""
    direction = operation.settings["direction"]
    backwards = {"forward": [False], "backwards": [True], "bidirectional": [False, True]}[direction]
    keep = None if given.lengths is None else _counted(c, given.x, given.lengths)
    sides = [_side(c, operation, given, keep, index, backward) for index, backward in enumerate(backwards)]
    steps, *last = zip(*sides, strict=True)
    return [_together(c, steps, 1), *(_together(c, state, 0) for state in last)]


def _counted(c: Context, x: ir.Value, lengths: ir.Value) -> ir.Value:
    """Which steps count, ``(time, batch, 1)``."""
    time = c.node("Squeeze", [c.node("Shape", [x], {"start": 0, "end": 1})])
    places = c.node("Range", [c.number(0, "int64"), time, c.number(1, "int64")])
    sizes = c.node("Cast", [lengths], {"to": int(c.dtype("int64"))})
    counted = c.node("Less", [c.node("Unsqueeze", [places, c.whole([1])]), c.node("Unsqueeze", [sizes, c.whole([0])])])
    return c.node("Unsqueeze", [counted, c.whole([2])])


def _one(c: Context, value: ir.Value | None, index: int) -> ir.Value | None:
    """One direction of what all directions have."""
    return None if value is None else c.node("Gather", [value, c.number(index, "int64")], {"axis": 0})


def _together(c: Context, sides: Sequence[ir.Value], axis: int) -> ir.Value:
    wide = [c.node("Unsqueeze", [side, c.whole([axis])]) for side in sides]
    return wide[0] if len(wide) == 1 else c.node("Concat", wide, {"axis": axis})


def _side(
    c: Context, operation: Operation, given: Given, keep: ir.Value | None, index: int, backward: bool
) -> list[ir.Value]:
    """The outputs of every step ``(time, batch, units)`` and the last states of one direction."""
    units = operation.settings["units"]
    kernel, recurrent = (c.node("Transpose", [_one(c, given.weights[key], index)], {"perm": [1, 0]}) for key in "WR")
    gates = c.node("MatMul", [given.x, kernel])
    bias = _one(c, given.weights.get("B"), index)
    if bias is not None:
        halves = c.whole([_GATES[operation.kind] * units] * 2)
        own, bias = c.node_of_many("Split", [bias, halves], {"axis": 0}, 2)
        gates = c.node("Add", [gates, own])
    states = [_one(c, state, index) or _zeros(c, operation, given.x) for state in given.states]
    steps = [gates, *([keep] if keep is not None else [])]
    cell = Cell(c, operation, recurrent, bias)
    body = c.body(f"{operation.name}.step", *_step(cell, len(states), keep is not None))
    attributes = {
        "body": body,
        "num_scan_inputs": len(steps),
        "scan_input_directions": [int(backward)] * len(steps),
        "scan_output_directions": [int(backward)],
    }
    *last, outputs = c.node_of_many("Scan", [*states, *steps], attributes, len(states) + 1)
    return [outputs, *last]


def _zeros(c: Context, operation: Operation, x: ir.Value) -> ir.Value:
    batch = c.node("Shape", [x], {"start": 1, "end": 2})
    shape = c.node("Concat", [batch, c.whole([operation.settings["units"]])], {"axis": 0})
    return c.node("Expand", [c.number(0.0), shape])


def _step(cell: Cell, states: int, masked: bool) -> tuple[list[ir.Value], Callable[[], list[ir.Value]]]:
    """The inputs of one step (the states, what its input gives to the gates, whether it counts), and what writes it."""
    import onnx_ir as ir

    c, operation = cell.context, cell.operation
    number = ir.TensorType(c.dtype(operation.outputs[0].dtype))
    names = [*(f"state{index}" for index in range(states)), "gates"]
    inputs = [ir.Value(name=f"{operation.name}.{name}", type=number) for name in names]
    if masked:
        inputs.append(ir.Value(name=f"{operation.name}.counts", type=ir.TensorType(ir.DataType.BOOL)))

    def write() -> list[ir.Value]:
        old, gates = inputs[:states], inputs[states]
        new = _CELLS[operation.kind](cell, old, gates)
        if masked:
            new = [c.node("Where", [inputs[-1], now, then]) for now, then in zip(new, old, strict=True)]
        return [*new, c.node("Identity", [new[0]])]

    return inputs, write


def _lstm(cell: Cell, states: Sequence[ir.Value], gates: ir.Value) -> list[ir.Value]:
    """ONNX' order of the gates: input, output, forget, candidate."""
    c, (hidden, old) = cell.context, states
    parts = cell.split(c.node("Add", [gates, cell.product(hidden)]), 1, 1, 1, 1)
    into, out, forget = (cell.activated("recurrent_activation", part) for part in parts[:3])
    candidate = cell.activated("activation", parts[3])
    new = c.node("Add", [c.node("Mul", [forget, old]), c.node("Mul", [into, candidate])])
    return [c.node("Mul", [out, cell.activated("cell_activation", new)]), new]


def _gru(cell: Cell, states: Sequence[ir.Value], gates: ir.Value) -> list[ir.Value]:
    """ONNX' order of the gates: update, reset, candidate."""
    c, (hidden,) = cell.context, states
    own, own_candidate = cell.split(gates, 2, 1)
    if cell.operation.settings["reset"] == "after":
        others, candidate = cell.split(cell.product(hidden), 2, 1)
        update, reset = _update_and_reset(cell, own, others)
        candidate = c.node("Mul", [reset, candidate])
    else:
        weights = cell.split(cell.weight, 2, 1)
        biases = [None, None] if cell.bias is None else cell.split(cell.bias, 2, 1)
        others = cell.biased(c.node("MatMul", [hidden, weights[0]]), biases[0])
        update, reset = _update_and_reset(cell, own, others)
        candidate = cell.biased(c.node("MatMul", [c.node("Mul", [reset, hidden]), weights[1]]), biases[1])
    new = cell.activated("activation", c.node("Add", [own_candidate, candidate]))
    away = c.node("Mul", [update, c.node("Sub", [hidden, new])])
    return [c.node("Add", [new, away])]


def _update_and_reset(cell: Cell, own: ir.Value, others: ir.Value) -> list[ir.Value]:
    parts = cell.split(cell.context.node("Add", [own, others]), 1, 1)
    return [cell.activated("recurrent_activation", part) for part in parts]


def _rnn(cell: Cell, states: Sequence[ir.Value], gates: ir.Value) -> list[ir.Value]:
    return [cell.activated("activation", cell.context.node("Add", [gates, cell.product(states[0])]))]


_CELLS: Mapping[str, Callable[[Cell, Sequence[ir.Value], ir.Value], list[ir.Value]]] = {
    "lstm": _lstm,
    "gru": _gru,
    "rnn": _rnn,
}

"""Convolutional LSTMs: the convolution of all inputs at once, that of the states step by step in a ``Scan``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..activations import ACTIVATIONS, with_defaults
from ..onnx_context import Context, Order, channels_first, plain
from ..onnx_registry import emits
from ..operations import Operation
from ..sizes import padding_amounts
from .activation import activated
from .convolution import known_padding
from .reshaping import LAST

if TYPE_CHECKING:
    import onnx_ir as ir


@emits("conv_lstm")
def conv_lstm(c: Context, operation: Operation) -> None:
    """``Conv``, then a ``Scan`` whose states are maps with the channels first."""
    settings = operation.settings
    gates = _input_gates(c, operation)
    states = [
        c.get(operation, i, _step_order(operation, c.info(operation, i).rank)) for i in range(1, len(operation.inputs))
    ]
    states = states or [_zeros(c, operation, gates)] * 2
    body = c.body(f"{operation.name}.step", *_step(c, operation))
    backwards = settings["direction"] == "backwards"
    attributes = {"body": body, "num_scan_inputs": 1, "scan_input_directions": [int(backwards)]}
    hidden, cell, steps = c.node_of_many("Scan", [*states, gates], attributes, 3)
    rank = c.info(operation).rank
    if settings["return_sequences"]:
        c.put(operation, steps, _steps_order(operation, rank))
    else:
        c.put(operation, c.node("Identity", [hidden]), _step_order(operation, rank - 1))
    for index, state in enumerate((hidden, cell)):
        if c.is_used(operation, index + 1):
            c.put(operation, state, _step_order(operation, rank - 1), index + 1)


def _steps_order(operation: Operation, rank: int) -> Order:
    """Time, batch, channels, then the map."""
    if operation.settings["channels_first"]:
        return (1, 0, *range(2, rank))
    return (1, 0, rank - 1, *range(2, rank - 1))


def _step_order(operation: Operation, rank: int) -> Order:
    return plain(rank) if operation.settings["channels_first"] else channels_first(rank)


def _input_gates(c: Context, operation: Operation) -> ir.Value:
    """What the inputs give to the gates, ``(time, batch, 4 * units, ...)``."""
    settings, rank = operation.settings, c.info(operation).rank
    order = _steps_order(operation, rank)
    sizes = [c.info(operation).shape[axis] for axis in order]
    x = c.get(operation, order=order)
    shape = c.node("Shape", [x])
    front = c.node("Slice", [shape, c.whole([0]), c.whole([2])])
    each = c.node("Slice", [shape, c.whole([2]), c.whole([LAST])])
    folded = c.node("Reshape", [x, c.node("Concat", [c.whole([-1]), each], {"axis": 0})])
    *kernel, _, _ = c.shape_of_weight(operation, "kernel")
    amounts = [
        padding_amounts(*window, settings["padding"])
        for window in zip(sizes[3:], kernel, settings["strides"], settings["dilation"], strict=True)
    ]
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": list(settings["strides"]),
        "dilations": list(settings["dilation"]),
        **known_padding(operation, amounts, kernel, settings["strides"]),
    }
    gates = c.node("Conv", [folded, *_weights(c, operation, "kernel", "W", bias=True)], attributes)
    rest = c.node("Slice", [c.node("Shape", [gates]), c.whole([1]), c.whole([LAST])])
    return c.node("Reshape", [gates, c.node("Concat", [front, rest], {"axis": 0})])


def _weights(c: Context, operation: Operation, local: str, name: str, *, bias: bool) -> list[ir.Value]:
    rank = len(c.shape_of_weight(operation, local)) - 2
    kernel = c.turned(operation, local, (rank + 1, rank, *range(rank)))
    found = [c.weight(operation, kernel, name)]
    if bias and "bias" in operation.weights:
        found.append(c.weight(operation, c.turned(operation, "bias", (0,)), "B"))
    return found


def _zeros(c: Context, operation: Operation, gates: ir.Value) -> ir.Value:
    """A state of zeros: as large as the gates of one step, with the channels of one of them."""
    shape = c.node("Shape", [gates])
    batch = c.node("Slice", [shape, c.whole([1]), c.whole([2])])
    sizes = c.node("Slice", [shape, c.whole([3]), c.whole([LAST])])
    whole = c.node("Concat", [batch, c.whole([operation.settings["units"]]), sizes], {"axis": 0})
    return c.node("Expand", [c.number(0.0, operation.outputs[0].dtype), whole])


def _step(c: Context, operation: Operation) -> tuple[list[ir.Value], Any]:
    """The inputs of one step (hidden, cell, gates), and what writes it."""
    import onnx_ir as ir

    dtype = ir.TensorType(c.dtype(operation.outputs[0].dtype))
    names = [f"{operation.name}.{name}" for name in ("hidden", "cell", "gates")]
    hidden, cell, given = (ir.Value(name=name, type=dtype) for name in names)

    def write() -> list[ir.Value]:
        size = [*c.shape_of_weight(operation, "recurrent_kernel")][:-2]
        amounts = [padding_amounts(None, length, 1, 1, "same") or (0, 0) for length in size]
        pads = [*(before for before, _ in amounts), *(after for _, after in amounts)]
        kernel = _weights(c, operation, "recurrent_kernel", "R", bias=False)
        sums = c.node("Add", [given, c.node("Conv", [hidden, *kernel], {"kernel_shape": size, "pads": pads})])
        forgotten, kept = _gates(c, operation, sums, cell)
        state = c.node("Add", [forgotten, kept[0]])
        output = c.node("Mul", [kept[1], _activated(c, operation, "activation", state)])
        return [output, state, c.node("Identity", [output])]

    return [hidden, cell, given], write


def _gates(c: Context, operation: Operation, sums: ir.Value, cell: ir.Value) -> tuple[ir.Value, list[ir.Value]]:
    """What is left of the old cell; and the new candidate and the output gate. Keras' order: input, forget, candidate,
    output."""
    units = operation.settings["units"]
    parts = c.node_of_many("Split", [sums, c.whole([units] * 4)], {"axis": 1}, 4)
    into, forget, out = (_activated(c, operation, "recurrent_activation", parts[index]) for index in (0, 1, 3))
    candidate = _activated(c, operation, "activation", parts[2])
    return c.node("Mul", [forget, cell]), [c.node("Mul", [into, candidate]), out]


def _activated(c: Context, operation: Operation, which: str, x: ir.Value) -> ir.Value:
    name = operation.settings[which]
    return activated(c, operation, x, with_defaults(name, ACTIVATIONS[name]))

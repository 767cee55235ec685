"""Masks of recurrent layers, exactly: the steps that count are brought to the front, run, and brought back.

ONNX' operators know lengths only. Keras skips a masked step wherever it stands: the state stays as it is and the output
is the one before (or zeros). Brought to the front, the steps that count are a sequence of a certain length; every
original step then takes the output of the last step that counted by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..onnx_context import Context
from ..operations import Operation

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Compact:
    """What one mask makes of the steps. ``counted`` is, at every step, how many count up to and with it."""

    mask: ir.Value
    numbers: ir.Value
    counted: ir.Value
    lengths: ir.Value
    order: ir.Value

    @classmethod
    def of(cls, c: Context, operation: Operation) -> Compact:
        """For an operation's mask; layers with the same mask share it."""
        name = operation.inputs[1]
        if ("compact", name) not in c.shared:
            c.shared["compact", name] = cls._made(c, c.get(operation, 1))
        found: Compact = c.shared["compact", name]
        return found

    @classmethod
    def _made(cls, c: Context, mask: ir.Value) -> Compact:
        axis = c.number(1, "int64")
        numbers = c.node("Cast", [mask], {"to": int(c.dtype("int64"))})
        counted = c.node("CumSum", [numbers, axis])
        total = c.node("ReduceSum", [numbers, c.whole([1])], {"keepdims": 0})
        lengths = c.node("Cast", [total], {"to": int(c.dtype("int32"))})
        # Steps in their order, those that count before those that do not: the largest of -(place + n if masked).
        steps = c.node("Shape", [mask], {"start": 1, "end": 2})
        ones = c.node("Expand", [c.number(1, "int64"), c.node("Shape", [mask])])
        place = c.node("CumSum", [ones, axis])
        masked = c.node("Sub", [c.number(1, "int64"), numbers])
        rank = c.node("Neg", [c.node("Add", [place, c.node("Mul", [masked, steps])])])
        order = c.node_of_many("TopK", [rank, steps], {"axis": 1, "largest": 1, "sorted": 1}, 2)[1]
        return cls(mask, numbers, counted, lengths, c.node("Unsqueeze", [order, c.whole([2])]))

    def steps(self, c: Context, operation: Operation) -> ir.Value:
        """The operation's steps, those that count at the front: ``(time, batch, features)``."""
        front = c.node("GatherND", [c.get(operation), self.order], {"batch_dims": 1})
        return c.node("Transpose", [front], {"perm": [1, 0, 2]})

    def spread(self, c: Context, operation: Operation, y: ir.Value, *, backward: bool) -> ir.Value:
        """``(batch, time, units)`` at the original steps, from ``(time, batch, units)`` of those that count.

        Read backwards, a step takes the output of the next one that counts."""
        batch_first = c.node("Transpose", [y], {"perm": [1, 0, 2]})
        one = c.number(1, "int64")
        if backward:
            before = c.node("Sub", [self.counted, self.numbers])
            last = c.node("Sub", [c.node("Shape", [self.mask], {"start": 1, "end": 2}), one])
            index = c.node("Min", [before, last])
            wide = c.node("Unsqueeze", [c.node("Cast", [self.lengths], {"to": int(c.dtype("int64"))}), c.whole([1])])
            is_there = c.node("Less", [before, wide])
        else:
            index = c.node("Max", [c.node("Sub", [self.counted, one]), c.number(0, "int64")])
            is_there = c.node("Greater", [self.counted, c.number(0, "int64")])
        taken = c.node("GatherND", [batch_first, c.node("Unsqueeze", [index, c.whole([2])])], {"batch_dims": 1})
        keep = self.mask if operation.settings["zero_output_for_mask"] else is_there
        zero = c.number(0, operation.outputs[0].dtype)
        return c.node("Where", [c.node("Unsqueeze", [keep, c.whole([2])]), taken, zero])

    def last(self, c: Context, operation: Operation, y: ir.Value, *, backward: bool) -> ir.Value:
        """The output of the last step that is run ``(batch, units)``: zeros where none counts, or where zeros are
        wanted and the last does not."""
        if operation.settings["zero_output_for_mask"]:
            ends = (0, 1) if backward else (-1, 2**62)
            keep = c.node("Slice", [self.mask, c.whole([ends[0]]), c.whole([ends[1]]), c.whole([1])])
        else:
            some = c.node("Greater", [self.lengths, c.number(0, "int32")])
            keep = c.node("Unsqueeze", [some, c.whole([1])])
        return c.node("Where", [keep, y, c.number(0, operation.outputs[0].dtype)])

"""EinsumDense: what its equation says of the kernel, where it is the equation of a dense layer.

``btij,ijo->bto`` is a dense layer whose kernel has its inputs in two dimensions. Any other equation, one that keeps an
axis of kernel and input (``bti,tio->bto``), is none. Source: keras/src/layers/core/einsum_dense.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ._keras_config import Entry

_EQUATION = re.compile(r"(\.\.\.)?([a-zA-Z]+)(\.\.\.)?,([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)(\.\.\.)?")
_MOST = 2


@dataclass(frozen=True)
class EinsumForm:
    """How many dimensions of the kernel are inputs and outputs, and whether the outputs stand first.

    ``straight``: the input ends in the kernel's inputs and the output in its outputs, in the kernel's order."""

    inputs: int
    outputs: int
    turned: bool
    straight: bool


def einsum_form(entry: Entry) -> EinsumForm | str:
    """The form of the kernel, or the reason why the layer is no dense layer."""
    equation = entry.config.get("equation")
    found = _EQUATION.fullmatch(equation.replace(" ", "")) if isinstance(equation, str) else None
    if found is None:
        return "its equation is not known" if equation is None else f"its equation {equation!r} is not that of a layer"
    given, kernel, result = found[2], found[4], found[6]
    inputs = "".join(axis for axis in kernel if axis in given and axis not in result)
    outputs = "".join(axis for axis in kernel if axis in result and axis not in given)
    if kernel not in (inputs + outputs, outputs + inputs) or not (1 <= len(inputs) <= _MOST >= len(outputs) >= 1):
        return f"its equation {equation!r} is not that of a dense layer with up to {_MOST} axes of inputs and outputs"
    straight = given.endswith(inputs) and result.endswith(outputs) and not (found[3] or found[7])
    bias = entry.config.get("bias_axes")
    if bias is not None and (not isinstance(bias, str) or set(bias) != set(outputs) or not result.endswith(outputs)):
        return f"its bias is over {bias!r}, and that of a dense layer over all outputs, {outputs!r}"
    return EinsumForm(len(inputs), len(outputs), kernel == outputs + inputs, straight)

"""Arithmetic, comparisons, reductions and choosing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from functools import reduce as fold

import numpy as np

from ..operations import BINARY, Operation
from ..torch_code import Call, call, is_number, is_simple, number, quoted
from ..torch_context import Context, natural
from ..torch_registry import emits

_OPERATORS: Mapping[str, str] = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "power": "**",
    "floor_divide": "//",
    "mod": "%",
    "equal": "==",
    "not_equal": "!=",
    "greater": ">",
    "greater_equal": ">=",
    "less": "<",
    "less_equal": "<=",
    "logical_and": "&",
    "logical_or": "|",
    "logical_xor": "^",
}
_BOUNDS = {"maximum": "min", "minimum": "max"}
"""What ``clamp`` calls the number that a value is compared with."""
_OTHER_UNARY = {"negative": "neg", "asinh": "asinh", "acosh": "acosh", "atanh": "atanh"}
_DTYPES = {"bool": "torch.bool", "bfloat16": "torch.bfloat16"}


@emits(*BINARY)
def binary(c: Context, operation: Operation) -> None:
    """Two or more values, elementwise."""
    values, order = c.every(operation)
    kind = operation.kind
    if kind in _BOUNDS:
        c.put(operation, fold(partial(_extreme, kind), values), order)
    elif kind == "average":
        c.put(operation, f"({' + '.join(values)}) / {len(values)}", order)
    elif kind == "power" and all(map(is_simple, values)):
        c.put(operation, "**".join(values), order)
    else:
        c.put(operation, f" {_OPERATORS[kind]} ".join(values), order)


def _extreme(kind: str, one: str, other: str) -> str:
    """The larger or the smaller; ``torch.maximum`` takes no number."""
    if is_number(one):
        one, other = other, one
    return f"{one}.clamp({_BOUNDS[kind]}={other})" if is_number(other) else f"torch.{kind}({one}, {other})"


@emits("concatenate")
def concatenate(c: Context, operation: Operation) -> None:
    """One after the other."""
    values, order = c.every(operation)
    place = order.index(operation.settings["axis"])
    dim = -1 if place == len(order) - 1 else place
    c.put(operation, call("torch.cat", f"[{', '.join(values)}]", dim=dim), order)


@emits("stack")
def stack(c: Context, operation: Operation) -> None:
    """Along a new axis."""
    values = [c.get(operation, index) for index in range(len(operation.inputs))]
    c.put(operation, call("torch.stack", f"[{', '.join(values)}]", dim=operation.settings["axis"]))


@emits("dot")
def dot(c: Context, operation: Operation) -> None:
    """Products summed along one axis of each."""
    settings = operation.settings
    one, other = c.get(operation), c.get(operation, 1)
    ranks = [c.value(operation, index).rank for index in range(2)]
    axes = settings["axes"]
    if settings["normalize"]:
        one, other = (
            f"nn.functional.normalize({x}, dim={axis}, eps=1e-6)" for x, axis in zip((one, other), axes, strict=True)
        )
    left, right = ["b", *"ijkl"[: ranks[0] - 1]], ["b", *"mnop"[: ranks[1] - 1]]
    left[axes[0]] = right[axes[1]] = "s"
    rest = [letter for letter in (*left[1:], *right[1:]) if letter != "s"]
    equation = f"{''.join(left)},{''.join(right)}->b{''.join(rest)}"
    c.put(operation, Call("torch.einsum", (quoted(equation), one, other), "" if rest else ".unsqueeze(-1)"))


@emits("matmul")
def matmul(c: Context, operation: Operation) -> None:
    """The matrix product."""
    c.put(operation, f"{c.get(operation)} @ {c.get(operation, 1)}")


@emits("einsum")
def einsum(c: Context, operation: Operation) -> None:
    """Einstein's sums."""
    values = [c.get(operation, index) for index in range(len(operation.inputs))]
    c.put(operation, call("torch.einsum", quoted(operation.settings["equation"]), *values))


@emits("unary")
def unary(c: Context, operation: Operation) -> None:
    """One function of every element."""
    function, order = operation.settings["function"], c.order(operation)
    x = c.get(operation, order=order)
    c.put(operation, f"{x}.{_OTHER_UNARY.get(function, function)}()", order)


@emits("clip")
def clip(c: Context, operation: Operation) -> None:
    """Between two bounds."""
    settings, order = operation.settings, c.order(operation)
    x = c.get(operation, order=order)
    c.put(operation, f"{x}.clamp({settings['minimum']}, {settings['maximum']})", order)


@emits("reduce")
def reduce(c: Context, operation: Operation) -> None:
    """Over some axes."""
    settings = operation.settings
    names = {"max": "amax", "min": "amin"}
    function, axes = settings["function"], settings["axes"]
    if function == "prod" and len(axes) > 1:
        made = c.get(operation)
        for axis in sorted(axes, reverse=True):
            made = f"{made}.prod({axis}{', keepdim=True' if settings['keepdims'] else ''})"
        c.put(operation, made)
        return
    one_only = function in ("prod", "any", "all") and len(axes) == 1
    place: object = axes[0] if len(axes) == 1 or one_only else tuple(axes)
    keep = True if settings["keepdims"] else None
    more = {"correction": 0} if function in ("var", "std") else {}
    c.put(operation, call(f"{c.get(operation)}.{names.get(function, function)}", place, **more, keepdim=keep))


@emits("arg_extreme")
def arg_extreme(c: Context, operation: Operation) -> None:
    """Where the largest or the smallest is."""
    settings = operation.settings
    keep = True if settings["keepdims"] else None
    made = call(f"{c.get(operation)}.arg{settings['function']}", settings["axes"][0], keepdim=keep)
    c.put(operation, f"{made}.int()")


@emits("where")
def where(c: Context, operation: Operation) -> None:
    """One value or the other."""
    values = [c.get(operation, index) for index in range(3)]
    c.put(operation, call("torch.where", *values))


@emits("cast")
def cast(c: Context, operation: Operation) -> None:
    """Another dtype."""
    dtype, order = operation.settings["dtype"], c.order(operation)
    c.put(operation, f"{c.get(operation, order=order)}.to({torch_dtype(dtype)})", order)


@emits("constant")
def constant(c: Context, operation: Operation) -> None:
    """A number, or a tensor of numbers."""
    value = np.asarray(operation.settings["value"])
    if value.ndim == 0:
        c.hold(operation, number(value[()]))
    else:
        made = call("torch.tensor", repr(value.tolist()), dtype=torch_dtype(str(value.dtype)))
        c.put(operation, made)


@emits("fill")
def fill(c: Context, operation: Operation) -> None:
    """A number everywhere."""
    value = np.asarray(operation.settings["value"])
    dtype = torch_dtype(str(value.dtype))
    c.put(operation, call("torch.full_like", c.get(operation), number(value[()]), dtype=dtype))


@emits("slice")
def slice_(c: Context, operation: Operation) -> None:
    """Part of some axes; one that is read backwards is turned round first."""
    settings, rank = operation.settings, c.value(operation).rank
    parts, turned = [":"] * rank, []
    for axis, start, stop, step in zip(*(settings[key] for key in ("axes", "starts", "stops", "steps")), strict=True):
        ends = [start, stop]
        if step < 0:
            turned.append(str(axis))
            ends = [None if one is None else -one - 1 for one in ends]
        begin, end = ("" if one is None else str(one) for one in ends)
        parts[axis] = f"{begin}:{end}" + (f":{abs(step)}" if abs(step) != 1 else "")
    while parts and parts[-1] == ":":
        parts.pop()
    x = f"{c.get(operation)}.flip({', '.join(turned)})" if turned else c.get(operation)
    c.put(operation, f"{x}[{', '.join(parts)}]" if parts else x)


@emits("take")
def take(c: Context, operation: Operation) -> None:
    """Elements by their place."""
    axis = operation.settings["axis"]
    c.put(operation, f"{c.get(operation)}[{':, ' * axis}{c.get(operation, 1)}]")


@emits("cumulate")
def cumulate(c: Context, operation: Operation) -> None:
    """Sums of all before."""
    c.put(operation, f"{c.get(operation)}.cumsum({operation.settings['axis']})")


@emits("mask_steps")
def mask_steps(c: Context, operation: Operation) -> None:
    """Which steps have anything but the mask's value."""
    value = operation.settings["value"]
    number = 'float("nan")' if math.isnan(value) else repr(value)
    c.put(operation, Call(f"({c.get(operation)} != {number}).any", ("-1",)), natural(c.value(operation).rank - 1))


def torch_dtype(name: str) -> str:
    """A dtype as PyTorch calls it."""
    return _DTYPES.get(name, f"torch.{name}")

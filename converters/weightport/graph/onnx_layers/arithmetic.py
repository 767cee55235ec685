"""Elementwise arithmetic, comparisons and reductions, in whatever order the values are held."""

from __future__ import annotations

from functools import reduce as fold
from typing import TYPE_CHECKING

from ..onnx_context import Context, Order, plain
from ..onnx_registry import emits
from ..operations import COMPARISONS, Operation
from .normalisation import length
from .pooling import order_without

if TYPE_CHECKING:
    import onnx_ir as ir

_MERGES = {"maximum": "Max", "minimum": "Min", "average": "Mean"}
_FOLDS = {"add": "Add", "multiply": "Mul", "subtract": "Sub", "divide": "Div", "power": "Pow"}
_COMPARISONS = {
    "equal": "Equal",
    "not_equal": "Equal",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "logical_and": "And",
    "logical_or": "Or",
    "logical_xor": "Xor",
}
_UNARY = {
    "abs": "Abs",
    "negative": "Neg",
    "logical_not": "Not",
    "isnan": "IsNaN",
    "isinf": "IsInf",
    **{name: name.title() for name in ("reciprocal", "floor", "ceil", "round", "sqrt", "exp", "log", "erf", "sign")},
    **{name: name.title() for name in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh")},
    **{name: name.title() for name in ("asinh", "acosh", "atanh")},
}
_REDUCTIONS = {"sum": "Sum", "mean": "Mean", "max": "Max", "min": "Min", "prod": "Prod", "logsumexp": "LogSumExp"}


@emits("add", "subtract", "multiply", "divide", "power", "average", "maximum", "minimum", "floor_divide", "mod")
def binary(c: Context, operation: Operation) -> None:
    """Operators of two or many."""
    order = _common_order(c, operation)
    values = [_operand(c, operation, index, order) for index in range(len(operation.inputs))]
    kind = operation.kind
    if len(values) == 1:
        y = c.node("Identity", values)
    elif kind in _MERGES:
        y = c.node(_MERGES[kind], values)
    elif kind in _FOLDS:
        y = fold(lambda one, other: c.node(_FOLDS[kind], [one, other]), values)
    else:
        y = _whole_division(c, operation, values)
    c.put(operation, y, order)


def _whole_division(c: Context, operation: Operation, values: list[ir.Value]) -> ir.Value:
    one, other = values
    if operation.outputs[0].dtype.startswith(("int", "uint")):
        return c.node("Div" if operation.kind == "floor_divide" else "Mod", [one, other])
    floor = c.node("Floor", [c.node("Div", [one, other])])
    return floor if operation.kind == "floor_divide" else c.node("Sub", [one, c.node("Mul", [floor, other])])


@emits(*COMPARISONS)
def compare(c: Context, operation: Operation) -> None:
    """Comparisons and logic."""
    order = _common_order(c, operation)
    values = [_operand(c, operation, index, order) for index in range(2)]
    y = c.node(_COMPARISONS[operation.kind], values)
    c.put(operation, c.node("Not", [y]) if operation.kind == "not_equal" else y, order)


def _common_order(c: Context, operation: Operation) -> Order:
    """The order in which the first of the largest inputs is held, if the others have as many axes or one element."""
    rank = operation.outputs[0].rank
    ranks = [c.info(operation, index).rank for index in range(len(operation.inputs))]
    if any(one not in (0, rank) for one in ranks):
        return plain(rank)
    return c.order(operation, ranks.index(rank)) if rank in ranks else plain(rank)


def _operand(c: Context, operation: Operation, index: int, order: Order) -> ir.Value:
    info = c.info(operation, index)
    value = c.get(operation, index, order if info.rank == len(order) else None)
    wanted = operation.outputs[0].dtype
    mixed = operation.kind not in COMPARISONS and info.dtype != wanted
    return c.node("Cast", [value], {"to": int(c.dtype(wanted))}) if mixed else value


@emits("unary")
def unary(c: Context, operation: Operation) -> None:
    """One operator, or two."""
    order, function = c.order(operation), operation.settings["function"]
    x, dtype = c.get(operation, order=order), c.info(operation).dtype
    if function in _UNARY:
        y = c.node({"isnan": "IsNaN", "isinf": "IsInf"}.get(function, _UNARY[function]), [x])
    elif function == "square":
        y = c.node("Mul", [x, x])
    elif function == "rsqrt":
        y = c.node("Reciprocal", [c.node("Sqrt", [x])])
    elif function == "log1p":
        y = c.node("Log", [c.node("Add", [x, c.number(1.0, dtype)])])
    else:
        y = c.node("Sub", [c.node("Exp", [x]), c.number(1.0, dtype)])
    c.put(operation, y, order)


@emits("clip")
def clip(c: Context, operation: Operation) -> None:
    """``Clip``."""
    order, dtype = c.order(operation), c.info(operation).dtype
    bounds = [c.number(operation.settings[key], dtype) for key in ("minimum", "maximum")]
    c.put(operation, c.node("Clip", [c.get(operation, order=order), *bounds]), order)


@emits("where")
def where(c: Context, operation: Operation) -> None:
    """``Where``."""
    order = _common_order(c, operation)
    values = [c.get(operation, i, order if c.info(operation, i).rank == len(order) else None) for i in range(3)]
    c.put(operation, c.node("Where", values), order)


@emits("cast")
def cast(c: Context, operation: Operation) -> None:
    """``Cast``."""
    order = c.order(operation)
    to = int(c.dtype(operation.settings["dtype"]))
    c.put(operation, c.node("Cast", [c.get(operation, order=order)], {"to": to}), order)


@emits("reduce")
def reduce(c: Context, operation: Operation) -> None:
    """Reductions; of truth values over whole numbers."""
    settings, order = operation.settings, c.order(operation)
    x, function, axes = c.get(operation, order=order), settings["function"], settings["axes"]
    places = c.whole(sorted(order.index(axis) for axis in axes))
    keepdims = {"keepdims": int(settings["keepdims"])}
    if function in ("any", "all"):
        y = truth(c, x, places, function, settings["keepdims"])
    elif function in ("var", "std"):
        mean = c.node("ReduceMean", [x, places], {"keepdims": 1})
        away = c.node("Sub", [x, mean])
        y = c.node("ReduceMean", [c.node("Mul", [away, away]), places], keepdims)
        y = c.node("Sqrt", [y]) if function == "std" else y
    else:
        y = c.node(f"Reduce{_REDUCTIONS[function]}", [x, places], keepdims)
    c.put(operation, y, order if settings["keepdims"] else order_without(order, axes))


def truth(c: Context, x: ir.Value, places: ir.Value, function: str, keepdims: bool) -> ir.Value:
    """Whether any or all are true."""
    operator = "ReduceMax" if function == "any" else "ReduceMin"
    numbers = c.node("Cast", [x], {"to": int(c.dtype("int32"))})
    reduced = c.node(operator, [numbers, places], {"keepdims": int(keepdims)})
    return c.node("Cast", [reduced], {"to": int(c.dtype("bool"))})


@emits("mask_steps")
def mask_steps(c: Context, operation: Operation) -> None:
    """Whether any element of a step is another than the value."""
    x, rank = c.get(operation), c.info(operation).rank
    same = c.node("Equal", [x, c.number(operation.settings["value"], c.info(operation).dtype)])
    c.put(operation, truth(c, c.node("Not", [same]), c.whole([rank - 1]), "any", keepdims=False))


@emits("arg_extreme")
def arg_extreme(c: Context, operation: Operation) -> None:
    """``ArgMax`` and ``ArgMin``."""
    settings, order = operation.settings, c.order(operation)
    attributes = {"axis": order.index(settings["axes"][0]), "keepdims": int(settings["keepdims"])}
    operator = "ArgMax" if settings["function"] == "max" else "ArgMin"
    found = c.node(operator, [c.get(operation, order=order)], attributes)
    y = c.node("Cast", [found], {"to": int(c.dtype(operation.outputs[0].dtype))})
    c.put(operation, y, order if settings["keepdims"] else order_without(order, settings["axes"]))


@emits("cumulate")
def cumulate(c: Context, operation: Operation) -> None:
    """``CumSum``."""
    order = c.order(operation)
    axis = c.number(order.index(operation.settings["axis"]), "int64")
    c.put(operation, c.node("CumSum", [c.get(operation, order=order), axis]), order)


@emits("concatenate")
def concatenate(c: Context, operation: Operation) -> None:
    """``Concat``."""
    order = c.order(operation)
    values = [_operand(c, operation, index, order) for index in range(len(operation.inputs))]
    c.put(operation, c.node("Concat", values, {"axis": order.index(operation.settings["axis"])}), order)


@emits("stack")
def stack(c: Context, operation: Operation) -> None:
    """``Concat`` along a new axis."""
    axis = operation.settings["axis"]
    wide = [c.node("Unsqueeze", [c.get(operation, i), c.whole([axis])]) for i in range(len(operation.inputs))]
    c.put(operation, c.node("Concat", wide, {"axis": axis}))


@emits("take")
def take(c: Context, operation: Operation) -> None:
    """``Gather``."""
    inputs = [c.get(operation), c.get(operation, 1)]
    c.put(operation, c.node("Gather", inputs, {"axis": operation.settings["axis"]}))


@emits("matmul")
def matmul(c: Context, operation: Operation) -> None:
    """``MatMul``."""
    c.put(operation, c.node("MatMul", [c.get(operation), c.get(operation, 1)]))


@emits("einsum")
def einsum(c: Context, operation: Operation) -> None:
    """``Einsum``."""
    values = [c.get(operation, index) for index in range(len(operation.inputs))]
    c.put(operation, c.node("Einsum", values, {"equation": operation.settings["equation"].replace(" ", "")}))


@emits("dot")
def dot(c: Context, operation: Operation) -> None:
    """``Einsum`` over one axis of each, the batch apart."""
    axes = operation.settings["axes"]
    values = [c.get(operation, index) for index in range(2)]
    if operation.settings["normalize"]:
        values = [
            c.node("Div", [value, length(c, value, c.whole([axis]))]) for value, axis in zip(values, axes, strict=True)
        ]
    terms, free = [], iter("abcdefgh")
    for index, axis in enumerate(axes):
        rank = c.info(operation, index).rank
        terms.append("".join("n" if a == 0 else "s" if a == axis else next(free) for a in range(rank)))
    left = "".join(letter for term in terms for letter in term if letter not in "ns")
    y = c.node("Einsum", values, {"equation": f"{','.join(terms)}->n{left}"})
    c.put(operation, y if left else c.node("Unsqueeze", [y, c.whole([1])]))

"""Dense layers, embeddings, and arithmetic with one vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..onnx_context import Context, Order, plain
from ..onnx_registry import emits
from ..operations import Operation

if TYPE_CHECKING:
    import onnx_ir as ir


@emits("dense")
def dense(c: Context, operation: Operation) -> None:
    """``Gemm`` of two axes, else ``MatMul`` and ``Add``, in whatever order the axes before the last are held."""
    order = c.order(operation)
    rank = len(order)
    order = order if order[-1] == rank - 1 else plain(rank)
    x = c.get(operation, order=order)
    weights = c.planned(operation, "onnx.dense", {"transB": 0})
    kernel = c.weight(operation, weights["B"], "weight")
    bias = c.weight(operation, weights["C"], "bias") if "C" in weights else None
    if rank == 2:
        c.put(operation, c.node("Gemm", [x, kernel, *([bias] if bias else [])]), order)
        return
    product = c.node("MatMul", [x, kernel])
    c.put(operation, c.node("Add", [product, bias]) if bias else product, order)


@emits("einsum_dense")
def einsum_dense(c: Context, operation: Operation) -> None:
    """``Einsum`` and ``Add``."""
    rank = len(c.shape_of_weight(operation, "kernel"))
    kernel = c.weight(operation, c.turned(operation, "kernel", range(rank)), "weight")
    equation = operation.settings["equation"].replace(" ", "")
    y = c.node("Einsum", [c.get(operation), kernel], {"equation": equation})
    c.put(operation, _with_bias(c, operation, y))


def _with_bias(c: Context, operation: Operation, y: ir.Value) -> ir.Value:
    if "bias" not in operation.weights:
        return y
    rank = len(c.shape_of_weight(operation, "bias"))
    return c.node("Add", [y, c.weight(operation, c.turned(operation, "bias", range(rank)), "bias")])


@emits("embedding")
def embedding(c: Context, operation: Operation) -> None:
    """``Gather`` of rows."""
    indices = c.get(operation)
    if not c.info(operation).dtype.startswith(("int", "uint")) or c.info(operation).dtype not in ("int32", "int64"):
        indices = c.node("Cast", [indices], {"to": int(c.dtype("int32"))})
    table = c.weight(operation, c.planned(operation, "onnx.embedding")["data"], "weight")
    c.put(operation, c.node("Gather", [table, indices], {"axis": 0}))


@emits("affine")
def affine(c: Context, operation: Operation) -> None:
    """``Mul`` and ``Add``; what is one number or zero is left out."""
    order = c.order(operation)
    y = c.get(operation, order=order)
    dtype = c.info(operation).dtype
    for operator, key, neutral in (("Mul", "scale", 1), ("Add", "offset", 0)):
        said = operation.settings[key]
        if np.any(np.asarray(said) != neutral):
            y = c.node(operator, [y, _vector(c, said, key, order, dtype)])
    c.put(operation, c.node("Identity", [y]) if y is c.get(operation, order=order) else y, order)


def _vector(c: Context, said: object, key: str, order: Order, dtype: str) -> ir.Value:
    """A number, or one for each element of the last axis, where that axis is held."""
    array = np.asarray(said, dtype)
    if not array.ndim:
        return c.number(float(array), dtype)
    return c.own_constant(array.reshape([-1 if axis == len(order) - 1 else 1 for axis in order]), key)


@emits("prescale")
def prescale(c: Context, operation: Operation) -> None:
    """``Mul`` by one factor a channel."""
    order = c.order(operation)
    local = next(iter(operation.weights))
    shape = tuple(-1 if axis == len(order) - 1 else 1 for axis in order)
    factors = c.weight(operation, c.turned(operation, local, (0,), shape), "weight")
    c.put(operation, c.node("Mul", [c.get(operation, order=order), factors]), order)


@emits("constant")
def constant(c: Context, operation: Operation) -> None:
    """An initializer."""
    value = operation.settings["value"]
    c.put(operation, c.own_constant(np.asarray(value), "value") if value.ndim else _scalar(c, operation))


def _scalar(c: Context, operation: Operation) -> ir.Value:
    value, dtype = operation.settings["value"], operation.outputs[0].dtype
    return c.number(value.item(), dtype)

"""Operations of ``keras.ops`` that compute, in Functional models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import RefusedError
from ..activations import with_defaults
from ..keras_arguments import as_list
from ..keras_call import Call, Nested, translates
from ..operations import UNARY, Value

_BINARY = {
    "Add": "add",
    "Subtract": "subtract",
    "Multiply": "multiply",
    "Divide": "divide",
    "TrueDivide": "divide",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Power": "power",
    "FloorDivide": "floor_divide",
    "Mod": "mod",
    "Equal": "equal",
    "NotEqual": "not_equal",
    "Greater": "greater",
    "GreaterEqual": "greater_equal",
    "Less": "less",
    "LessEqual": "less_equal",
    "LogicalAnd": "logical_and",
    "LogicalOr": "logical_or",
    "LogicalXor": "logical_xor",
}
_UNARY = {
    "Absolute": "abs",
    "Arcsin": "asin",
    "Arccos": "acos",
    "Arctan": "atan",
    "Arcsinh": "asinh",
    "Arccosh": "acosh",
    "Arctanh": "atanh",
    **{name.capitalize(): name for name in UNARY if "_" not in name},
    "LogicalNot": "logical_not",
}
_REDUCTIONS = {
    "Sum": "sum",
    "Mean": "mean",
    "Max": "max",
    "Min": "min",
    "Amax": "max",
    "Amin": "min",
    "Prod": "prod",
    "Any": "any",
    "All": "all",
    "Var": "var",
    "Std": "std",
    "Logsumexp": "logsumexp",
}
_ACTIVATIONS = {
    "Relu": "relu",
    "Relu6": "relu6",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "SoftShrink": "soft_shrink",
    "SparsePlus": "sparse_plus",
    "SparseSigmoid": "sparse_sigmoid",
    "Silu": "silu",
    "Squareplus": "squareplus",
    "LogSigmoid": "log_sigmoid",
    "LeakyRelu": "leaky_relu",
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_silu",
    "Elu": "elu",
    "Selu": "selu",
    "Gelu": "gelu",
    "Celu": "celu",
    "TanhShrink": "tanh_shrink",
    "HardTanh": "hard_tanh",
    "HardShrink": "hard_shrink",
    "Threshold": "threshold",
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
}


def _named(names: Any) -> list[str]:
    return [f"ops.{name}" for name in names]


@translates(*_named(_BINARY))
def binary(call: Call) -> Nested:
    """Two values, one of which may be a number."""
    given = [call.argument(0, "x1"), call.argument(1, "x2")]
    like = call.x
    values = [one if isinstance(one, Value) else constant(call, one, like) for one in given]
    kind = _BINARY[call.entry.class_name]
    return call.add(kind, values, {}, dtype=_common_dtype(values))


@translates(*_named(_UNARY))
def unary(call: Call) -> Nested:
    """One function of every element."""
    function = _UNARY[call.entry.class_name]
    dtype = "bool" if function in ("logical_not", "isnan", "isinf") else None
    return call.add("unary", [call.x], {"function": function}, dtype=dtype)


@translates(*_named(_ACTIVATIONS))
def activation(call: Call) -> Nested:
    """The functions of ``keras.ops.nn``."""
    name = _ACTIVATIONS[call.entry.class_name]
    settings = with_defaults(name, {**call.config, **call.keywords})
    if "axis" in settings:
        settings["axis"] %= call.x.rank
    return call.add("activation", [call.x], settings)


@translates(*_named(_REDUCTIONS))
def reduction(call: Call) -> Nested:
    """Over some axes or all."""
    x = call.x
    function = _REDUCTIONS[call.entry.class_name]
    said = call.config.get("axis", call.keywords.get("axis"))
    axes = tuple(range(x.rank)) if said is None else tuple(one % x.rank for one in as_list(said))
    settings = {"function": function, "axes": axes, "keepdims": bool(call.config.get("keepdims"))}
    if function in ("any", "all") and x.dtype != "bool":
        x = call.add("cast", [x], {"dtype": "bool"}, suffix="bool", dtype="bool")
    return call.add("reduce", [x], settings)


@translates("ops.Argmax", "ops.Argmin")
def arg_extreme(call: Call) -> Nested:
    """Where the extreme is."""
    x, axis = call.x, call.config.get("axis")
    if axis is None:
        raise call.refused("the place in all elements together is not supported; give an axis")
    function = call.entry.class_name[3:].lower()
    settings = {"function": function, "axes": (axis % x.rank,), "keepdims": bool(call.config.get("keepdims"))}
    return call.add("arg_extreme", [x], settings, dtype="int32")


@translates("ops.Matmul")
def matmul(call: Call) -> Nested:
    """The matrix product."""
    return call.add("matmul", call.inputs, {})


@translates("ops.Einsum")
def einsum(call: Call) -> Nested:
    """Einstein's sums."""
    equation = call.config.get("subscripts") or call.argument(0, "subscripts")
    return call.add("einsum", call.inputs, {"equation": equation})


@translates("ops.Cast")
def cast(call: Call) -> Nested:
    """Another dtype."""
    dtype = call.config["dtype"]
    return call.add("cast", [call.x], {"dtype": dtype}, dtype=dtype)


@translates("ops.Clip")
def clip(call: Call) -> Nested:
    """Between two bounds."""
    bounds = {"minimum": call.config["x_min"], "maximum": call.config["x_max"]}
    return call.add("clip", [call.x], bounds)


@translates("ops.Where")
def where(call: Call) -> Nested:
    """One value or the other."""
    given = [call.argument(0, "condition"), call.argument(1, "x1"), call.argument(2, "x2")]
    like = next((one for one in given[1:] if isinstance(one, Value)), call.x)
    values = [given[0], *(one if isinstance(one, Value) else constant(call, one, like) for one in given[1:])]
    return call.add("where", values, {}, dtype=like.dtype)


@translates("ops.Cumsum")
def cumulate(call: Call) -> Nested:
    """Sums of all before."""
    axis = call.config.get("axis")
    if axis is None:
        raise call.refused("a sum of all elements in a row is not supported; give an axis")
    return call.add("cumulate", [call.x], {"axis": axis % call.x.rank})


@translates("ops.ZerosLike", "ops.OnesLike")
def filled(call: Call) -> Nested:
    """A value's shape, filled with one number."""
    one = call.entry.class_name == "OnesLike"
    dtype = call.keywords.get("dtype") or call.config.get("dtype") or call.x.dtype
    return call.add("fill", [call.x], {"value": np.asarray(int(one), dtype)}, dtype=dtype)


def constant(call: Call, said: Any, like: Value) -> Value:
    """A number or an array that the config has, with the dtype that Keras would give it."""
    array = np.asarray(said)
    if array.dtype == object:
        raise RefusedError(f"{call.name}: {call.entry.class_name}: an argument is neither a value nor a number")
    weak = not isinstance(said, np.ndarray)
    is_float = like.dtype.startswith(("float", "bfloat"))
    dtype = like.dtype if weak and (is_float or array.dtype.kind in "iub") else "float32" if weak else str(array.dtype)
    return call.add("constant", [], {"value": array.astype(dtype)}, suffix="constant", dtype=dtype)


def _common_dtype(values: Sequence[Value]) -> str:
    dtypes = [value.dtype for value in values]
    return next((dtype for dtype in dtypes if dtype.startswith(("float", "bfloat"))), dtypes[0])

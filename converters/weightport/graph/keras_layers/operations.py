"""Operations of ``keras.ops`` in Functional models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import RefusedError
from ..activations import with_defaults
from ..keras_call import Call, Nested, translates
from ..operations import UNARY, Value
from ..sizes import product

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
    axes = tuple(range(x.rank)) if said is None else tuple(one % x.rank for one in _many(said))
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


@translates("ops.Concatenate")
def concatenate(call: Call) -> Nested:
    """One after the other."""
    return call.add("concatenate", call.inputs, {"axis": _axis(call, -1) % call.x.rank})


@translates("ops.Stack")
def stack(call: Call) -> Nested:
    """Along a new axis."""
    return call.add("stack", call.inputs, {"axis": _axis(call, 0) % (call.x.rank + 1)})


@translates("ops.Split")
def split(call: Call) -> Nested:
    """Into parts along an axis."""
    x = call.x
    axis = _axis(call, 0) % x.rank
    parts, size = call.config["indices_or_sections"], x.shape[axis]
    if size is None:
        raise call.refused("an axis of a free size cannot be split")
    ends = [size // parts * index for index in range(1, parts)] if isinstance(parts, int) else list(parts)
    sizes = tuple(np.diff([0, *ends, size]).tolist())
    return list(call.add_all("split", [x], {"axis": axis, "sizes": sizes}))


@translates("ops.Transpose")
def transpose(call: Call) -> Nested:
    """The axes in another order, or turned round."""
    axes = call.config.get("axes")
    order = tuple(range(call.x.rank))[::-1] if axes is None else tuple(one % call.x.rank for one in axes)
    return call.add("transpose", [call.x], {"order": order})


@translates("ops.Swapaxes")
def swap(call: Call) -> Nested:
    """Two axes change places."""
    order = list(range(call.x.rank))
    one, other = call.config["axis1"], call.config["axis2"]
    order[one], order[other] = order[other], order[one]
    return call.add("transpose", [call.x], {"order": tuple(order)})


@translates("ops.Moveaxis")
def move(call: Call) -> Nested:
    """Axes go to other places."""
    rank = call.x.rank
    sources, goals = ([one % rank for one in _many(call.config[key])] for key in ("source", "destination"))
    order = [axis for axis in range(rank) if axis not in sources]
    for goal, source in sorted(zip(goals, sources, strict=True)):
        order.insert(goal, source)
    return call.add("transpose", [call.x], {"order": tuple(order)})


@translates("ops.Reshape")
def reshape(call: Call) -> Nested:
    """Other axes for the same elements; the batch has to stay."""
    x = call.x
    shape = call.config.get("newshape") or call.argument(1, "newshape")
    if any(not isinstance(size, int) for size in shape):
        raise call.refused("a shape that is computed is not supported")
    whole = product(x.shape[1:])
    keeps_batch = shape[0] == (x.shape[0] or -1) and (whole is not None or shape[0] != -1)
    if keeps_batch and (-1 in shape[1:] or whole == product(shape[1:])):
        return call.add("reshape", [x], {"shape": tuple(shape[1:])})
    free = tuple(size if size >= 0 else None for size in shape)
    return call.add("reshape_all", [x], {"shape": tuple(shape)}, shapes=[free])


@translates("ops.ExpandDims")
def expand(call: Call) -> Nested:
    """New axes of size one."""
    axes = _many(call.config["axis"])
    rank = call.x.rank + len(axes)
    return call.add("expand", [call.x], {"axes": tuple(sorted(axis % rank for axis in axes))})


@translates("ops.Squeeze")
def squeeze(call: Call) -> Nested:
    """Axes of size one go."""
    x, said = call.x, call.config.get("axis")
    axes = [axis for axis, size in enumerate(x.shape) if size == 1] if said is None else _many(said)
    return call.add("squeeze", [x], {"axes": tuple(sorted(axis % x.rank for axis in axes))})


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


@translates("ops.Flip")
def flip(call: Call) -> Nested:
    """The other way round."""
    axis = call.config.get("axis")
    axes = range(call.x.rank) if axis is None else _many(axis)
    return call.add("flip", [call.x], {"axes": tuple(one % call.x.rank for one in axes)})


@translates("ops.Tile")
def tile(call: Call) -> Nested:
    """Over and over."""
    x, repeats = call.x, _many(call.config["repeats"])
    counts = (*(1,) * (x.rank - len(repeats)), *repeats)
    if len(counts) > x.rank:
        raise call.refused("new axes by tiling are not supported")
    return call.add("tile", [x], {"counts": counts})


@translates("ops.Repeat")
def repeat(call: Call) -> Nested:
    """Every element several times."""
    count, axis = call.config["repeats"], call.config.get("axis")
    if axis is None or not isinstance(count, int):
        raise call.refused("only a whole number of repeats along one axis is supported")
    return call.add("repeat", [call.x], {"axis": axis % call.x.rank, "count": count})


@translates("ops.Cumsum")
def cumulate(call: Call) -> Nested:
    """Sums of all before."""
    axis = call.config.get("axis")
    if axis is None:
        raise call.refused("a sum of all elements in a row is not supported; give an axis")
    return call.add("cumulate", [call.x], {"axis": axis % call.x.rank})


@translates("ops.Take")
def take(call: Call) -> Nested:
    """Elements by their place."""
    x, indices = call.argument(0, "x"), call.argument(1, "indices")
    axis = call.config.get("axis")
    if axis is None or not isinstance(x, Value):
        raise call.refused("only along an axis of a value is supported")
    if not isinstance(indices, Value):
        indices = call.add("constant", [], {"value": np.asarray(indices, np.int64)}, suffix="indices", dtype="int64")
    return call.add("take", [x, indices], {"axis": axis % x.rank})


@translates("ops.Pad")
def pad(call: Call) -> Nested:
    """More at the borders."""
    amounts = tuple((pair[0], pair[1]) for pair in call.config["pad_width"])
    mode = {"symmetric": "symmetric"}.get(name := call.config.get("mode", "constant"), name)
    if mode not in ("constant", "reflect"):
        raise call.refused(f"mode {mode!r} is not supported")
    value = call.argument(1, "constant_values")
    return call.add("pad", [call.x], {"amounts": amounts, "mode": mode, "value": value or 0.0})


@translates("ops.GetItem")
def get_item(call: Call) -> Nested:
    """Slices and single places, as NumPy takes them."""
    x, key = call.argument(0, "x"), call.argument(1, "key")
    keys = list(key) if isinstance(key, list | tuple) else [key]
    given = sum(1 for one in keys if one is not None and one is not Ellipsis)
    if Ellipsis not in keys:
        keys.append(Ellipsis)
    slices: list[tuple[int, int | None, int | None, int]] = []
    gone: list[int] = []
    new: list[int] = []
    axis = 0
    for one in keys:
        if one is Ellipsis:
            axis += x.rank - given
        elif one is None:
            new.append(axis - len(gone) + len(new))
        elif isinstance(one, slice):
            slices.append((axis, one.start, one.stop, one.step or 1))
            axis += 1
        elif isinstance(one, int):
            slices.append((axis, one, None if one == -1 else one + 1, 1))
            gone.append(axis)
            axis += 1
        else:
            raise call.refused("an index that is computed is not supported")
    return _sliced(call, x, [one for one in slices if one[1:] != (None, None, 1)], gone, new)


def _sliced(
    call: Call, x: Value, slices: Sequence[tuple[int, int | None, int | None, int]], gone: list[int], new: list[int]
) -> Value:
    if slices:
        axes, starts, stops, steps = zip(*slices, strict=True)
        x = call.add("slice", [x], {"axes": axes, "starts": starts, "stops": stops, "steps": steps})
    if gone:
        x = call.add("squeeze", [x], {"axes": tuple(gone)}, suffix="item")
    if new:
        x = call.add("expand", [x], {"axes": tuple(new)}, suffix="new_axis")
    return x


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


def _axis(call: Call, default: int) -> int:
    axis: int = call.config.get("axis", call.keywords.get("axis", default))
    return axis


def _many(said: Any) -> list[int]:
    return [said] if isinstance(said, int) else list(said)

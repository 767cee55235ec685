"""Operations of ``keras.ops`` that put elements in other places: joined, cut, turned, repeated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..keras_arguments import as_list
from ..keras_call import Call, Nested, translates
from ..operations import Value
from ..sizes import product


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
    sources, goals = ([one % rank for one in as_list(call.config[key])] for key in ("source", "destination"))
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
    axes = as_list(call.config["axis"])
    rank = call.x.rank + len(axes)
    return call.add("expand", [call.x], {"axes": tuple(sorted(axis % rank for axis in axes))})


@translates("ops.Squeeze")
def squeeze(call: Call) -> Nested:
    """Axes of size one go."""
    x, said = call.x, call.config.get("axis")
    axes = [axis for axis, size in enumerate(x.shape) if size == 1] if said is None else as_list(said)
    return call.add("squeeze", [x], {"axes": tuple(sorted(axis % x.rank for axis in axes))})


@translates("ops.Flip")
def flip(call: Call) -> Nested:
    """The other way round."""
    axis = call.config.get("axis")
    axes = range(call.x.rank) if axis is None else as_list(axis)
    return call.add("flip", [call.x], {"axes": tuple(one % call.x.rank for one in axes)})


@translates("ops.Tile")
def tile(call: Call) -> Nested:
    """Over and over."""
    x, repeats = call.x, as_list(call.config["repeats"])
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


def _axis(call: Call, default: int) -> int:
    axis: int = call.config.get("axis", call.keywords.get("axis", default))
    return axis

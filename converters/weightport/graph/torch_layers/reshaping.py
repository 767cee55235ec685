"""What moves elements: shapes, orders, borders, sizes of maps, and time folded into the batch."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import RefusedError
from ..operations import Operation
from ..torch_code import Call, call, quoted
from ..torch_context import Context, Order, channels_first, natural
from ..torch_registry import emits
from .convolution import conv_order, last_first

_F = "nn.functional"
_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
_KERNELS = ("cubic", "lanczos3", "lanczos5")


@emits("reshape")
def reshape(c: Context, operation: Operation) -> None:
    """Other axes; a map that only dense layers read is flattened as it is held, and they are written to fit."""
    shape, value, order = operation.settings["shape"], c.value(operation), c.order(operation)
    is_flat = tuple(shape) == (-1,) or len(shape) == 1
    known = tuple(size for size in value.shape[1:] if size is not None)
    turned = order != natural(len(order)) and order[0] == 0 and len(known) == value.rank - 1
    if is_flat and turned and c.folds_into_dense(operation.outputs[0].name):
        c.flattened[operation.outputs[0].name] = known, order
        c.put(operation, f"{c.get(operation, order=order)}.flatten(1)")
    elif is_flat:
        c.put(operation, f"{c.get(operation)}.flatten(1)" if value.rank > 2 else c.get(operation))
    elif _is_map_of_one_place(operation) and c.only_used_by(operation.outputs[0].name, "conv") and not c.channels_last:
        _, *places, channels = operation.outputs[0].shape
        made = Call(f"{c.get(operation)}.reshape", ("-1", str(channels), *["1"] * len(places)))
        c.put(operation, made, channels_first(len(places) + 2))
    else:
        sizes = operation.outputs[0].shape[1:]
        free = sum(size is None for size in sizes)
        x = c.get(operation)
        first = f"{x}.shape[0]" if free else "-1"
        c.put(operation, Call(f"{x}.reshape", (first, *("-1" if size is None else str(size) for size in sizes))))


def _is_map_of_one_place(operation: Operation) -> bool:
    """Whether features become the channels of a map of one place, which may stand where convolutions want them."""
    _, *places, channels = operation.outputs[0].shape
    return bool(places) and set(places) == {1} and channels is not None


@emits("reshape_all")
def reshape_all(c: Context, operation: Operation) -> None:
    """Other axes, the batch among them."""
    c.put(operation, Call(f"{c.get(operation)}.reshape", tuple(map(str, operation.settings["shape"]))))


@emits("transpose")
def transpose(c: Context, operation: Operation) -> None:
    """Another order of axes: only what the axes are called changes."""
    order = operation.settings["order"]
    held = c.order(operation)
    turned = tuple(order.index(axis) for axis in held)
    if turned == c.kept(turned):
        c.hold(operation, c.get(operation, order=held), turned)
    else:
        c.put(operation, c.get(operation, order=order))


@emits("expand")
def expand(c: Context, operation: Operation) -> None:
    """New axes of size one."""
    x = c.get(operation)
    for axis in operation.settings["axes"]:
        x = f"{x}.unsqueeze({axis})"
    (value,) = operation.outputs
    if value.dtype == "bool" and c.is_used_once(value.name):  # a mask on its way into another one
        c.hold(operation, x)
    else:
        c.put(operation, x)


@emits("squeeze")
def squeeze(c: Context, operation: Operation) -> None:
    """Axes of size one go."""
    axes = operation.settings["axes"]
    c.put(operation, f"{c.get(operation)}.squeeze({axes[0] if len(axes) == 1 else axes})")


@emits("repeat")
def repeat(c: Context, operation: Operation) -> None:
    """Every element several times."""
    settings = operation.settings
    c.put(operation, f"{c.get(operation)}.repeat_interleave({settings['count']}, dim={settings['axis']})")


@emits("tile")
def tile(c: Context, operation: Operation) -> None:
    """The whole over and over."""
    c.put(operation, Call(f"{c.get(operation)}.repeat", tuple(map(str, operation.settings["counts"]))))


@emits("crop")
def crop(c: Context, operation: Operation) -> None:
    """Less at the borders."""
    amounts = [(-before, -after) for before, after in operation.settings["amounts"]]
    _bordered(c, operation, amounts)


@emits("pad")
def pad(c: Context, operation: Operation) -> None:
    """More at the borders."""
    settings = operation.settings
    mode = {"edge": "replicate"}.get(settings["mode"], settings["mode"])
    if mode not in ("constant", "reflect", "replicate"):
        raise RefusedError(f"{operation.layer}: padding by {mode!r} is not supported")
    if mode == "constant":
        _bordered(c, operation, settings["amounts"], settings["value"] or None)
    else:
        _continued(c, operation, mode)


def _bordered(c: Context, operation: Operation, amounts: Sequence[tuple[int, int]], value: float | None = None) -> None:
    """Borders in the order in which the value is held, the last axis first."""
    order = c.order(operation)
    pairs = [amounts[axis] for axis in order]
    first = next((place for place, pair in enumerate(pairs) if any(pair)), len(pairs) - 1)
    made = call(f"{_F}.pad", c.get(operation, order=order), last_first(pairs[first:]), value=value)
    c.put(operation, made, order)


def _continued(c: Context, operation: Operation, mode: str) -> None:
    """Borders made of the value itself, which PyTorch adds to all axes but the first one or two, to three at most."""
    amounts, order = operation.settings["amounts"], c.order(operation)
    padded = [axis for axis, pair in enumerate(amounts) if any(pair)]
    count = max(len(padded), len(amounts) - 2)
    if 0 in padded or count > 3:
        raise RefusedError(f"{operation.layer}: PyTorch cannot pad the axes {padded} of {len(amounts)} by {mode!r}")
    if not set(padded) <= set(order[-count:]):
        order = (*(axis for axis in range(len(amounts)) if axis not in padded), *padded)
    flat = last_first([amounts[axis] for axis in order[-count:]])
    c.put(operation, call(f"{_F}.pad", c.get(operation, order=order), flat, mode=quoted(mode)), order)


@emits("upsample")
def upsample(c: Context, operation: Operation) -> None:
    """Larger maps by whole factors."""
    factors, rank = operation.settings["factors"], c.value(operation).rank
    order: Order = conv_like(c, factors, rank)
    method = operation.settings["method"]
    scale = tuple(factors[axis] for axis in order[2:])
    if method in _KERNELS:
        held, shape = c.order(operation), operation.outputs[0].shape
        x = c.get(operation, order=held)
        sizes = [
            f"{scale[index]} * {x}.shape[{held.index(axis)}]" if shape[axis] is None else str(shape[axis])
            for index, axis in enumerate(order[2:])
        ]
        _by_kernel(c, operation, order, sizes)
        return
    mode = _MODES[rank - 2] if method == "linear" else "nearest"
    made = call(
        f"{_F}.interpolate",
        c.get(operation, order=order),
        scale_factor=scale[0] if len(set(scale)) == 1 else scale,
        mode=quoted(mode),
    )
    c.put(operation, made, order)


def conv_like(c: Context, factors: Sequence[int], rank: int) -> Order:
    """The order with the channels first: they are the axis that keeps its size, the last one if several do."""
    axis = rank - 1 if factors[rank - 1] == 1 else 1
    return (0, axis, *(one for one in range(1, rank) if one != axis))


@emits("resize")
def resize(c: Context, operation: Operation) -> None:
    """Maps of a certain size."""
    settings, rank = operation.settings, c.value(operation).rank
    order = conv_order(operation, rank)
    if settings["method"] in _KERNELS:
        _by_kernel(c, operation, order, list(map(str, settings["size"])))
        return
    mode = _MODES[rank - 2] if settings["method"] == "linear" else "nearest-exact"
    given = {"size": tuple(settings["size"]), "mode": quoted(mode)}
    c.put(operation, call(f"{_F}.interpolate", c.get(operation, order=order), **given), order)


def _by_kernel(c: Context, operation: Operation, order: Order, sizes: Sequence[str]) -> None:
    """By a function of the distance, which PyTorch has no interpolation for."""
    kernel = c.part(f"resizing.{operation.settings['method']}")
    resized = call(c.part("resizing.resize"), c.get(operation, order=order), f"({', '.join(sizes)})", kernel)
    c.put(operation, resized, order)


@emits("fold_time")
def fold_time(c: Context, operation: Operation) -> None:
    """Every step a sample of its own."""
    order = c.order(operation)
    order = order if order[:2] == (0, 1) else natural(len(order))
    c.put(operation, f"{c.get(operation, order=order)}.flatten(0, 1)", tuple(max(0, axis - 1) for axis in order[1:]))


@emits("unfold_time")
def unfold_time(c: Context, operation: Operation) -> None:
    """And back. A batch that is free is what is left."""
    time = c.value(operation, 1).shape[1]
    sizes = f"(-1, {time})" if time is not None else f"{c.get(operation, 1)}.shape[:2]"
    order = c.order(operation)
    order = order if order[0] == 0 else natural(len(order))
    made = Call(f"{c.get(operation, order=order)}.unflatten", ("0", sizes))
    c.put(operation, made, (0, *(axis + 1 for axis in order)))


@emits("broadcast")
def broadcast(c: Context, operation: Operation) -> None:
    """More of the same along axes of size one."""
    sizes = ("-1", *map(str, operation.settings["shape"]))
    c.put(operation, Call(f"{c.get(operation)}.expand", sizes))


@emits("flip")
def flip(c: Context, operation: Operation) -> None:
    """The other way round."""
    order = c.order(operation)
    places = [str(order.index(axis)) for axis in operation.settings["axes"]]
    c.put(operation, Call(f"{c.get(operation, order=order)}.flip", tuple(places)), order)


@emits("split")
def split(c: Context, operation: Operation) -> None:
    """Parts along an axis, as views."""
    axis, sizes = operation.settings["axis"], operation.settings["sizes"]
    x, names = c.get(operation), []
    for index, value in enumerate(operation.outputs):
        names.append(c.target(operation, index) if c.is_used(value.name) else "_")
        c.hold(operation, names[-1], index=index)
    if len(set(sizes)) == 1:
        sizes = sizes[0]
    c.line(", ".join(names) if len(names) > 1 else f"({names[0]},)", call(f"{x}.split", sizes, dim=axis or None))

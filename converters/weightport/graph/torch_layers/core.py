"""Dense layers, embeddings and the single factors of a channel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...checkpoint import Array, Output
from ..operations import Operation
from ..torch_code import call, number, quoted
from ..torch_context import Context, Order
from ..torch_outputs import Made, rearranged
from ..torch_registry import emits


@emits("dense")
def dense(c: Context, operation: Operation) -> None:
    """``nn.Linear``. After a flattened map its columns are put into the order of that map."""
    weights = c.planned(operation, "torch.dense")
    out_features, in_features = weights["weight"].shape
    name = operation.inputs[0]
    if name in c.flattened:
        weights["weight"] = _columns(weights["weight"], *c.flattened[name])
    made = call("nn.Linear", in_features, out_features, bias=None if "bias" in weights else False)
    c.put(operation, call(c.layer(operation, made, weights), c.get(operation)))


def _columns(weight: Output, shape: tuple[int, ...], order: Order) -> Output:
    """The weight of a dense layer whose input is flattened with its axes in that order."""
    places = np.arange(np.prod(shape)).reshape(shape).transpose([axis - 1 for axis in order[1:]]).reshape(-1)

    def arrange(array: Array) -> Array:
        return array[:, places]

    return rearranged(weight, arrange)


@emits("einsum_dense")
def einsum_dense(c: Context, operation: Operation) -> None:
    """A product by Einstein's sums and a bias."""
    kernel = c.parameter(operation, "kernel", c.stored(operation, "kernel"))
    equation = operation.settings["equation"]
    product = call("torch.einsum", quoted(equation), c.get(operation), kernel)
    if "bias" in operation.weights:
        bias = c.parameter(operation, "bias", c.stored(operation, "bias"))
        c.put(operation, f"{product} + {bias}")
    else:
        c.put(operation, product)


@emits("embedding")
def embedding(c: Context, operation: Operation) -> None:
    """``nn.Embedding``, which takes whole numbers."""
    weights = c.planned(operation, "torch.embedding")
    made = call("nn.Embedding", *weights["weight"].shape)
    x = c.get(operation)
    whole = x if c.value(operation).dtype.startswith("int") else f"{x}.long()"
    c.put(operation, call(c.layer(operation, made, weights), whole))


@emits("prescale")
def prescale(c: Context, operation: Operation) -> None:
    """One learned factor a channel."""
    (local,) = operation.weights
    factor = c.parameter(operation, "scale", c.stored(operation, local))
    c.put(operation, f"{c.get(operation)} * {factor}")


@emits("affine")
def affine(c: Context, operation: Operation) -> None:
    """``x * scale + offset``."""
    scale, offset = (np.asarray(operation.settings[key], np.float32) for key in ("scale", "offset"))
    is_number = not scale.ndim and not offset.ndim
    order = c.order(operation) if is_number else None
    y = c.get(operation, order=order)
    y = f"{y} {_factor(c, operation, scale)}" if np.any(scale != 1) else y
    y = f"{y} + {_numbers(c, operation, 'offset', offset)}" if np.any(offset != 0) else y
    c.put(operation, y, order)


def _factor(c: Context, operation: Operation, scale: Array) -> str:
    """A product with a scale; one of 1/255 is a quotient."""
    if scale.size == 1 and 0 < scale < 1:
        whole = round(1 / float(scale))
        if np.float32(1 / whole) == scale:
            return f"/ {whole}"
    return f"* {_numbers(c, operation, 'scale', scale)}"


@emits("standardize")
def standardize(c: Context, operation: Operation) -> None:
    """``(x - mean) / deviation``, or back."""
    x = c.get(operation)
    mean = _statistic(c, operation, "mean", "mean", lambda array: array)
    deviation = _statistic(c, operation, "variance", "deviation", lambda array: np.maximum(np.sqrt(array), 1e-7))
    first, second = (f"* {deviation}", f"+ {mean}") if operation.settings["invert"] else (f"- {mean}", f"/ {deviation}")
    variable = c.target(operation)
    c.line(variable, f"{x} {first}")
    c.put(operation, f"{variable} {second}")


def _statistic(c: Context, operation: Operation, key: str, suffix: str, made: Callable[[Array], Array]) -> str:
    """A parameter or a number, made of what is known, which broadcasts against the value."""
    value, axes = c.value(operation), operation.settings["axes"]
    shape = [value.shape[axis] or 1 if axis in axes else 1 for axis in range(min(axes, default=0), value.rank)]

    def arranged(array: Array) -> Array:
        return made(array).astype(np.float32).reshape(shape)

    if key in operation.weights:
        return c.parameter(operation, suffix, c.stored(operation, key, arranged))
    given = np.asarray(operation.settings[key], np.float32)
    return _numbers(c, operation, suffix, made(given) if given.size == 1 else arranged(given))


def _numbers(c: Context, operation: Operation, suffix: str, array: Array) -> str:
    """A number, or numbers as a parameter."""
    if array.size == 1:
        return number(array.reshape(())[()])
    return c.parameter(operation, suffix, Made(suffix, array.shape, array.dtype, lambda: array))

"""Dense layers, embeddings and the single factors of a channel."""

from __future__ import annotations

import numpy as np

from ...checkpoint import Array, Output
from ..operations import Operation
from ..torch_code import call, quoted
from ..torch_context import Context, Order, rearranged
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
    scale, offset = operation.settings["scale"], operation.settings["offset"]
    is_number = all(isinstance(value, int | float) for value in (scale, offset))
    order = c.order(operation) if is_number else None
    x = c.get(operation, order=order)
    scaled = x if is_number and scale == 1 else f"{x} * {_numbers(scale)}"
    c.put(operation, scaled if is_number and offset == 0 else f"{scaled} + {_numbers(offset)}", order)


@emits("standardize")
def standardize(c: Context, operation: Operation) -> None:
    """``(x - mean) / sqrt(variance)``, or back."""
    x, axes = c.get(operation), operation.settings["axes"]
    mean, variance = (_statistic(c, operation, name, axes) for name in ("mean", "variance"))
    deviation = c.beside("deviation")
    c.line(deviation, f"{variance}.sqrt().clamp(min=1e-7)")
    inverse = operation.settings["invert"]
    c.put(operation, f"{x} * {deviation} + {mean}" if inverse else f"({x} - {mean}) / {deviation}")


def _statistic(c: Context, operation: Operation, name: str, axes: tuple[int, ...]) -> str:
    """A parameter or a number, which broadcasts against the value."""
    rank = c.value(operation).rank
    shape = tuple(c.value(operation).shape[axis] or 1 if axis in axes else 1 for axis in range(rank))
    if name in operation.weights:
        return c.parameter(operation, name, c.stored(operation, name, lambda array: array.reshape(shape)))
    values = np.asarray(operation.settings[name], np.float64)
    return f"torch.tensor({values.tolist()})" if values.size == 1 else f"torch.tensor({values.tolist()}).reshape{shape}"


def _numbers(value: object) -> str:
    """A number, or numbers as a tensor."""
    return f"torch.tensor({np.asarray(value).tolist()})" if isinstance(value, np.ndarray) else repr(value)

"""Merging layers and operations of ``keras.ops``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from .dice import Dice, NotHere, draws, known

EVERY = (2, 3, 4, 5)

FUNCTIONS: tuple[Callable[[Any], Any], ...] = (
    lambda x: ops.abs(x) - 0.3,
    lambda x: ops.exp(-ops.square(x)),
    lambda x: ops.log(ops.abs(x) + 0.5),
    lambda x: ops.log1p(ops.square(x)),
    lambda x: ops.expm1(ops.tanh(x)),
    lambda x: ops.sqrt(ops.abs(x) + 0.2),
    lambda x: ops.rsqrt(ops.square(x) + 0.5),
    lambda x: ops.reciprocal(ops.abs(x) + 1),
    lambda x: ops.sin(x) + ops.cos(x),
    lambda x: ops.arctan(x) - ops.sinh(ops.tanh(x)),
    lambda x: ops.arcsinh(x) + ops.cosh(ops.tanh(x)),
    lambda x: ops.tan(ops.tanh(x)) + ops.arcsin(ops.tanh(x) * 0.9) - ops.arccos(ops.tanh(x) * 0.9),
    lambda x: ops.arccosh(ops.abs(x) + 1.5) + ops.arctanh(ops.tanh(x) * 0.9),
    lambda x: ops.erf(x) * ops.sign(x + 0.123),
    lambda x: ops.floor(x * 1.7) - ops.ceil(x * 0.7) + ops.round(x * 1.3) * 0.1,
    lambda x: ops.negative(x) ** 2 / 3.0,
    lambda x: 2.0 / (ops.abs(x) + 1.0) - 1.5,
    lambda x: ops.maximum(x, 0.1) ** 1.5,
    lambda x: ops.minimum(x, 0.4) - ops.maximum(x, -0.2) * 0.5,
    lambda x: (x * 1.7) // 0.7 + (x * 1.3) % 0.9,
    lambda x: ops.clip(x, -0.6, 0.9),
    lambda x: ops.where(x > 0.1, x, ops.exp(ops.minimum(x, 0.0)) - 1.0),
    lambda x: ops.where(ops.logical_and(x > -0.3, ops.logical_not(x >= 0.6)), x, 0.25),
    lambda x: ops.cast(ops.logical_or(x < -0.4, ops.equal(x, 7.0)), "float32") + x,
    lambda x: ops.cast(ops.logical_xor(x <= 0.2, ops.not_equal(x, 3.0)), "float32") * 0.5 + x,
    lambda x: ops.relu(x) + ops.gelu(x, approximate=False) * ops.silu(x),
    lambda x: ops.leaky_relu(x, 0.3) + ops.elu(x, 0.7) + ops.hard_sigmoid(x),
    lambda x: ops.selu(x) + ops.softplus(x) - ops.softsign(x) + ops.relu6(x),
    lambda x: ops.hard_silu(x) - ops.celu(x, 0.8) + ops.hard_tanh(x) + ops.tanh_shrink(x),
    lambda x: ops.soft_shrink(x, 0.3) + ops.hard_shrink(x, 0.2) + ops.log_sigmoid(x) + ops.squareplus(x),
    lambda x: ops.sparse_plus(x) + ops.sparse_sigmoid(x) + ops.threshold(x, 0.3, 0.1),
    lambda x: ops.softmax(x, axis=-1) + ops.log_softmax(x, axis=-1),
    lambda x: ops.sigmoid(x) * ops.ones_like(x) - ops.zeros_like(x),
)


@draws(*EVERY, often=2)
def function(dice: Dice, x: Any) -> Any:
    return dice.one_of(*FUNCTIONS)(x)


@draws(*EVERY, often=2)
def merge(dice: Dice, x: Any) -> Any:
    others = [like(dice, x) for _ in range(dice.whole(1, 2))]
    kind = dice.one_of("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
    if kind == "Subtract":
        others = others[:1]
    if kind == "Concatenate":
        axes = [axis for axis in range(1, len(x.shape)) if x.shape[axis] is not None]
        return layers.Concatenate(axis=dice.one_of(-1, *axes))([x, *others])
    return getattr(layers, kind)()([x, *others])


def like(dice: Dice, x: Any) -> Any:
    """Another value that goes with one: of the same shape, or one that broadcasts."""
    rank = len(x.shape)
    choices: list[Callable[[], Any]] = [
        lambda: layers.Dense(x.shape[-1], activation="tanh")(x),
        lambda: layers.Activation("sigmoid")(x),
    ]
    if rank > 2 and None not in x.shape[1:]:
        choices.append(lambda: ops.tanh(ops.flip(x, axis=dice.whole(1, rank - 2))))
    return dice.one_of(*choices)()


@draws(3, 4, 5)
def broadcast(dice: Dice, x: Any) -> Any:
    """Squeeze and excitation, or one vector beside every place."""
    rank = len(x.shape)
    pooled = getattr(layers, f"GlobalAveragePooling{rank - 2}D")(keepdims=dice.chance(0.6))(x)
    gate = layers.Dense(x.shape[-1], activation="sigmoid")(pooled)
    if len(gate.shape) == 2 and rank > 3:
        gate = layers.Reshape((*(1,) * (rank - 2), x.shape[-1]))(gate)
    return dice.one_of(layers.Multiply(), layers.Add(), layers.Maximum())([x, gate])


@draws(3)
def dot(dice: Dice, x: Any) -> Any:
    other = layers.Dense(x.shape[-1], activation="tanh")(x)
    axes = dice.one_of(2, (2, 2), (1, 1) if x.shape[1] is not None else 2)
    return layers.Dot(axes, normalize=dice.chance(0.4))([x, other])


@draws(*EVERY)
def reduce(dice: Dice, x: Any) -> Any:
    rank = len(x.shape)
    if rank == 2:
        raise NotHere
    axis = dice.one_of(-1, dice.whole(1, rank - 1), *([tuple(dice.some_of(range(1, rank - 1)))] if rank > 3 else []))
    name = dice.one_of("sum", "mean", "max", "min", "var", "std", "logsumexp", "prod")
    y = getattr(ops, name)(x, axis=axis, keepdims=dice.chance(0.5) or isinstance(axis, tuple))
    return ops.tanh(y) if name in ("sum", "prod") else y


@draws(*EVERY)
def index(dice: Dice, x: Any) -> Any:
    rank = len(x.shape)
    if rank == 2:
        known(x)
        return x[:, : max(1, x.shape[1] - 1)] if dice.chance(0.5) else ops.take(x, [0, x.shape[1] - 1, 0], axis=1)
    choices: list[Callable[[], Any]] = [
        lambda: x[:, 1:],
        lambda: x[..., :-1] if x.shape[-1] > 1 else x[..., None],
        lambda: x[:, ::2],
        lambda: x[:, -1],
        lambda: x[:, 0],
        lambda: ops.concatenate([x[:, :1], x], axis=1),
        lambda: ops.stack([x[:, 0], x[:, -1]], axis=1),
        lambda: ops.take(x, [0, x.shape[-1] - 1, 0], axis=-1),
        lambda: (
            ops.squeeze(ops.expand_dims(x, dice.one_of(1, -1)), 1) if x.shape[1] == 1 else ops.expand_dims(x[:, 0], 1)
        ),
        lambda: x[:, ::-1],
    ]
    return dice.one_of(*choices)()


@draws(3, 4, 5)
def move(dice: Dice, x: Any) -> Any:
    rank = len(x.shape)
    axis = dice.whole(1, rank - 1)
    choices: list[Callable[[], Any]] = [
        lambda: ops.flip(x, axis=axis),
        lambda: ops.cumsum(x, axis=axis) * 0.3,
        lambda: ops.repeat(x, 2, axis=axis),
        lambda: ops.tile(x, [1] * axis + [2] + [1] * (rank - axis - 1)),
        lambda: ops.pad(x, [(0, 0)] * axis + [(1, 2)] + [(0, 0)] * (rank - axis - 1)),
    ]
    if None not in x.shape[1:]:
        choices += [
            lambda: ops.swapaxes(x, 1, rank - 1),
            lambda: ops.moveaxis(x, 1, -1),
            lambda: ops.transpose(x, [0, *range(rank - 1, 0, -1)]),
            lambda: ops.reshape(x, (-1, x.shape[1], _rest(x))),
            lambda: ops.split(x, [1], axis=axis)[-1] if x.shape[axis] > 1 else x,
            lambda: (
                ops.pad(x, [(0, 0)] * axis + [(1, 0)] + [(0, 0)] * (rank - axis - 1), mode="reflect")
                if x.shape[axis] > 1
                else x
            ),
        ]
    return dice.one_of(*choices)()


def _rest(x: Any) -> int:
    rest = 1
    for size in x.shape[2:]:
        rest *= size
    return rest


@draws(3)
def product(dice: Dice, x: Any) -> Any:
    turned = ops.transpose(x, (0, 2, 1))
    choices: list[Callable[[], Any]] = [
        lambda: ops.matmul(ops.softmax(ops.matmul(x, turned) * 0.3), x),
        lambda: ops.einsum("bij,bkj->bik", x, layers.Dense(x.shape[-1], activation="tanh")(x)),
        lambda: ops.einsum("bij,bjk->bik", x, turned) * 0.2,
    ]
    y = dice.one_of(*choices)()
    if y.shape[-1] is None:
        raise NotHere
    return y


@draws(2, 3)
def choice(dice: Dice, x: Any) -> Any:
    """Where the largest is, as a number beside the value."""
    place = ops.cast(ops.argmax(x, axis=-1, keepdims=True), "float32")
    return keras.ops.concatenate([x, place * 0.1], axis=-1)

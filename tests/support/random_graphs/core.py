"""Dense layers, activations, normalisation, and what is gone once a model is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import layers

from .dice import Dice, NotHere, divisors, draws, known

ACTIVATIONS = (
    *("celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu"),
    *("linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink"),
    *("softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "tanh", "tanh_shrink", None),
)
AUGMENTATIONS: Mapping[str, tuple[float, ...]] = {
    **dict.fromkeys(("RandomFlip", "RandomGrayscale", "RandomInvert", "RandomErasing", "AugMix", "RandAugment"), ()),
    **dict.fromkeys(("RandomRotation", "RandomZoom", "RandomContrast", "RandomBrightness", "RandomShear"), (0.2,)),
    **dict.fromkeys(("RandomHue", "RandomSaturation", "RandomSharpness", "RandomColorDegeneration"), (0.2,)),
    "RandomTranslation": (0.2, 0.2),
}
EVERY = (2, 3, 4, 5)


def activation(dice: Dice) -> Any:
    """Mostly one that keeps numbers small."""
    return dice.one_of("relu", "tanh", "elu", "silu") if dice.chance(0.4) else dice.one_of(*ACTIVATIONS)


@draws(*EVERY)
def dense(dice: Dice, x: Any) -> Any:
    return layers.Dense(dice.units(), activation=activation(dice), use_bias=dice.chance(0.8))(x)


@draws(*EVERY)
def einsum_dense(dice: Dice, x: Any) -> Any:
    units, width = dice.units(), x.shape[-1]
    if len(x.shape) == 2:
        return layers.EinsumDense("ab,bc->ac", units, bias_axes=dice.one_of("c", None))(x)
    if len(x.shape) == 3 and dice.chance(0.6):
        equation, shape = dice.one_of(
            ("abc,cd->abd", (None, units)),
            ("abc,cde->abde", (None, units, 2)),
            ("abc,cd->adb", (units, x.shape[1])),
            ("abc,de->abe", (None, units)) if width == 0 else ("abc,bcd->ad", units),
        )
        if "bc" in equation.partition(",")[2]:
            known(x, 1)
        if equation.endswith("adb") and x.shape[1] is None:
            raise NotHere
        return layers.EinsumDense(equation, shape, bias_axes=dice.one_of("d", None), activation="tanh")(x)
    shape = (*x.shape[1:-1], units)
    return layers.EinsumDense("...x,xy->...y", shape, bias_axes=dice.one_of("y", None))(x)


@draws(*EVERY)
def activate(dice: Dice, x: Any) -> Any:
    return layers.Activation(activation(dice) or "linear")(x)


@draws(*EVERY)
def activation_layer(dice: Dice, x: Any) -> Any:
    rank = len(x.shape)
    shared = dice.one_of(None, [1], list(range(1, rank - 1)) or None)
    if any(x.shape[axis] is None and axis not in (shared or ()) for axis in range(1, rank)):
        shared = list(range(1, rank - 1))
    top = dice.one_of(None, dice.real(1, 3))
    layer = dice.one_of(
        layers.ReLU(max_value=top, negative_slope=dice.one_of(0.0, 0.1), threshold=dice.one_of(0.0, 0.2)),
        layers.LeakyReLU(dice.real(0.05, 0.5)),
        layers.ELU(dice.real(0.5, 1.5)),
        layers.PReLU(shared_axes=shared),
        layers.Softmax(axis=dice.one_of(-1, dice.whole(1, rank - 1))),
    )
    return layer(x)


@draws(*EVERY, often=3)
def normalise(dice: Dice, x: Any) -> Any:
    rank, epsilon = len(x.shape), dice.one_of(1e-3, 1e-2)
    axis = dice.one_of(-1, rank - 1, dice.whole(1, rank - 1))
    if x.shape[axis] is None:
        axis = -1
    affine = {"scale": dice.chance(0.7), "center": dice.chance(0.7)}
    axes = [one for one in range(1, rank) if x.shape[one] is not None]
    layer = dice.one_of(
        layers.BatchNormalization(axis=axis, epsilon=epsilon, **affine),
        layers.LayerNormalization(axis=dice.one_of(axis, list(dice.some_of(axes))), epsilon=epsilon, **affine),
        layers.GroupNormalization(dice.one_of(-1, *divisors(x.shape[axis])), axis=axis, epsilon=epsilon, **affine),
        layers.RMSNormalization(axis=axis, epsilon=epsilon),
        layers.UnitNormalization(axis=dice.one_of(axis, list(dice.some_of(axes)))),
    )
    return layer(x)


@draws(*EVERY)
def rescale(dice: Dice, x: Any) -> Any:
    width, axes = x.shape[-1], [one for one in range(1, len(x.shape)) if x.shape[one] is not None]
    shape = tuple(x.shape[axis] for axis in axes[-1:])
    statistics = {
        "mean": dice.random.normal(size=shape).round(3),
        "variance": dice.random.uniform(0.5, 2, shape).round(3),
    }
    if not width:
        raise NotHere
    layer = dice.one_of(
        layers.Rescaling(dice.real(0.3, 2), offset=dice.real(-1, 1)),
        layers.Rescaling([dice.real(0.3, 2) for _ in range(width)], offset=[dice.real(-1, 1) for _ in range(width)]),
        layers.Normalization(axis=axes[-1], invert=dice.chance(0.3), **statistics),
        layers.Normalization(axis=None, mean=dice.real(-1, 1), variance=np.float64(dice.real(0.5, 2))),
    )
    return layer(x)


@draws(*EVERY)
def of_training_only(dice: Dice, x: Any) -> Any:
    choices = [
        *(layers.Dropout(0.3), layers.GaussianNoise(0.2), layers.GaussianDropout(0.2), layers.AlphaDropout(0.2)),
        *(layers.ActivityRegularization(0.01), layers.Identity()),
    ]
    rank = len(x.shape)
    if rank > 2:
        choices.append(getattr(layers, f"SpatialDropout{rank - 2}D")(0.3))
    if rank == 4 and x.shape[-1] in (1, 3):
        choices += [getattr(layers, name)(*given) for name, given in AUGMENTATIONS.items()]
    return dice.one_of(*choices)(x)

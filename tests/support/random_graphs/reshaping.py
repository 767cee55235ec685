"""What moves elements, and what changes the size of a map."""

from __future__ import annotations

from math import prod
from typing import Any

from keras import layers

from .convolution import data_format, lengths, short
from .dice import Dice, NotHere, divisors, draws, known, sizes


@draws(2, 3, 4, 5)
def reshape(dice: Dice, x: Any) -> Any:
    known(x)
    left, shape = prod(sizes(x)), []
    for _ in range(dice.whole(0, 2)):
        shape.append(dice.one_of(*divisors(left)))
        left //= shape[-1]
    shape.append(left)
    if dice.chance(0.5):
        shape[dice.whole(0, len(shape) - 1)] = -1
    return layers.Reshape(tuple(shape))(x)


@draws(2)
def repeat_vector(dice: Dice, x: Any) -> Any:
    return layers.RepeatVector(dice.whole(3, 6))(x)


@draws(3, 4, 5)
def flatten(dice: Dice, x: Any) -> Any:
    known(x)
    return layers.Dense(dice.units())(layers.Flatten(**data_format(dice, x, anywhere=True))(x))


@draws(3, 4, 5)
def permute(dice: Dice, x: Any) -> Any:
    known(x)
    return layers.Permute(tuple(int(one) + 1 for one in dice.random.permutation(len(x.shape) - 1)))(x)


@draws(3, 4, 5)
def crop(dice: Dice, x: Any) -> Any:
    given = {} if len(x.shape) == 3 else data_format(dice, x, anywhere=True)
    room = [max(0, min(2, (size - 1) // 2)) for size in lengths(x, given)]
    amounts = [(dice.whole(0, most), dice.whole(0, most)) for most in room]
    return _bordered("Cropping", x, amounts, given)


@draws(3, 4, 5)
def pad(dice: Dice, x: Any) -> Any:
    given = {} if len(x.shape) == 3 else data_format(dice, x, anywhere=True)
    return _bordered("ZeroPadding", x, [(dice.whole(0, 2), dice.whole(0, 2)) for _ in lengths(x, given)], given)


def _bordered(name: str, x: Any, amounts: list[tuple[int, int]], given: dict[str, str]) -> Any:
    rank = len(amounts)
    return getattr(layers, f"{name}{rank}D")(amounts[0] if rank == 1 else tuple(amounts), **given)(x)


@draws(3, 4, 5)
def up_sample(dice: Dice, x: Any) -> Any:
    rank = len(x.shape) - 2
    more = {"interpolation": dice.one_of("nearest", "bilinear", "bicubic")} if rank == 2 else {}
    # ONNX Runtime 1.32 moves transpositions over a linear Resize and then refuses what it made itself.
    given = data_format(dice, x, anywhere=True) if rank > 1 and more.get("interpolation") in (None, "nearest") else {}
    factors = [dice.whole(1, 3) for _ in range(rank)]
    return getattr(layers, f"UpSampling{rank}D")(short(factors), **given, **more)(x)


@draws(4)
def resize(dice: Dice, x: Any) -> Any:
    if None in x.shape[1:]:
        raise NotHere
    method = dice.one_of("nearest", "bilinear", "bicubic")
    given = data_format(dice, x, anywhere=True) if method == "nearest" else {}
    return layers.Resizing(dice.whole(2, 9), dice.whole(2, 9), interpolation=method, **given)(x)


@draws(4)
def crop_to_the_middle(dice: Dice, x: Any) -> Any:
    if None in x.shape[1:]:
        raise NotHere
    return layers.CenterCrop(dice.whole(1, x.shape[1]), dice.whole(1, x.shape[2]))(x)

"""Whole models of what is drawn, and inputs for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

from . import arithmetic, convolution, core, reshaping, sequences  # noqa: F401 - they register what can be drawn
from .dice import DRAWS, Dice, NotHere, elements

LARGEST = 3000
"""Elements of a sample."""
ATTEMPTS = 40
STARTS: Mapping[str, tuple[int | None, ...]] = {
    "vector": (9,),
    "steps": (8, 5),
    "free": (None, 5),
    "masked": (8, 5),
    "free_masked": (None, 5),
    "tokens": (8,),
    "free_tokens": (None,),
    "image": (10, 9, 4),
    "photo": (9, 12, 3),
    "volume": (6, 5, 7, 2),
    "frames": (4, 6, 5, 3),
}
VOCABULARY = 9


def random_model(seed: int) -> keras.Model:
    """The model of a seed: one that Keras runs, whose outputs show something and are not made of rounding."""
    for attempt in range(ATTEMPTS):
        try:
            model = _drawn(Dice(seed, attempt), seed)
        except NotHere:
            continue
        if _shows_something(model):
            return model
    raise ValueError(f"no model came about for seed {seed}")


def _drawn(dice: Dice, seed: int) -> keras.Model:
    start = list(STARTS)[seed % len(STARTS)]
    inputs = [_input(start)]
    x = _begun(dice, start, inputs[0])
    outputs = []
    for left in range(dice.whole(4, 8), 0, -1):
        x = _next(dice, x, depth=0, rank=len(x.shape) if left > 3 else 0)
        if dice.chance(0.1):
            outputs.append(x)
    if dice.chance(0.25):
        inputs.append(keras.Input((6,), name="other"))
        x = _joined(x, layers.Dense(x.shape[-1], activation="tanh")(inputs[1]))
    outputs.append(layers.Dense(3)(x))
    return _randomised(keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0]), dice)


def _input(start: str) -> Any:
    dtype = "int32" if start.endswith("tokens") else "float32"
    return keras.Input(STARTS[start], name=start, dtype=dtype)


def _begun(dice: Dice, start: str, x: Any) -> Any:
    if start.endswith("tokens"):
        return layers.Embedding(VOCABULARY, dice.units(), mask_zero=dice.chance(0.7))(x)
    return layers.Masking()(x) if start.endswith("masked") else x


def _joined(x: Any, vector: Any) -> Any:
    """A vector beside every place of a value."""
    for _ in range(len(x.shape) - 2):
        vector = keras.ops.expand_dims(vector, 1)
    return layers.Add()([x, vector])


def _next(dice: Dice, x: Any, depth: int, rank: int = 0) -> Any:
    """What is drawn after a value, of no fewer axes than ``rank``. Raises NotHere after many that do not go with it."""
    for _ in range(ATTEMPTS):
        draw = dice.one_of(*DRAWS.get(len(x.shape), ()), *([_nested, _shared] if depth == 0 else []))
        try:
            y = draw(dice, x)
        except (NotHere, ValueError):  # ValueError: Keras says that it does not go with this shape
            continue
        if len(y.shape) < rank:
            continue
        if len(y.shape) in DRAWS and y.shape[-1] is not None and 0 not in y.shape and elements(y) <= LARGEST:
            return y
    raise NotHere


def _nested(dice: Dice, x: Any) -> Any:
    """A model inside the model, called once or twice."""
    inner = keras.Input(x.shape[1:])
    y = inner
    for _ in range(dice.whole(1, 3)):
        y = _next(dice, y, depth=1)
    made = keras.Model(inner, y)
    first = made(x)
    return layers.Add()([first, made(keras.ops.tanh(x))]) if dice.chance(0.4) else first


def _shared(dice: Dice, x: Any) -> Any:
    """One layer that is called twice."""
    made: Callable[[Any], Any] = layers.Dense(dice.units(), activation="tanh")
    if len(x.shape) == 3 and dice.chance(0.6):
        made = sequences.layer(dice, sequences=dice.chance(0.5))
    elif len(x.shape) == 4 and dice.chance(0.6):
        made = layers.Conv2D(dice.units(), 2, padding="same", activation="relu")
    return layers.Average()([made(x), made(keras.ops.tanh(x))])


def _randomised(model: keras.Model, dice: Dice) -> keras.Model:
    """Random values for every variable, biases and statistics too; none is zero."""
    for variable in model.variables:
        if not str(variable.dtype).startswith("float"):
            continue
        fan_in = max(1, int(np.prod(variable.shape[:-1])))
        spread = dice.random.uniform(0.5, 1.5) / np.sqrt(fan_in) if len(variable.shape) > 1 else 0.3
        values = dice.random.normal(size=variable.shape) * spread
        if "variance" in variable.name or variable.name in ("gamma", "scale"):
            values = dice.random.uniform(0.5, 1.5, variable.shape)
        variable.assign(values.astype(variable.dtype))
    return model


def values_of(model: keras.Model, seed: int, batch: int = 11, free: int = 12) -> list[np.ndarray]:
    """An array for every input; ``free`` is the size of its free axes. Of masked sequences every first step counts."""
    random = np.random.default_rng(seed)
    values = []
    for tensor in model.inputs:
        shape = [(batch if axis == 0 else free) if size is None else size for axis, size in enumerate(tensor.shape)]
        name = tensor._keras_history.operation.name
        if name.endswith("tokens"):
            made = random.integers(0, VOCABULARY, shape)
            made[:, 0] = 1
        else:
            made = random.normal(size=shape)
        if name.endswith("masked"):
            made[:, 1:][random.random((shape[0], shape[1] - 1)) < 0.3] = 0
            made[0, shape[1] // 2 :] = 0
        values.append(made.astype(tensor.dtype))
    return values


def run(model: keras.Model, values: list[np.ndarray]) -> list[np.ndarray]:
    """What Keras gives."""
    outputs = model(values if isinstance(model.input, list) else values[0], training=False)
    return [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]


def _shows_something(model: keras.Model) -> bool:
    """Whether Keras runs it, every output differs between samples, and weights that differ in their last digits give
    nearly the same: what is made of rounding (a difference of near numbers, a step function at its step) shows nothing.
    """
    values = values_of(model, seed=1)
    try:
        before = run(model, values)
        run(model, values_of(model, seed=2, batch=13, free=17))
    except Exception:  # Keras' backends raise many
        return False
    kept = [(variable, keras.ops.convert_to_numpy(variable)) for variable in model.variables]
    random = np.random.default_rng(0)
    for variable, array in kept:
        if array.dtype.kind == "f":
            variable.assign(array * (1 + 1e-6 * random.normal(size=array.shape)).astype(array.dtype))
    after = run(model, values)
    for variable, array in kept:
        variable.assign(array)
    return all(_is_steady(one, other) for one, other in zip(before, after, strict=True))


def _is_steady(one: np.ndarray, other: np.ndarray) -> bool:
    largest = float(np.abs(one).max(initial=0))
    if not np.isfinite(one).all() or largest > 1e4 or np.ptp(one, axis=0).max() <= 1e-3 * largest:
        return False
    return bool(np.abs(one - other).max() <= 2e-5 * largest)

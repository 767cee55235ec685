"""Recurrent layers with all their settings, layers at every step, and attention."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from .dice import Dice, NotHere, draws

NATIVE = ("tanh", "sigmoid", "relu", "hard_sigmoid", "linear", "elu", "softsign", "softplus", "leaky_relu")
OTHERS = ("gelu", "silu", "selu", "hard_tanh", "mish", "relu6", "log_sigmoid")
GATES = ("sigmoid", "sigmoid", "hard_sigmoid", "tanh", "softsign")
KINDS = ("LSTM", "GRU", "SimpleRNN")


def settings(dice: Dice, kind: str) -> dict[str, Any]:
    """What the mathematics of a cell depends on."""
    chosen: dict[str, Any] = {"use_bias": dice.chance(0.8)}
    if dice.chance(0.5):
        chosen["activation"] = dice.one_of(*(OTHERS if dice.chance(0.3) else NATIVE))
    if kind != "SimpleRNN" and dice.chance(0.4):
        chosen["recurrent_activation"] = dice.one_of(*GATES)
    if kind == "GRU":
        chosen["reset_after"] = dice.chance(0.5)
    return chosen


def layer(dice: Dice, *, sequences: bool, **more: Any) -> Any:
    """A recurrent layer."""
    kind = dice.one_of(*KINDS)
    return getattr(layers, kind)(dice.units(), return_sequences=sequences, **settings(dice, kind), **more)


@draws(3, often=5)
def recurrent(dice: Dice, x: Any) -> Any:
    more = {
        "go_backwards": dice.chance(0.3),
        "zero_output_for_mask": dice.chance(0.2),
        "return_state": dice.chance(0.3),
        "unroll": x.shape[1] is not None and dice.chance(0.1),
    }
    made = layer(dice, sequences=dice.chance(0.7), **more)
    states = None
    if dice.chance(0.3):
        count = 2 if isinstance(made, layers.LSTM) else 1
        states = [layers.Dense(made.units, activation="tanh")(x[:, 0]) for _ in range(count)]
    return _with_states(dice, made(x, initial_state=states))


def _with_states(dice: Dice, outputs: Any) -> Any:
    """The output alone, or with the last states added to every step."""
    if not isinstance(outputs, list | tuple):
        return outputs
    y, *states = outputs
    return layers.Add()([y, dice.one_of(*states)]) if y.shape[-1] == states[0].shape[-1] else y


@draws(3, often=5)
def both_ways(dice: Dice, x: Any) -> Any:
    sequences, states = dice.chance(0.7), dice.chance(0.2)
    more: dict[str, Any] = {"return_state": states}
    one = layer(dice, sequences=sequences, **more)
    if dice.chance(0.2) and not states:
        other = layer(dice, sequences=sequences, go_backwards=True, **more)
        other = type(other).from_config({**other.get_config(), "units": one.units})
        return layers.Bidirectional(one, merge_mode=dice.one_of("concat", "sum"), backward_layer=other)(x)
    mode = dice.one_of("concat", "sum", "ave", "mul", None)
    outputs = layers.Bidirectional(one, merge_mode=mode)(x)
    if not isinstance(outputs, list | tuple):
        return outputs
    if mode is None:
        return layers.Concatenate()(list(outputs[:2]))
    return _with_states(dice, outputs)


@draws(3, often=2)
def cells(dice: Dice, x: Any) -> Any:
    made = []
    for _ in range(dice.whole(1, 3)):
        kind = dice.one_of(*KINDS)
        made.append(getattr(layers, f"{kind}Cell")(dice.units(), **settings(dice, kind)))
    more = {"return_sequences": dice.chance(0.7), "go_backwards": dice.chance(0.3)}
    return layers.RNN(made if len(made) > 1 or dice.chance(0.3) else made[0], **more)(x)


@draws(4, 5, often=2)
def frames(dice: Dice, x: Any) -> Any:
    """A convolutional LSTM over the first axis."""
    if None in x.shape[1:]:
        raise NotHere
    rank = len(x.shape) - 3
    kernel = dice.whole(1, min(3, *x.shape[2:-1]))
    more = {
        "padding": dice.one_of("same", "valid"),
        "strides": dice.whole(1, 2),
        "return_sequences": dice.chance(0.6),
        "go_backwards": dice.chance(0.3),
        "activation": dice.one_of("tanh", "relu"),
        "recurrent_activation": dice.one_of("sigmoid", "hard_sigmoid"),
        "use_bias": dice.chance(0.8),
    }
    return getattr(layers, f"ConvLSTM{rank}D")(dice.whole(2, 4), kernel, **more)(x)


@draws(3, 4, 5, often=2)
def every_step(dice: Dice, x: Any) -> Any:
    """A layer, or a model, at every step."""
    units, rank = dice.units(), len(x.shape)
    inner: list[Any] = [
        layers.Dense(units, activation="tanh"),
        keras.Sequential([layers.Dense(units, activation="silu"), layers.LayerNormalization(), layers.Dense(units)]),
    ]
    if rank == 4:
        inner += [layers.Conv1D(units, 2), layer(dice, sequences=dice.chance(0.5)), layers.Flatten()]
        inner += [layers.Bidirectional(layers.GRU(units, return_sequences=dice.chance(0.5))), layers.MaxPooling1D(2)]
    if rank == 5:
        inner += [layers.Conv2D(units, 2, padding="same"), layers.GlobalAveragePooling2D(), layers.MaxPooling2D(2)]
    return layers.TimeDistributed(dice.one_of(*inner))(x)


@draws(3, often=3)
def heads(dice: Dice, x: Any) -> Any:
    causal = {"use_causal_mask": dice.chance(0.3)}
    other = layers.Dense(dice.units(), activation="tanh")(x) if dice.chance(0.5) else x
    if dice.chance(0.3):
        heads_of_keys = dice.whole(1, 2)
        count = heads_of_keys * dice.whole(1, 2)
        made = layers.GroupQueryAttention(dice.whole(2, 4), count, heads_of_keys, use_bias=dice.chance(0.8))
        return made(x, other, **causal)
    made = layers.MultiHeadAttention(
        dice.whole(1, 3),
        dice.whole(2, 4),
        value_dim=dice.one_of(None, 3),
        output_shape=dice.one_of(None, dice.units()),
        use_bias=dice.chance(0.8),
    )
    return made(x, other, *([x] if dice.chance(0.3) else []), **causal)


@draws(3, often=3)
def attention(dice: Dice, x: Any) -> Any:
    other = layers.Dense(x.shape[-1])(x)
    made = dice.one_of(
        layers.Attention(use_scale=dice.chance(0.5)),
        layers.Attention(use_scale=dice.chance(0.5), score_mode="concat"),
        layers.AdditiveAttention(use_scale=dice.chance(0.5)),
    )
    return made(dice.one_of([x, other], [x, x, other], [other, x]), use_causal_mask=dice.chance(0.3))

"""The mathematics of layers with a state: LSTM, GRU, plain RNN, minimal gated unit and convolutional LSTM.

Letters as in the papers: x what a step takes in, h its output and hidden state, c the cell; W weighs x, R weighs h.
In the shapes, ``unit`` is the cell's size and ``hidden`` that of h: the same unless the LSTM projects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from ._reference_activations import activation
from ._reference_feed_forward import check_channels, convolve
from .checkpoint import Array, Setting
from .errors import LayoutError, UsageError

Weights: TypeAlias = Mapping[str, Array]
Settings: TypeAlias = Mapping[str, Setting]
States: TypeAlias = tuple[Array, ...]
Step: TypeAlias = Callable[[Array, States], States]
"""One step: what comes in and the states before, to the states after; the first state is the output."""
Cell: TypeAlias = Callable[[Weights, Settings, int], tuple[Step, States]]
"""A cell's step and its states at the start, for one direction's weights and a batch size."""

_BACK_TO_FRONT = {"reverse", "backwards"}
_MERGES: Mapping[Setting, Callable[[Array, Array], Array]] = {
    "concat": lambda one, other: np.concatenate([one, other], axis=-1),
    "sum": lambda one, other: one + other,
    "mul": lambda one, other: one * other,
    "ave": lambda one, other: (one + other) / 2,
}


def lstm(layers: Sequence[Weights], settings: Settings, inputs: Array) -> Array:
    """(batch, time, in) to (batch, time, direction * hidden), or (batch, direction * hidden) for the last step only.

    Gers, Schmidhuber and Cummins 2000, "Learning to Forget"; peepholes: Gers and Schmidhuber 2000, "Recurrent Nets
    that Time and Count"; projection: Sak et al. 2014, arXiv:1402.1128."""
    return _stack(_lstm_cell, layers, settings, inputs)


def gru(layers: Sequence[Weights], settings: Settings, inputs: Array) -> Array:
    """Shapes as of :func:`lstm`. Cho et al. 2014, arXiv:1406.1078 (v1: reset after; v3: reset before)."""
    return _stack(_gru_cell, layers, settings, inputs)


def rnn(layers: Sequence[Weights], settings: Settings, inputs: Array) -> Array:
    """Shapes as of :func:`lstm`. Elman 1990, "Finding Structure in Time"."""
    return _stack(_rnn_cell, layers, settings, inputs)


def mgu(layers: Sequence[Weights], settings: Settings, inputs: Array) -> Array:
    """Shapes as of :func:`lstm`. Zhou et al. 2016, arXiv:1603.09420, as flax.linen.MGUCell has it."""
    return _stack(_mgu_cell, layers, settings, inputs)


def conv_lstm(layers: Sequence[Weights], settings: Settings, inputs: Array) -> Array:
    """(batch, time, *space, in) to (batch, time, *space, unit). Shi et al. 2015, arXiv:1506.04214, without
    peepholes: an LSTM whose products are convolutions, those of h with stride 1 and of unchanged size."""
    if inputs.ndim < 4:
        raise LayoutError(f"inputs of shape {list(inputs.shape)} are not (batch, time, *space, in)")
    weights, batch, time = layers[0], *inputs.shape[:2]
    check_channels(inputs, weights["input_weight"].shape[2])
    bias = np.sum(weights.get("bias", np.zeros((2, 4, 1))), axis=0)
    rows = [weights[role].reshape(-1, *weights[role].shape[2:]) for role in ("input_weight", "recurrent_weight")]
    seen = convolve(
        inputs.reshape(-1, *inputs.shape[2:]), rows[0], settings["strides"], settings["padding"], settings["dilation"]
    )
    space, unit = seen.shape[1:-1], weights["input_weight"].shape[1]
    seen = seen.reshape(batch, time, *space, 4, unit) + bias
    after = _lstm_after_products(settings)

    def step(x: Array, states: States) -> States:
        h, c = states
        gates = x + convolve(h, rows[1], 1, "same", 1).reshape(batch, *space, 4, unit)
        return after(np.moveaxis(gates, -2, 0), c)

    start = np.zeros((batch, *space, unit))
    outputs = _sweep(step, (start, start), seen)
    return outputs if settings["return_sequences"] else outputs[:, -1]


def _stack(cell: Cell, layers: Sequence[Weights], settings: Settings, inputs: Array) -> Array:
    """Every layer takes in what the one below gives out; only the last one may give out its last step alone."""
    if inputs.ndim != 3 or not inputs.shape[1]:
        raise LayoutError(f"inputs of shape {list(inputs.shape)} are not (batch, time, in) with at least one step")
    for index, weights in enumerate(layers):
        last_only = not settings["return_sequences"] and index == len(layers) - 1
        inputs = _directions(cell, weights, settings, inputs, last_only=last_only)
    return inputs


def _directions(cell: Cell, weights: Weights, settings: Settings, inputs: Array, *, last_only: bool) -> Array:
    """One layer in its one direction or two. The last step is the last one processed, of each direction."""
    check_channels(inputs, weights["input_weight"].shape[-1])
    outputs = []
    for own, back_to_front, in_order in _each_direction(weights, settings):
        step, start = cell(own, settings, len(inputs))
        output = _sweep(step, start, inputs[:, ::-1] if back_to_front else inputs)
        if last_only:
            output = output[:, -1]
        elif back_to_front and in_order:
            output = output[:, ::-1]
        outputs.append(output)
    return outputs[0] if len(outputs) == 1 else _merge(settings)(*outputs)


def _each_direction(weights: Weights, settings: Settings) -> Iterator[tuple[Weights, bool, bool]]:
    """Each direction's weights, whether it processes the input from its end, whether it turns its output back."""
    wanted = settings["direction"]
    count = len(weights["input_weight"])
    if wanted not in {"forward", "bidirectional", *_BACK_TO_FRONT}:
        raise UsageError(f"no direction {wanted!r}; known are forward, reverse, backwards and bidirectional")
    if count == 1 and wanted == "bidirectional":
        raise LayoutError("direction is bidirectional, but the weights are of one direction")
    if count == 2 and wanted in _BACK_TO_FRONT:
        raise LayoutError(f"direction is {wanted}, but the weights are of two directions")
    for index in range(count):
        own = {role: array[index] for role, array in weights.items()}
        yield own, index == 1 or wanted in _BACK_TO_FRONT, wanted != "backwards"


def _merge(settings: Settings) -> Callable[[Array, Array], Array]:
    mode = settings["merge_mode"]
    if mode not in _MERGES:
        raise UsageError(f"no merge_mode {mode!r}; known are {', '.join(map(str, _MERGES))}")
    return _MERGES[mode]


def _sweep(step: Step, states: States, inputs: Array) -> Array:
    """The outputs of all steps, in processing order; inputs (batch, time, ...)."""
    outputs = []
    for time in range(inputs.shape[1]):
        states = step(inputs[:, time], states)
        outputs.append(states[0])
    return np.stack(outputs, axis=1)


def _lstm_cell(weights: Weights, settings: Settings, batch: int) -> tuple[Step, States]:
    """i, f = rec(Wx + Rh + b + p c), g = act(Wx + Rh + b), c' = f c + i g, o = rec(Wx + Rh + b + p c'),
    h' = P (o cell_act(c')) + b_P.

    p c is a product with a vector (``peephole``) or with a matrix (``peephole_matrix``); without P, h' is as is."""
    b = _both_sides(weights)
    after = _lstm_after_products(settings, weights)

    def step(x: Array, states: States) -> States:
        h, c = states
        gates = _product(weights["input_weight"], x) + _product(weights["recurrent_weight"], h) + b
        return after(gates, c)

    unit, hidden = weights["input_weight"].shape[1], weights["recurrent_weight"].shape[-1]
    return step, (_start(weights, "initial_hidden", batch, hidden), _start(weights, "initial_cell", batch, unit))


def _lstm_after_products(settings: Settings, weights: Weights | None = None) -> Callable[[Array, Array], States]:
    """The rest of an LSTM's step, from the four gates before their activation (gate first) and c to h' and c'."""
    act, cell_act = activation(settings["activation"]), activation(settings["cell_activation"])
    rec = activation(settings["recurrent_activation"])
    own = weights or {}
    coupled = bool(settings.get("input_forget", False))
    cell_limit, projection_limit = settings.get("cell_clip", 0), settings.get("projection_clip", 0)

    def after(gates: Array, c: Array) -> States:
        i = rec(gates[0] + _peephole(own, 0, c))
        f = 1 - i if coupled else rec(gates[1] + _peephole(own, 1, c))
        c = _clipped(f * c + i * act(gates[2]), cell_limit)
        h = rec(gates[3] + _peephole(own, 3, c)) * cell_act(c)
        if "projection" in own:
            h = _clipped(h @ own["projection"].T + own.get("projection_bias", 0.0), projection_limit)
        return h, c

    return after


def _peephole(weights: Weights, gate: int, c: Array) -> Array | float:
    """What one gate sees of the cell: peephole (gate, unit), peephole_matrix (gate, unit, cell), c (batch, unit)."""
    seen: Array | float = 0.0
    if "peephole" in weights:
        seen = seen + weights["peephole"][gate] * c
    if "peephole_matrix" in weights:
        seen = seen + c @ weights["peephole_matrix"][gate].T
    return seen


def _clipped(values: Array, limit: Setting) -> Array:
    """Held between -limit and limit; 0 is no limit."""
    return np.clip(values, -float(limit), float(limit)) if isinstance(limit, int | float) and limit else values


def _gru_cell(weights: Weights, settings: Settings, batch: int) -> tuple[Step, States]:
    """z, r = rec(W x + R h + b), n = act(W x + b_x + r (R h + b_h)), or act(W x + b_x + R (r h) + b_h) where the
    reset stands before, h' = z h + (1 - z) n.

    Where ``first_step`` is "input only", the first step has no R and no b_h at all (chainer.links.StatefulGRU)."""
    act, rec = activation(settings["activation"]), activation(settings["recurrent_activation"])
    b_x, b_h = _sides(weights)
    reset = _one_of(settings, "reset", ("after", "before"))
    input_only = _one_of(settings, "first_step", ("whole", "input only")) == "input only"
    recurrent = weights["recurrent_weight"]

    def step(x: Array, states: States) -> States:
        h, steps_done = states
        of_x = _product(weights["input_weight"], x) + b_x
        if input_only and not steps_done:
            return (1 - rec(of_x[0])) * act(of_x[2]), steps_done + 1
        of_h = _product(recurrent, h) + b_h
        z, r = rec(of_x[0] + of_h[0]), rec(of_x[1] + of_h[1])
        gated = r * of_h[2] if reset == "after" else (r * h) @ recurrent[2].T + b_h[2]
        return z * h + (1 - z) * act(of_x[2] + gated), steps_done + 1

    return step, (_start(weights, "initial_hidden", batch, recurrent.shape[-1]), np.zeros(()))


def _rnn_cell(weights: Weights, settings: Settings, batch: int) -> tuple[Step, States]:
    """h' = act(W x + R h + b)."""
    act = activation(settings["activation"])
    b = _both_sides(weights)

    def step(x: Array, states: States) -> States:
        return (act(x @ weights["input_weight"].T + states[0] @ weights["recurrent_weight"].T + b),)

    return step, (_start(weights, "initial_hidden", batch, len(weights["recurrent_weight"])),)


def _mgu_cell(weights: Weights, settings: Settings, batch: int) -> tuple[Step, States]:
    """f = rec(W x + R h + b), n = act(W x + b_x + f (R h + b_h)), h' = f h + (1 - f) n; the inner f multiplies h itself
    where ``reset`` is "before", nothing where it is "none"; f and 1 - f change places where ``update`` is "replace"."""
    act, rec = activation(settings["activation"]), activation(settings["recurrent_activation"])
    b_x, b_h = _sides(weights)
    recurrent = weights["recurrent_weight"]
    reset = _one_of(settings, "reset", ("after", "before", "none"))
    keeps = _one_of(settings, "update", ("keep", "replace")) == "keep"

    def step(x: Array, states: States) -> States:
        (h,) = states
        of_x = _product(weights["input_weight"], x) + b_x
        f = rec(of_x[0] + _product(recurrent[:1], h)[0] + b_h[0])
        of_h = _product(recurrent[1:], f * h if reset == "before" else h)[0] + b_h[1]
        n = act(of_x[1] + (f * of_h if reset == "after" else of_h))
        return (f * h + (1 - f) * n if keeps else (1 - f) * h + f * n,)

    return step, (_start(weights, "initial_hidden", batch, weights["recurrent_weight"].shape[-1]),)


def _start(weights: Weights, role: str, batch: int, size: int) -> Array:
    """The state before the first step: learned, the same for the whole batch, or zero."""
    return np.broadcast_to(weights.get(role, np.zeros(size)), (batch, size))


def _product(weight: Array, x: Array) -> Array:
    """(gate, unit, in) with (batch, in) to (gate, batch, unit)."""
    return np.asarray(np.einsum("gui,bi->gbu", weight, x))


def _sides(weights: Weights) -> tuple[Array, Array]:
    """The biases beside the input's and the hidden state's product, ready to be added: ([gate,] 1, unit)."""
    bias = weights.get("bias")
    if bias is None:
        none = np.zeros((*weights["input_weight"].shape[:-2], 1, 1))
        return none, none
    return bias[0][..., None, :], bias[1][..., None, :]


def _both_sides(weights: Weights) -> Array:
    return np.asarray(np.sum(_sides(weights), axis=0))


def _one_of(settings: Settings, name: str, known: tuple[str, ...]) -> str:
    value = str(settings[name])
    if value not in known:
        raise UsageError(f"no {name} {value!r}; known are {', '.join(known)}")
    return value

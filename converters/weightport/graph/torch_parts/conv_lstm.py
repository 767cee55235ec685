"""A convolutional LSTM, which ``torch.nn`` does not have."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .steps import States, run_steps


class ConvLSTM(nn.Module):
    """An LSTM whose products are convolutions, of the input and of the state.

    Both give four times the channels: gates input, forget, candidate, output. The
    frames are x (batch, time, channels, ...); ``pad`` goes around each of them,
    ``recurrent_pad`` around the state.
    """

    def __init__(
        self,
        conv: nn.Module,
        recurrent: nn.Module,
        *,
        pad: tuple[int, ...] = (),
        recurrent_pad: tuple[int, ...] = (),
        activation: Callable[[Tensor], Tensor] = torch.tanh,
        recurrent_activation: Callable[[Tensor], Tensor] = torch.sigmoid,
    ) -> None:
        super().__init__()
        self.conv = conv
        self.recurrent = recurrent
        self.pad = pad
        self.recurrent_pad = recurrent_pad
        self.activation = activation
        self.recurrent_activation = recurrent_activation

    def forward(self, x: Tensor, states: States | None = None) -> tuple[Tensor, States]:
        """The outputs (batch, time, channels, ...) and the last states."""
        frames = nn.functional.pad(x.flatten(0, 1), self.pad)
        inputs = self.conv(frames).unflatten(0, x.shape[:2])
        zeros = torch.zeros_like(inputs[:, 0].chunk(4, dim=1)[0])
        states = (zeros, zeros) if states is None else states
        return run_steps(self.step, inputs, states, None)

    def step(self, x: Tensor, states: States) -> States:
        """One frame: the states h and c after it."""
        h, c = states
        gates = x + self.recurrent(nn.functional.pad(h, self.recurrent_pad))
        into, forget, candidate, out = gates.chunk(4, dim=1)
        kept = self.recurrent_activation(forget) * c
        c = kept + self.recurrent_activation(into) * self.activation(candidate)
        return self.recurrent_activation(out) * self.activation(c), c

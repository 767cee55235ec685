"""An LSTM with other activations, or over steps that may be masked."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .steps import States, run_steps


class LSTM(nn.Module):
    """An LSTM of one direction, with any activations, over steps that may be masked.

    The parameters are those of one layer of ``nn.LSTM``.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        activation: Callable[[Tensor], Tensor] = torch.tanh,
        recurrent_activation: Callable[[Tensor], Tensor] = torch.sigmoid,
        zero_output_for_mask: bool = False,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.recurrent_activation = recurrent_activation
        self.zero_output_for_mask = zero_output_for_mask
        self.weight_ih_l0 = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias_ih_l0 = nn.Parameter(torch.zeros(4 * hidden_size)) if bias else None
        self.bias_hh_l0 = nn.Parameter(torch.zeros(4 * hidden_size)) if bias else None

    def forward(
        self, x: Tensor, states: States | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, States]:
        """x (batch, time, in) to outputs (batch, time, hidden) and the last states."""
        zeros = x.new_zeros(x.shape[0], self.weight_hh_l0.shape[1])
        inputs = nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0)
        states = (zeros, zeros) if states is None else states
        return run_steps(self.step, inputs, states, mask, self.zero_output_for_mask)

    def step(self, x: Tensor, states: States) -> States:
        """One step: the states h and c after it."""
        h, c = states
        gates = x + nn.functional.linear(h, self.weight_hh_l0, self.bias_hh_l0)
        into, forget, candidate, out = gates.chunk(4, dim=-1)
        kept = self.recurrent_activation(forget) * c
        c = kept + self.recurrent_activation(into) * self.activation(candidate)
        return self.recurrent_activation(out) * self.activation(c), c

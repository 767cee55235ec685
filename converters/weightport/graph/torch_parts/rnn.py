"""A simple RNN with other activations, or over steps that may be masked."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .steps import States, run_steps


class RNN(nn.Module):
    """An RNN of one direction, with any activation, over steps that may be masked.

    The parameters are those of one layer of ``nn.RNN``.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        activation: Callable[[Tensor], Tensor] = torch.tanh,
        zero_output_for_mask: bool = False,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.zero_output_for_mask = zero_output_for_mask
        self.weight_ih_l0 = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias_ih_l0 = nn.Parameter(torch.zeros(hidden_size)) if bias else None
        self.bias_hh_l0 = nn.Parameter(torch.zeros(hidden_size)) if bias else None

    def forward(
        self, x: Tensor, states: States | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, States]:
        """x (batch, time, in) to outputs (batch, time, hidden) and the last state."""
        zeros = x.new_zeros(x.shape[0], self.weight_hh_l0.shape[1])
        inputs = nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0)
        states = (zeros,) if states is None else states
        return run_steps(self.step, inputs, states, mask, self.zero_output_for_mask)

    def step(self, x: Tensor, states: States) -> States:
        """One step: the state after it."""
        (h,) = states
        recurrent = nn.functional.linear(h, self.weight_hh_l0, self.bias_hh_l0)
        return (self.activation(x + recurrent),)

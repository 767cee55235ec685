"""GRUs with other activations, resetting elsewhere, or over masked steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .steps import States, run_steps


class GRU(nn.Module):
    """A GRU of one direction, with any activations, over steps that may be masked.

    The parameters are those of one layer of ``nn.GRU``: gates reset, update, candidate.
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
        self.weight_ih_l0 = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias_ih_l0 = nn.Parameter(torch.zeros(3 * hidden_size)) if bias else None
        self.bias_hh_l0 = nn.Parameter(torch.zeros(3 * hidden_size)) if bias else None

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
        x_reset, x_update, x_candidate = x.chunk(3, dim=-1)
        h_reset, h_update, h_candidate = recurrent.chunk(3, dim=-1)
        reset = self.recurrent_activation(x_reset + h_reset)
        update = self.recurrent_activation(x_update + h_update)
        candidate = self.activation(x_candidate + reset * h_candidate)
        return (update * h + (1 - update) * candidate,)


class GRUResetBefore(nn.Module):
    """A GRU of one direction whose reset gate acts before the product with the state.

    ``nn.GRU`` resets after it. The gates are update, reset, candidate; the bias is one.
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
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.zeros(3 * hidden_size)) if bias else None

    def forward(
        self, x: Tensor, states: States | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, States]:
        """x (batch, time, in) to outputs (batch, time, hidden) and the last state."""
        zeros = x.new_zeros(x.shape[0], self.weight_hh.shape[1])
        inputs = nn.functional.linear(x, self.weight_ih, self.bias)
        states = (zeros,) if states is None else states
        return run_steps(self.step, inputs, states, mask, self.zero_output_for_mask)

    def step(self, x: Tensor, states: States) -> States:
        """One step: the state after it."""
        (h,) = states
        hidden = h.shape[-1]
        x_gates, x_candidate = x.split([2 * hidden, hidden], dim=-1)
        gate_weight, candidate_weight = self.weight_hh.split([2 * hidden, hidden])
        gates = self.recurrent_activation(x_gates + h @ gate_weight.mT)
        update, reset = gates.chunk(2, dim=-1)
        candidate = self.activation(x_candidate + (reset * h) @ candidate_weight.mT)
        return (update * h + (1 - update) * candidate,)

"""One step after the other, for recurrent layers that ``torch.nn`` does not have."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

States = tuple[Tensor, ...]


def run_steps(
    step: Callable[[Tensor, States], States],
    x: Tensor,
    states: States,
    mask: Tensor | None,
    zero_output_for_mask: bool = False,
) -> tuple[Tensor, States]:
    """Run ``step`` over x (batch, time, ...); the first state is the output.

    A step that mask (batch, time) leaves out keeps the states and repeats the output.
    """
    outputs = []
    output = torch.zeros_like(states[0])
    for time in range(x.shape[1]):
        new = step(x[:, time], states)
        if mask is None:
            output, states = new[0], new
        else:
            keep = mask[:, time].reshape(-1, *[1] * (output.dim() - 1))
            before = torch.zeros_like(output) if zero_output_for_mask else output
            output = torch.where(keep, new[0], before)
            pairs = zip(new, states, strict=True)
            states = tuple(torch.where(keep, now, then) for now, then in pairs)
        outputs.append(output)
    return torch.stack(outputs, dim=1), states

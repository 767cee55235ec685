"""Both directions of a recurrent layer."""

from __future__ import annotations

from torch import Tensor, nn

from .steps import States


class Bidirectional(nn.Module):
    """Two recurrent layers over the same steps, the second from the end."""

    def __init__(self, forward_layer: nn.Module, backward_layer: nn.Module) -> None:
        super().__init__()
        self.forward_layer = forward_layer
        self.backward_layer = backward_layer

    def forward(
        self, x: Tensor, states: States | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, States]:
        """The outputs of each, both in the order of x, and the last states of both."""
        first = second = None
        if states is not None:
            half = len(states) // 2
            first, second = states[:half], states[half:]
        turned = None if mask is None else mask.flip(1)
        y, ends = self.forward_layer(x, first, mask)
        reverse, reverse_ends = self.backward_layer(x.flip(1), second, turned)
        return y, reverse.flip(1), (*ends, *reverse_ends)

"""Attention as Keras computes it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MultiHeadAttention(nn.Module):
    """Attention of several heads whose keys and values may be of any width."""

    def __init__(
        self,
        heads: int,
        sizes: tuple[int, int, int, int],
        key_dim: int,
        value_dim: int,
        *,
        bias: bool = True,
    ) -> None:
        """``sizes`` are those of query, key, value and output."""
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(sizes[0], heads * key_dim, bias=bias)
        self.key = nn.Linear(sizes[1], heads * key_dim, bias=bias)
        self.value = nn.Linear(sizes[2], heads * value_dim, bias=bias)
        self.output = nn.Linear(heads * value_dim, sizes[3], bias=bias)

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """The output and the weights (batch, heads, query steps, key steps).

        mask (batch, query steps, key steps) says who may look where.
        """
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part, x in ((self.query, query), (self.key, key), (self.value, value))
        )
        scores = q @ k.mT / q.shape[-1] ** 0.5
        allowed = None if mask is None else mask.unsqueeze(1)
        if causal:
            lower = torch.ones_like(scores, dtype=torch.bool).tril()
            allowed = lower if allowed is None else lower & allowed
        if allowed is not None:
            scores = scores.masked_fill(~allowed, -1e9)
        weights = scores.softmax(-1)
        return self.output((weights @ v).transpose(1, 2).flatten(2)), weights


def additive_scores(query: Tensor, key: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    """The scores of Bahdanau's attention: a sum over the features of tanh(q + k)."""
    return (scale * torch.tanh(query.unsqueeze(2) + key.unsqueeze(1))).sum(-1)


def attend(
    scores: Tensor,
    value: Tensor,
    query_mask: Tensor | None = None,
    value_mask: Tensor | None = None,
    causal: bool = False,
) -> tuple[Tensor, Tensor]:
    """Values (batch, steps, features) by scores (batch, query steps, steps)."""
    hidden = torch.zeros_like(scores, dtype=torch.bool)
    if value_mask is not None:
        hidden = hidden | ~value_mask.unsqueeze(1)
    if causal:
        hidden = hidden | ~torch.ones_like(hidden).tril()
    scores = scores - 1e9 * hidden.to(scores.dtype)
    weights = scores.softmax(-1)
    output = weights @ value
    if query_mask is not None:
        output = output * query_mask.unsqueeze(-1).to(output.dtype)
    return output, weights

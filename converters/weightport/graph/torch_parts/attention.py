"""Attention as Keras computes it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MultiHeadAttention(nn.Module):
    """Attention of several heads.

    Keys, values and outputs may be of other widths than the queries. With fewer
    ``key_heads`` than ``heads``, several query heads share one of keys and values.
    ``gated`` multiplies what each head gives by a gate, which is made of the query.
    A query that may look nowhere gives the mean of all values, or with
    ``zero_masked`` zeros.
    """

    def __init__(
        self,
        query_size: int,
        key_size: int | None = None,
        value_size: int | None = None,
        output_size: int | None = None,
        *,
        heads: int,
        key_dim: int,
        value_dim: int | None = None,
        key_heads: int | None = None,
        gated: bool = False,
        zero_masked: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        key_size = key_size or query_size
        value_size = value_size or key_size
        value_dim = value_dim or key_dim
        self.heads = heads
        self.key_heads = key_heads or heads
        self.gated = gated
        self.zero_masked = zero_masked
        self.query = nn.Linear(query_size, heads * key_dim, bias=bias)
        self.key = nn.Linear(key_size, self.key_heads * key_dim, bias=bias)
        self.value = nn.Linear(value_size, self.key_heads * value_dim, bias=bias)
        if gated:
            self.gate = nn.Linear(query_size, heads * value_dim, bias=bias)
        self.output = nn.Linear(heads * value_dim, output_size or query_size, bias=bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """The output and the weights (batch, heads, query steps, key steps).

        mask (batch, query steps, key steps) says who may look where.
        """
        q = self.query(query).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k = self.key(key).unflatten(-1, (self.key_heads, -1)).transpose(1, 2)
        v = self.value(value).unflatten(-1, (self.key_heads, -1)).transpose(1, 2)
        if self.key_heads < self.heads:
            k = k.repeat_interleave(self.heads // self.key_heads, dim=1)
            v = v.repeat_interleave(self.heads // self.key_heads, dim=1)
        scores = q @ k.mT / q.shape[-1] ** 0.5
        allowed = None if mask is None else mask.unsqueeze(1)
        if causal:
            lower = torch.ones_like(scores, dtype=torch.bool).tril()
            allowed = lower if allowed is None else lower & allowed
        if allowed is not None:
            scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min / 2)
        weights = scores.softmax(-1)
        if allowed is not None and self.zero_masked:
            weights = weights * allowed
        mixed = (weights @ v).transpose(1, 2).flatten(2)
        if self.gated:
            mixed = mixed * torch.sigmoid(self.gate(query))
        return self.output(mixed), weights


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
    far = min(1e9, torch.finfo(scores.dtype).max)
    weights = torch.where(hidden, scores - far, scores).softmax(-1)
    output = weights @ value
    if query_mask is not None:
        output = output * query_mask.unsqueeze(-1).to(output.dtype)
    return output, weights

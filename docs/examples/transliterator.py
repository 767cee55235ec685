"""The model functional_13 in PyTorch.

``load()`` gives it with the weights in ``transliterator.safetensors``, ready to run;
it needs torch alone.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn


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


class Functional13(nn.Module):
    """The model functional_13.

    Takes input_layer_22 (batch, time)
      and input_layer_23 (batch, time).
    Gives dense_13 (batch, time, 81).
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding_8 = nn.Embedding(28, 32)
        self.embedding_9 = nn.Embedding(81, 32)
        self.bidirectional_3 = nn.GRU(32, 64, batch_first=True, bidirectional=True)
        self.gru_7 = nn.GRU(32, 64, batch_first=True)
        self.time_distributed_9 = nn.Linear(128, 64)
        self.additive_attention_5_scale = nn.Parameter(torch.empty(64))
        self.dense_13 = nn.Linear(128, 81)

    def forward(self, input_layer_22: Tensor, input_layer_23: Tensor) -> Tensor:
        x = self.embedding_8(input_layer_22.long())  # (batch, time, 32)
        y = self.embedding_9(input_layer_23.long())  # (batch, time, 32)
        x, _ = self.bidirectional_3(x)  # (batch, time, 128)
        y, _ = self.gru_7(y)  # (batch, time, 64)
        x = self.time_distributed_9(x)  # (batch, time, 64)
        scores = additive_scores(y, x, self.additive_attention_5_scale)
        x, _ = attend(scores, x)
        y = torch.cat([y, x], dim=-1)  # (batch, time, 128)
        y = self.dense_13(y)  # (batch, time, 81)
        y = y.softmax(-1)
        return y


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by their names."""
    dtypes = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16}
    dtypes |= {"BF16": torch.bfloat16, "I64": torch.int64, "I32": torch.int32}
    data = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            content = memoryview(data)[start + first : start + last]
            flat = torch.frombuffer(content, dtype=dtypes[entry["dtype"]])
            tensors[name] = flat.reshape(entry["shape"])
    return tensors


def load(path: str | Path | None = None) -> Functional13:
    """The model with its weights, by default those beside this file."""
    model = Functional13()
    path = (
        Path(__file__).with_name("transliterator.safetensors") if path is None else path
    )
    model.load_state_dict(read_safetensors(path))
    return model.eval()

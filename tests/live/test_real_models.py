"""Pretrained models that others made and ship inside packages: converted, run in PyTorch, and equal to the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import weightport as wp

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

KERAS = Path(__file__).parents[2] / "fixtures" / "keras"
TRANSLITERATOR = KERAS / "netra-transliterate" / "bi_gru_attention_khmer_transliterator.keras"
ATTENTION = "layers/additive_attention/vars/0"


class Transliterator(torch.nn.Module):
    """The model as a person would write it in PyTorch, its children named as the Keras layers are."""

    def __init__(self):
        super().__init__()
        self.embedding_8 = torch.nn.Embedding(28, 32)
        self.embedding_9 = torch.nn.Embedding(81, 32)
        self.bidirectional_3 = torch.nn.GRU(32, 64, batch_first=True, bidirectional=True)
        self.gru_7 = torch.nn.GRU(32, 64, batch_first=True)
        self.time_distributed_9 = torch.nn.Linear(128, 64)
        self.dense_13 = torch.nn.Linear(128, 81)

    def forward(self, source, target, scale):
        encoded = self.time_distributed_9(self.bidirectional_3(self.embedding_8(source))[0])
        decoded = self.gru_7(self.embedding_9(target))[0]
        scores = (scale * torch.tanh(decoded[:, :, None] + encoded[:, None])).sum(-1)
        context = scores.softmax(-1) @ encoded
        return self.dense_13(torch.cat([decoded, context], -1)).softmax(-1)


def test_a_transliterator_of_two_grus_and_attention(tmp_path, weightport):
    target = tmp_path / "model.safetensors"
    weightport("convert", TRANSLITERATOR, target, "--allow-unused", ATTENTION)

    from safetensors.torch import load_file

    twin = Transliterator()
    twin.load_state_dict(load_file(target))
    scale = torch.from_numpy(np.array(wp.open(TRANSLITERATOR).tensors[ATTENTION].read()))
    generator = np.random.default_rng(2)
    source, partial = generator.integers(0, 28, (5, 11)), generator.integers(0, 81, (5, 7))
    with torch.no_grad():
        ours = twin(torch.from_numpy(source), torch.from_numpy(partial), scale).numpy()

    theirs = np.asarray(keras.saving.load_model(TRANSLITERATOR, compile=False)([source, partial], training=False))
    assert theirs.std() > 1e-3
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_the_attention_that_has_no_kind_is_refused_by_name_unless_allowed(tmp_path, weightport):
    output = weightport("convert", TRANSLITERATOR, tmp_path / "model.pt", status=1)
    assert ATTENTION in output
    assert "AdditiveAttention" in output
    assert list(tmp_path.iterdir()) == []

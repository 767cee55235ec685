"""Pretrained models that others made and ship inside packages: converted, run in PyTorch, and equal to the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

KERAS = Path(__file__).parents[2] / "fixtures" / "keras"
TRANSLITERATOR = KERAS / "netra-transliterate" / "bi_gru_attention_khmer_transliterator.keras"


class AdditiveAttention(torch.nn.Module):
    """torch.nn has none: a module of one's own, with its scale under the name that Keras gives it."""

    def __init__(self, features):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.zeros(features))

    def forward(self, query, value):
        scores = (self.scale * torch.tanh(query[:, :, None] + value[:, None])).sum(-1)
        return scores.softmax(-1) @ value


class Transliterator(torch.nn.Module):
    """The model as a person would write it in PyTorch, its children named as the Keras layers are."""

    def __init__(self):
        super().__init__()
        self.embedding_8 = torch.nn.Embedding(28, 32)
        self.embedding_9 = torch.nn.Embedding(81, 32)
        self.bidirectional_3 = torch.nn.GRU(32, 64, batch_first=True, bidirectional=True)
        self.gru_7 = torch.nn.GRU(32, 64, batch_first=True)
        self.time_distributed_9 = torch.nn.Linear(128, 64)
        self.additive_attention_5 = AdditiveAttention(64)
        self.dense_13 = torch.nn.Linear(128, 81)

    def forward(self, source, target):
        encoded = self.time_distributed_9(self.bidirectional_3(self.embedding_8(source))[0])
        decoded = self.gru_7(self.embedding_9(target))[0]
        context = self.additive_attention_5(decoded, encoded)
        return self.dense_13(torch.cat([decoded, context], -1)).softmax(-1)


def test_a_transliterator_of_two_grus_and_attention(tmp_path, weightport):
    target = tmp_path / "model.safetensors"
    weightport("convert", TRANSLITERATOR, target)

    from safetensors.torch import load_file

    twin = Transliterator()
    twin.load_state_dict(load_file(target))
    generator = np.random.default_rng(2)
    source, partial = generator.integers(0, 28, (5, 11)), generator.integers(0, 81, (5, 7))
    with torch.no_grad():
        ours = twin(torch.from_numpy(source), torch.from_numpy(partial)).numpy()

    theirs = np.asarray(keras.saving.load_model(TRANSLITERATOR, compile=False)([source, partial], training=False))
    assert theirs.std() > 1e-3
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_a_module_without_the_attention_is_refused_by_name(tmp_path, weightport):
    twin = Transliterator()
    del twin.additive_attention_5
    torch.save(twin.state_dict(), tmp_path / "twin.pt")
    output = weightport("convert", TRANSLITERATOR, tmp_path / "m.pt", "--into", tmp_path / "twin.pt", status=1)
    assert "unused: layers/additive_attention/vars/0" in output
    assert not (tmp_path / "m.pt").exists()


OLD = {
    "fer": "emotion_model.hdf5",
    "mmsplice": "Donor.h5",
    "dgaintel": "domain_classifier_model.h5",  # Conv1D and LSTM
    "sentinews": "default_best.h5",  # three GRUs that reset before the product, with hard_sigmoid, over masked words
}


@pytest.fixture(params=OLD)
def old(request):
    """A pretrained model of Keras 2, and what tf_keras computes with it."""
    folder = KERAS / request.param
    recorded = np.load(folder / "recorded.npz")
    return folder / OLD[request.param], recorded["inputs"], recorded["outputs"]


def test_a_model_of_keras_2_runs_in_onnx_runtime(old, tmp_path, weightport):
    onnxruntime = pytest.importorskip("onnxruntime")
    path, inputs, outputs = old
    weightport("convert", path, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: inputs})
    np.testing.assert_allclose(found, outputs, rtol=1e-4, atol=1e-6)


def test_a_model_of_keras_2_runs_in_pytorch(old, tmp_path, weightport):
    path, inputs, outputs = old
    weightport("convert", path, tmp_path / "model.py")
    module = {"__name__": "model", "__file__": str(tmp_path / "model.py")}
    exec(compile((tmp_path / "model.py").read_text(), "model.py", "exec"), module)
    with torch.no_grad():
        found = module["load"]()(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(found, outputs, rtol=1e-4, atol=1e-6)


def test_a_model_of_keras_2_runs_in_keras_3(old, tmp_path, weightport):
    path, inputs, outputs = old
    weightport("convert", path, tmp_path / "model.keras")
    found = keras.saving.load_model(tmp_path / "model.keras", compile=False).predict(inputs, verbose=0)
    np.testing.assert_allclose(found, outputs, rtol=1e-4, atol=1e-6)

"""Real Flax and MLX models into PyTorch, where they compute what they computed there, and back byte for byte.

The files and outputs are those of ``record_models.py`` and ``record_twin.py`` in ``fixtures/flax``, and of
``fixtures/mlx/record_model.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import weightport as wp

FIXTURES = Path(__file__).parents[2] / "fixtures"
FLAX, MLX = FIXTURES / "flax", FIXTURES / "mlx"
KERAS = FIXTURES / "keras" / "keras-2.12" / "model.keras"


class Wrapped(nn.Module):
    """What Flax calls an RNN: it has its cell inside."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell


class Sequence(nn.Module):
    """The Flax model of record_models.py."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 5)
        self.lstm = Wrapped(nn.LSTM(5, 6, batch_first=True))
        self.norm = nn.LayerNorm(6, eps=1e-5)
        self.both = nn.GRU(6, 4, batch_first=True, bidirectional=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.lstm.cell(self.embed(tokens))[0])
        x = self.both(x)[0]
        return self.head(self.attention(x, x, x)[0])


class Image(nn.Module):
    """The other one, its channels first."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv_0 = nn.Conv2d(3, 4, (3, 2))
        self.BatchNorm_0 = nn.BatchNorm2d(4, eps=1e-3)
        self.Conv_1 = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.ConvTranspose_0 = nn.ConvTranspose2d(4, 4, (2, 3))
        self.GroupNorm_0 = nn.GroupNorm(2, 4, eps=1e-5)
        self.Dense_0 = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.BatchNorm_0(self.Conv_0(x.permute(0, 3, 1, 2)).relu())
        x = self.GroupNorm_0(self.ConvTranspose_0(self.Conv_1(x).relu()).relu())
        return self.Dense_0(x.mean((2, 3)))


class FromMlx(nn.Module):
    """The MLX model of record_model.py."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 5)
        self.conv = nn.Conv1d(5, 6, 3, padding=1)
        self.layers = nn.ModuleList([nn.LSTM(6, 4, batch_first=True), nn.GRU(4, 7, batch_first=True)])
        self.norm = nn.LayerNorm(7)
        self.head = nn.Linear(7, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.conv(self.embedding(tokens).mT).mT
        for layer in self.layers:
            x = layer(x)[0]
        return self.head(self.norm(x))


def output_of(module: nn.Module, weights: Path, x: np.ndarray) -> np.ndarray:
    state = safetensors.torch.load_file(weights)
    missing = module.load_state_dict(state, strict=False).missing_keys
    assert [name for name in missing if not name.endswith("num_batches_tracked")] == []
    with torch.no_grad():
        return module.eval()(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize(("name", "module"), [("sequence", Sequence), ("image", Image)])
def test_a_flax_model_computes_the_same_in_pytorch(name: str, module: type[nn.Module], tmp_path: Path) -> None:
    target = tmp_path / "model.safetensors"
    report = wp.convert(FLAX / f"{name}.msgpack", target)
    assert (report.source_framework, report.verdict) == ("flax", "exact")
    with np.load(FLAX / "recorded.npz") as recorded:
        found = output_of(module(), target, recorded[f"{name}/x"])
        assert np.abs(found - recorded[f"{name}/y"]).max() <= 1e-5 * np.abs(recorded[f"{name}/y"]).max()


def test_a_training_state_loses_its_optimizer_on_the_way_and_says_so(tmp_path: Path) -> None:
    report = wp.convert(FLAX / "image.msgpack", tmp_path / "model.safetensors")
    assert set(report.skipped.values()) == {"optimizer state"}


@pytest.mark.parametrize("name", ["sequence", "image"])
def test_it_comes_back_from_pytorch_byte_for_byte_as_flax_wrote_it(name: str, tmp_path: Path) -> None:
    """Into a template of other values; a training state keeps the template's optimizer and counter."""
    wp.convert(FLAX / f"{name}.msgpack", tmp_path / "model.safetensors")
    own = FLAX / f"{name}.msgpack"
    template = FLAX / "untrained.msgpack" if name == "sequence" else own
    kinds = tmp_path / "kinds.toml"
    kinds.write_text('[kinds]\n"ConvTranspose_0" = "conv_transpose"\n"Conv_*" = "conv"\n')
    options = {} if name == "sequence" else {"mapping": kinds}
    wp.convert(tmp_path / "model.safetensors", tmp_path / "back.msgpack", into=template, **options)
    if name == "sequence":
        assert (tmp_path / "back.msgpack").read_bytes() == own.read_bytes()
    else:
        ours, theirs = (wp.open(path).tensors for path in (tmp_path / "back.msgpack", own))
        assert list(ours) == list(theirs)
        assert all(ours[key].read().tobytes() == theirs[key].read().tobytes() for key in theirs)


def test_a_keras_model_becomes_the_variables_that_run_in_flax_and_goes_on_from_there(tmp_path: Path) -> None:
    """Without a template: the tree whose model gave Keras' output in Flax, written there by hand."""
    wp.convert(KERAS, tmp_path / "model.msgpack", to_framework="flax")
    ours, theirs = (wp.open(path).tensors for path in (tmp_path / "model.msgpack", FLAX / "twin.msgpack"))
    assert set(ours) == set(theirs)
    assert all(np.array_equal(ours[name].read(), theirs[name].read()) for name in theirs)
    wp.convert(tmp_path / "model.msgpack", tmp_path / "through.safetensors")
    assert wp.diff(KERAS, tmp_path / "through.safetensors").same
    wp.convert(KERAS, tmp_path / "straight.safetensors")
    through, straight = (
        safetensors.torch.load_file(tmp_path / f"{way}.safetensors") for way in ("through", "straight")
    )
    assert set(through) == set(straight)
    for name, tensor in straight.items():
        assert torch.equal(through[name], tensor) or "both_ways.bias" in name, name  # Flax sums two of three gates


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_an_mlx_model_computes_the_same_in_pytorch(suffix: str, tmp_path: Path) -> None:
    target = tmp_path / "model.safetensors"
    (tmp_path / "kinds.toml").write_text('[kinds]\n"conv" = "conv"\n')
    wp.convert(MLX / f"model.{suffix}", target, from_framework="mlx", mapping=tmp_path / "kinds.toml")
    with np.load(MLX / "recorded.npz") as recorded:
        found = output_of(FromMlx(), target, recorded["x"])
        assert np.abs(found - recorded["y"]).max() <= 1e-5 * np.abs(recorded["y"]).max()


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_it_comes_back_under_mlxs_names_bit_for_bit(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "kinds.toml").write_text('[kinds]\n"conv" = "conv"\n"norm" = "layer_norm"\n')
    options = {"mapping": tmp_path / "kinds.toml"}
    own = MLX / f"model.{suffix}"
    wp.convert(own, tmp_path / "model.pt", from_framework="mlx", **options)
    back = tmp_path / f"back.{suffix}"
    wp.convert(tmp_path / "model.pt", back, to_framework="mlx", **options)
    ours, theirs = (wp.open(path, "mlx").tensors for path in (back, own))
    assert set(ours) == set(theirs)
    assert all(ours[key].read().tobytes() == theirs[key].read().tobytes() for key in theirs)


def test_every_command_takes_the_framework_that_a_file_does_not_tell(tmp_path: Path, monkeypatch) -> None:
    from click.testing import CliRunner

    from weightport.cli import cli

    monkeypatch.chdir(tmp_path)
    for name in ("model.npz", "model.safetensors"):
        (tmp_path / name).write_bytes((MLX / name).read_bytes())
    lines = [
        "inspect model.npz --from mlx",
        "edit model.npz edited.npz --from mlx --set layers.0.bias[forget]=5.0",
        "edit model.safetensors edited.safetensors --from mlx --set layers.0.bias[forget]=5.0",
        "diff edited.npz edited.safetensors --from-a mlx --from-b mlx",
        "map model.npz model.safetensors --from mlx --to mlx",
        "verify model.npz model.safetensors --from-a mlx --from-b mlx",
    ]
    for line in lines:
        result = CliRunner().invoke(cli, line.split())
        assert result.exit_code == 0, f"{line}: {result.output}"
        plain = CliRunner().invoke(cli, [word for word in line.split() if word != "mlx" and not word.startswith("--f")])
        assert plain.exit_code != 0, line
    forget = np.load(tmp_path / "edited.npz")["layers.0.bias"].reshape(4, 4)[1]
    assert forget.tolist() == [5.0] * 4

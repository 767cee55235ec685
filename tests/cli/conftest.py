"""A command line in this process, on files that real writers made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

MODEL = Path(__file__).parents[2] / "fixtures" / "keras" / "netra-transliterate"


@dataclass(frozen=True)
class Result:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def weightport():
    """Runs one command line."""
    from weightport.cli import cli

    def run(*arguments):
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
        return Result(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def keras_file():
    """A real pretrained model."""
    return next(MODEL.glob("*.keras"))


@pytest.fixture
def torch_file(tmp_path):
    """An LSTM and a linear layer as a PyTorch state dict, every value another one."""
    generator = np.random.default_rng(5)
    shapes = {"weight_ih_l0": (24, 4), "weight_hh_l0": (24, 6), "bias_ih_l0": (24,), "bias_hh_l0": (24,)}
    tensors = {f"lstm.{name}": generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    tensors |= {"head.weight": generator.normal(size=(2, 6)).astype(np.float32), "head.bias": np.float32([0.5, -0.5])}
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"

"""``weightport verify`` on files: verdict, exit status, JSON."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

import weightport as wp

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

MODULE = """
import torch

class Twin(torch.nn.Module):
    epsilon = {epsilon}

    def __init__(self):
        super().__init__()
        self.rnn = torch.nn.LSTM(4, 6, batch_first=True)
        self.norm = torch.nn.BatchNorm1d(6, eps=self.epsilon)
        self.head = torch.nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.norm(self.rnn(x)[0][:, -1]))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The module's code, its weights and its ONNX graph; and the same code with another epsilon."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "right_twin.py").write_text(MODULE.format(epsilon=1e-5))
    (tmp_path / "wrong_twin.py").write_text(MODULE.format(epsilon=1e-2))
    names: dict[str, object] = {}
    exec(MODULE.format(epsilon=1e-5), names)
    torch.manual_seed(2)
    twin = names["Twin"]().eval()
    with torch.no_grad():
        twin.norm.running_var.uniform_(0.1, 0.3)
    torch.save(twin.state_dict(), tmp_path / "m.pt")
    axes = {"x": {0: "batch", 1: "time"}}
    torch.onnx.export(
        twin, (torch.zeros(3, 5, 4),), tmp_path / "m.onnx", input_names=["x"], dynamic_axes=axes, dynamo=False
    )
    yield tmp_path
    for name in ("right_twin", "wrong_twin"):
        sys.modules.pop(name, None)


def run(*arguments):
    """The command line in this process."""
    from weightport.cli import cli

    return CliRunner().invoke(cli, ["verify", *map(str, arguments)])


def test_two_files_that_agree_give_status_0(folder):
    result = run("m.onnx", "m.pt", "--model", "right_twin:Twin")
    assert result.exit_code == 0, result.output
    assert "compute the same" in result.output


def test_two_files_that_differ_give_status_1_and_name_the_layer(folder):
    result = run("m.onnx", "m.pt", "--model", "wrong_twin:Twin")
    assert result.exit_code == 1
    assert "first layer that diverges is norm" in result.output


def test_json_is_one_document_with_every_number(folder):
    result = run("m.onnx", "m.pt", "--model", "wrong_twin:Twin", "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert document["passed"] is False
    assert document["first"] == "norm"
    assert {"maximum", "mean", "relative", "ulps", "cosine", "place", "tolerance"} <= set(
        document["outputs"][0]["difference"]
    )


def test_given_inputs_are_those_that_are_run(folder):
    import numpy as np

    np.savez(folder / "batch.npz", x=np.zeros((4, 9, 4), np.float32))
    result = run("m.onnx", "m.pt", "--model", "right_twin:Twin", "--inputs", "batch.npz", "--json")
    document = json.loads(result.stdout)
    assert document["cases"] == ["batch.npz"]
    assert document["outputs"][0]["difference"]["shape"] == [4, 3]


@pytest.mark.parametrize("factory", ["right_twin", "right_twin:Nobody", "no_such_module:Twin"])
def test_a_factory_that_is_not_there_is_wrong_usage(folder, factory):
    result = run("m.onnx", "m.pt", "--model", factory)
    assert result.exit_code == 2
    assert factory.partition(":")[0] in result.stderr


def test_the_library_and_the_command_say_the_same(folder):
    from weightport.parity.factories import model_with_weights

    module = model_with_weights("right_twin:Twin", folder / "m.pt")
    document = json.loads(run("m.onnx", "m.pt", "--model", "right_twin:Twin", "--json").stdout)
    assert document["passed"] is wp.verify("m.onnx", module).passed is True

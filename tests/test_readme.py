"""The README is true: every console line and every block of Python in it runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from live_cases import randomise

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

OLD = Path(__file__).parents[1] / "fixtures" / "keras" / "keras-2.12" / "model.h5"
README = (Path(__file__).parents[1] / "README.md").read_text()
NOT_HERE = ("make ", "cat ", "pip ")


def blocks(language):
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def model(seed):
    built = keras.Sequential(
        [keras.Input((None, 4)), keras.layers.LSTM(6, name="lstm"), keras.layers.Dense(3, name="dense")]
    )
    randomise(built.weights, seed)
    return built


class Twin(torch.nn.Module):
    """The same model by hand, under the Keras names."""

    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(4, 6, batch_first=True)
        self.dense = torch.nn.Linear(6, 3)

    def forward(self, x):
        return self.dense(self.lstm(x)[0][:, -1])


class Renamed(torch.nn.Module):
    """The same model by hand, under other names."""

    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.ModuleDict({"rnn": torch.nn.LSTM(4, 6, batch_first=True)})
        self.head = torch.nn.Linear(6, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with every file that the README names."""
    folder = tmp_path_factory.mktemp("readme")
    model(1).save(folder / "model.keras")
    model(1).save(folder / "model.h5")
    (folder / "old.h5").write_bytes(OLD.read_bytes())
    model(2).save(folder / "untrained.keras")
    torch.save(Twin().state_dict(), folder / "model.pt")
    torch.save(Renamed().state_dict(), folder / "renamed-twin.pt")
    for name in ("model.onnx", "untrained.onnx"):
        torch.onnx.export(Twin().eval(), (torch.zeros(3, 5, 4),), folder / name, dynamo=False)
    names = re.search(r"\$ cat names.toml\n(.*?)\n\$", README, re.DOTALL)[1]
    (folder / "names.toml").write_text(names)
    return folder


def test_every_console_line_runs(folder, monkeypatch):
    from weightport.cli import cli

    monkeypatch.chdir(folder)
    commands = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    run = [shlex.split(command, comments=True) for command in commands if not command.startswith(NOT_HERE)]
    assert len(run) >= 12
    for program, *arguments in run:
        assert program == "weightport"
        if (folder / arguments[-1]).exists() and arguments[0] == "convert" and len(arguments) == 3:
            (folder / arguments[-1]).unlink()
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 0, f"{arguments}: {result.output}"
    state = torch.load(folder / "renamed.pt", weights_only=True)
    assert {"encoder.rnn.weight_ih_l0", "head.weight"} <= set(state)


def test_every_block_of_python_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    lstm = model(1).layers[0].cell
    given = {
        "keras_model": model(4),
        "torch_module": Twin().eval(),
        "kernel": np.asarray(lstm.kernel),
        "recurrent_kernel": np.asarray(lstm.recurrent_kernel),
        "bias": np.asarray(lstm.bias),
    }
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), given)
    assert "exact" in capsys.readouterr().out
    inputs = np.random.default_rng(3).normal(size=(3, 5, 4)).astype("float32")
    with torch.no_grad():
        ours = given["torch_module"](torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(ours, np.asarray(given["keras_model"](inputs)), rtol=0, atol=1e-5)


def test_every_link_into_the_project_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (Path(__file__).parents[1] / link).exists()] == []

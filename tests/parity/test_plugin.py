"""The pytest plugin, run by pytest as a user's project would."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
SUITE = """
import sys

import pytest


def test_no_framework_is_there_before_it_is_used():
    assert not {"torch", "keras", "tensorflow", "onnxruntime"} & set(sys.modules)


class Models:
    def __init__(self, bias):
        import torch

        torch.manual_seed(1)
        self.one, self.other = (torch.nn.Sequential(torch.nn.Linear(4, 3)).eval() for _ in range(2))
        self.other.load_state_dict(self.one.state_dict())
        with torch.no_grad():
            self.other[0].bias += bias


@pytest.mark.parity(seeds=[0, 7], lengths=[3, 20, 50])
def test_right(parity):
    models = Models(0)
    assert parity(models.one, models.other).passed


def test_wrong(parity):
    models = Models(0.5)
    parity(models.one, models.other)


def test_imported():
    from weightport.parity import assert_parity

    models = Models(0)
    assert assert_parity(models.one, models.other)
"""
MISUSED = """
import pytest

@pytest.mark.parity(seed=3)
def test_misused(parity):
    pass
"""


def run(folder, *arguments):
    """pytest in a process of its own, with the plugin whether it is installed or not."""
    installed = {entry.value for entry in importlib.metadata.entry_points(group="pytest11")}
    plugin = [] if "weightport.parity.plugin" in installed else ["-p", "weightport.parity.plugin"]
    command = [sys.executable, "-m", "pytest", "--strict-markers", "-p", "no:cacheprovider", *plugin, *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What pytest prints for the suite."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "test_parity.py").write_text(SUITE)
    return run(folder, "-v")


def test_it_is_an_entry_point_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"weightport": "weightport.parity.plugin"}


def test_a_marked_test_runs_for_every_seed_and_length(shown):
    names = re.findall(r"test_right\[(\S+)\] PASSED", shown)
    assert names == [f"seed{seed}-length{length}" for seed in (0, 7) for length in (3, 20, 50)], shown


def test_nothing_is_imported_until_it_is_used(shown):
    assert "test_no_framework_is_there_before_it_is_used PASSED" in shown, shown


def test_a_failure_shows_the_table_and_the_cause(shown):
    assert "test_wrong FAILED" in shown
    assert "A and B DIFFER, by their weights, layers and model; the first layer that diverges is 0" in shown
    assert re.search(r"0 +dense +differing", shown), shown
    assert re.search(r"1\. 0: .*bias", shown), shown


def test_a_mark_that_is_misspelt_is_an_error(tmp_path):
    (tmp_path / "test_parity.py").write_text(MISUSED)
    assert "parity takes seeds=[...] and lengths=[...] only" in run(tmp_path)

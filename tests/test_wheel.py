"""What users install is what the repository holds: the wheel's files, and the command line that runs from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = "import sys, hatchling.build as b; print(b.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([sys.executable, "-c", BUILD, folder], cwd=ROOT, capture_output=True, text=True, check=True)
    return folder / done.stdout.split()[-1]


def tracked(folder):
    """The files under a folder that git lists."""
    listed = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(listed.stdout.split())


def test_the_wheel_holds_exactly_the_package_and_the_layouts_that_git_lists(wheel):
    package = {name.removeprefix("converters/") for name in tracked("converters")}
    layouts = {f"weightport/{name}" for name in tracked("layouts")}
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == package | layouts


def test_an_installed_wheel_finds_its_layouts_far_from_the_repository(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    run = [sys.executable, "-m", "weightport", "layouts", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    frameworks = {layout["framework"] for layout in json.loads(done.stdout)["layouts"]}
    assert frameworks == {Path(name).stem for name in tracked("layouts")} - {"kinds"}

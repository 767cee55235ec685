"""Converting stays light: no deep-learning framework is loaded by the library or by the command line."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HEAVY = ("tensorflow", "torch", "keras", "jax", "onnxruntime")
TRANSLATE = """
import numpy as np
import weightport as wp
wp.translate({"kernel": np.ones((3, 20)), "recurrent_kernel": np.ones((5, 20))}, "keras.lstm", "torch.lstm")
"""


def heavy_imports(code: str) -> list[str]:
    """The frameworks that are loaded once the code has run, in a process of its own."""
    report = f"\nimport sys\nprint('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    return line.split()[1:]


def through_the_command_line(*arguments: str) -> str:
    """Code that does what ``python -m weightport ARGUMENTS`` does, and goes on afterwards."""
    return (
        f"import runpy, sys\nsys.argv = ['weightport', *{arguments!r}]\n"
        "try:\n    runpy.run_module('weightport', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
    )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small PyTorch checkpoint, written by PyTorch."""
    import torch

    path = tmp_path_factory.mktemp("light") / "model.pt"
    torch.save(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).state_dict(), path)
    return path


def test_the_library_loads_no_framework() -> None:
    assert heavy_imports("import weightport") == []
    assert heavy_imports(TRANSLATE) == []


@pytest.mark.skipif(find_spec("weightport.__main__") is None, reason="there is no command line yet")
def test_the_command_line_loads_no_framework(checkpoint: Path) -> None:
    target = str(checkpoint.with_name("converted.safetensors"))
    for arguments in (("--help",), ("inspect", str(checkpoint)), ("convert", str(checkpoint), target)):
        assert heavy_imports(through_the_command_line(*arguments)) == [], arguments
    assert Path(target).stat().st_size > 0


def test_opening_and_converting_loads_no_framework(checkpoint: Path) -> None:
    target = str(checkpoint.with_name("copied.safetensors"))
    code = (
        f"import weightport as wp\nwp.open({str(checkpoint)!r}).layers\nwp.convert({str(checkpoint)!r}, {target!r})\n"
    )
    assert heavy_imports(code) == []


@pytest.mark.parametrize("framework", ["torch", "onnxruntime"])
def test_these_tests_can_fail(framework: str) -> None:
    """A process that does load a framework is found out."""
    assert framework in heavy_imports(f"{TRANSLATE}\nimport {framework}")

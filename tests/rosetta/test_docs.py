"""The pages of layouts and of layers are what the layout files say."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from weightport.frameworks._onnx_layers import _READERS, KIND_OF_OPERATOR
from weightport.kinds import all_kinds

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("generator", ["generate.py", "generate_layers.py"])
def test_no_page_is_stale(generator, tmp_path):
    runpy.run_path(str(DOCS / generator))["generate"](tmp_path)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    kept = {name: (DOCS / name).read_text() if (DOCS / name).exists() else None for name in made}
    stale = [name for name in made if made[name] != kept[name]]
    assert not stale, f"run `make docs`: {', '.join(stale)}"


def test_the_page_of_layers_has_every_operator_that_is_read():
    assert set(KIND_OF_OPERATOR) == {*_READERS, "Attention"}  # which is found together with the dense layers around it
    assert set(KIND_OF_OPERATOR.values()) <= set(all_kinds())


def test_the_page_of_layers_has_every_kind_and_every_parameter():
    page = (DOCS / "layers.md").read_text()
    for kind in all_kinds().values():
        assert f"`{kind.name}`" in page
        assert all(f"`{role}`" in page for role in kind.roles)

"""The page of layouts is what the layout files say."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_rosetta_page_is_not_stale(tmp_path):
    runpy.run_path(str(DOCS / "generate.py"))["generate"](tmp_path)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    kept = {name: (DOCS / name).read_text() if (DOCS / name).exists() else None for name in made}
    stale = [name for name in made if made[name] != kept[name]]
    assert not stale, f"run `make docs`: {', '.join(stale)}"

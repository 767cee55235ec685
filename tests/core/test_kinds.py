"""Kinds are read from a table, and every mistake in it is one line naming file, table and key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from weightport import LayoutError
from weightport.kinds import all_kinds, load_kinds

KIND = """
[toy]
labels  = { layer = "counted", side = ["input", "recurrent"], gate = ["open", "close"] }
equal   = { hidden = "unit" }
stacked = { in = ["hidden"] }
[toy.roles]
weight = { axes = ["layer", "gate", "unit", "in"] }
state  = { axes = ["gate", "hidden"], optional = true, frees = "hidden", only = { gate = ["close"] } }
count  = { axes = [], absent = 0, incidental = true }
[toy.roles.bias]
axes   = ["side", "gate", "unit"]
absent = 0
sums   = "side"
apart  = { gate = ["open"], when = { reset = "after" } }
[toy.settings]
reset = "after"
"""


def test_a_kind_is_what_its_table_says(tmp_path: Path) -> None:
    (tmp_path / "kinds.toml").write_text(KIND)
    kind = load_kinds(tmp_path / "kinds.toml")["toy"]
    assert kind.counted == {"layer"}
    assert dict(kind.labels) == {"side": ("input", "recurrent"), "gate": ("open", "close")}
    assert kind.labelled_axes("weight") == ("layer", "gate")
    assert kind.is_labelled("layer")
    assert not kind.is_labelled("unit")
    assert kind.labels_of("state", "gate") == ("close",)
    assert kind.labels_of("weight", "gate") == ("open", "close")
    assert {name: role.needed for name, role in kind.roles.items()} == {
        "weight": True,
        "state": False,
        "bias": False,
        "count": False,
    }
    apart = kind.roles["bias"].apart
    assert apart is not None
    assert (apart.axis, apart.labels, dict(apart.when)) == ("gate", {"open"}, {"reset": "after"})


def test_a_kind_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        all_kinds()["lstm"].roles["input_weight"] = all_kinds()["lstm"].roles["bias"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        all_kinds()["lstm"].name = "gru"  # type: ignore[misc]


def test_the_shipped_kinds() -> None:
    assert {"lstm", "gru", "rnn", "dense", "conv", "batch_norm", "layer_norm", "embedding"} <= set(all_kinds())
    assert all_kinds()["gru"].roles["bias"].apart is not None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'side = ["input", "recurrent"]',
            'side = "input"',
            "[toy] labels side: must be a list of names, found 'input'",
        ),
        ('gate = ["open", "close"] }', 'gate = ["open", "open"] }', "[toy] labels gate: 'open' stands twice"),
        ('equal   = { hidden = "unit" }', 'equal = { hiden = "unit" }', "[toy] equal: 'hiden' is no sized axis"),
        ('equal   = { hidden = "unit" }', "equal = { hidden = 3 }", "[toy] equal hidden: must be a text, found 3"),
        ('equal   = { hidden = "unit" }', 'equal = { gate = "unit" }', "[toy] equal: 'gate' is no sized axis"),
        ('stacked = { in = ["hidden"] }', 'stacked = { out = ["hidden"] }', "[toy] stacked: 'out' is no sized axis"),
        ('stacked = { in = ["hidden"] }', 'stacked = { in = ["hiden"] }', "[toy] stacked: 'in' is made of 'hiden'"),
        ('"unit", "in"] }', '"unit", "unit"] }', "[toy] roles weight axes: 'unit' stands twice"),
        ('sums   = "side"', 'sums = "unit"', "[toy] roles bias sums: 'unit' is no labelled axis of this role"),
        ('sums   = "side"', 'sum = "side"', "[toy] roles bias: unknown key 'sum'; known are absent"),
        ("absent = 0\nsums", 'absent = "none"\nsums', "[toy] roles bias absent: must be a number, found 'none'"),
        ('gate = ["open"], when', 'unit = ["open"], when', "[toy] roles bias apart"),
        ('gate = ["open"], when', 'gate = ["shut"], when', "[toy] roles bias apart gate: no label 'shut'"),
        ('only = { gate = ["close"] }', 'only = { gate = ["shut"] }', "[toy] roles state only gate: no label 'shut'"),
        ('only = { gate = ["close"] }', 'only = { unit = ["close"] }', "[toy] roles state only: unknown key 'unit'"),
        ('frees = "hidden"', 'frees = "gate"', "[toy] frees: 'gate' is no sized axis"),
        ("[toy.settings]", "[toy.setting]", "[toy]: unknown key 'setting'; known are broadcast, equal, flattened"),
        ("count  = { axes = [], absent = 0, incidental = true }", "count = 3", "[toy] roles count: must be a table"),
        ("[toy]", "[toy", "Expected"),
    ],
)
def test_a_mistake_is_one_line_naming_file_table_and_key(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in KIND
    (tmp_path / "kinds.toml").write_text(KIND.replace(old, new))
    with pytest.raises(LayoutError, match=re.escape(message)) as caught:
        load_kinds(tmp_path / "kinds.toml")
    assert str(caught.value).startswith("kinds.toml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[toy]\n", "kinds.toml [toy] roles: a kind needs at least one role"),
        ("toy = 3\n", "kinds.toml [toy]: must be a table, found 3"),
    ],
)
def test_no_kind_at_all(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "kinds.toml").write_text(text)
    with pytest.raises(LayoutError, match=re.escape(message)):
        load_kinds(tmp_path / "kinds.toml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"gone\.toml"):
        load_kinds(tmp_path / "gone.toml")

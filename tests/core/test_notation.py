"""The axes notation: text to values and offsets, with NumPy's own reshape and transpose as the judge."""

from __future__ import annotations

import re
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightport import LayoutError
from weightport.notation import Axes, expand, locate, parse_axes, spatial_count


@pytest.mark.parametrize(
    ("text", "parts", "along"),
    [
        ("", ((),), 0),
        ("unit", ((("unit",),),), 0),
        ("in (gate unit)", ((("in",), ("gate", "unit")),), 0),
        ("  in  ( gate unit ) ", ((("in",), ("gate", "unit")),), 0),
        ("direction (side gate unit)", ((("direction",), ("side", "gate", "unit")),), 0),
        ("1 in 1", (((), ("in",), ()),), 0),
        ("() in", (((), ("in",)),), 0),
        ("(1 unit)", ((("unit",),),), 0),
        ("((gate unit) in)", ((("gate", "unit", "in"),),), 0),
        ("... in out", ((("...",), ("in",), ("out",)),), 0),
        ("(in + hidden) (gate unit)", ((("in",), ("gate", "unit")), (("hidden",), ("gate", "unit"))), 0),
        ("unit (in + (gate hidden))", ((("unit",), ("in",)), (("unit",), ("gate", "hidden"))), 1),
        ("(in + hidden + cell)", ((("in",),), (("hidden",),), (("cell",),)), 0),
        ("in out out", ((("in",), ("out/0",), ("out/1",)),), 0),
        ("... (in out) out", ((("...",), ("in", "out/0"), ("out/1",)),), 0),
        ("out 1...", ((("out",), ("1...",)),), 0),
        ("out out out in in", ((("out/0",), ("out/1",), ("out/2",), ("in/0",), ("in/1",)),), 0),
    ],
)
def test_text_to_dimensions(text: str, parts: object, along: int) -> None:
    assert parse_axes(text) == Axes(parts, along)


@pytest.mark.parametrize(
    ("text", "plain", "turned"),
    [
        ("-... in out", "... in out", ("...",)),
        ("(in -unit) - hidden", "(in unit) hidden", ("unit", "hidden")),
    ],
)
def test_a_minus_says_that_an_axis_is_stored_from_its_end(text: str, plain: str, turned: tuple[str, ...]) -> None:
    if "- " in text:
        with pytest.raises(LayoutError, match="cannot read '- hidden'"):
            parse_axes(text)
        text = text.replace("- ", "-")
    assert parse_axes(text) == Axes(parse_axes(plain).parts, turned=turned)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("in (gate unit", "a bracket is not closed"),
        ("in) unit", "unexpected ')'"),
        ("in + unit", "unexpected '+'"),
        ("in (gate unit) in", "in stands twice"),
        ("(unit unit)", "unit stands twice"),
        ("unit in unit unit", "unit stands twice"),
        ("unit 1 unit", "unit stands twice"),
        ("(unit unit) unit", "unit stands twice"),
        ("unit (in unit)", "unit stands twice"),
        ("(in 1...)", "'1...' must be a dimension of its own"),
        ("... 1... in", "more than one dimension stands for any number of axes"),
        ("(in + )", "nothing stands on one side of '+'"),
        ("(in + hidden) (gate + unit)", "more than one concatenation"),
        ("((in + hidden) unit)", "a concatenation must be a dimension of its own"),
        ("in, unit", "cannot read ', unit'"),
        ("in 2", "cannot read '2'"),
        ("in [unit]", "cannot read '[unit]'"),
    ],
)
def test_a_mistake_is_told_with_the_text_and_the_place(text: str, problem: str) -> None:
    with pytest.raises(LayoutError, match=re.escape(f"axes {text!r}: {problem}")) as caught:
        parse_axes(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "rank", "count"),
    [
        ("... in out", 4, 2),
        ("... in out", 2, 0),
        ("... in out", 1, None),
        ("out in", 2, 0),
        ("out in", 3, None),
        ("...", 0, 0),
        ("out 1...", 3, 2),
        ("out 1...", 1, 0),
        ("out 1...", 0, None),
    ],
)
def test_how_many_axes_the_dots_stand_for(text: str, rank: int, count: int | None) -> None:
    assert spatial_count(parse_axes(text).parts[0], rank) == count


def test_dots_become_numbered_axes() -> None:
    assert expand(parse_axes("... in out").parts[0], 2) == (("...0",), ("...1",), ("in",), ("out",))
    assert expand(parse_axes("out in").parts[0], 2) == (("out",), ("in",))
    assert expand(parse_axes("out 1... in").parts[0], 2) == (("out",), (), (), ("in",))


@st.composite
def grouped_axes(draw: st.DrawFn) -> tuple[str, dict[str, int], dict[str, int]]:
    """Random axes with sizes, put into random groups, and places on some of them."""
    names = draw(st.permutations(["a", "b", "c", "d", "e"]))[: draw(st.integers(1, 5))]
    sizes = {name: draw(st.integers(1, 4)) for name in names}
    words, rest = [], list(names)
    while rest:
        length = draw(st.integers(1, len(rest)))
        group, rest = rest[:length], rest[length:]
        words.append(group[0] if length == 1 and draw(st.booleans()) else f"({' '.join(group)})")
        if draw(st.booleans()):
            words.append("1")
    placed = [name for name in names if draw(st.booleans())]
    return " ".join(words), sizes, {name: draw(st.integers(0, sizes[name] - 1)) for name in placed}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(grouped_axes())
def test_a_block_is_where_numpy_finds_it(case: tuple[str, dict[str, int], dict[str, int]]) -> None:
    text, sizes, places = case
    names = re.findall("[a-e]", text)
    stored = np.arange(prod(sizes.values()))  # row-major over the axes as they stand in the text
    expected = stored.reshape([sizes[name] for name in names])[tuple(places.get(name, slice(None)) for name in names)]
    block = locate(parse_axes(text).parts[0], sizes, places)
    assert block.names == tuple(name for name in names if name not in places)
    strides = [stride for _, _, stride in block.axes]
    found = [block.offset + int(np.dot(index, strides)) for index in np.ndindex(expected.shape)]
    assert found == expected.reshape(-1).tolist()
    assert block.size == expected.size


def test_an_axis_spread_over_dimensions_is_one_axis_of_the_block() -> None:
    """As NumPy's reshape makes one axis of those that follow one another."""
    stored = np.arange(2 * 3 * 4 * 5)
    block = locate(parse_axes("a (b c) c").parts[0], {"a": 2, "b": 3, "c/0": 4, "c/1": 5}, {"b": 1})
    assert block.names == ("a", "c")
    found = [[block.offset + i * block.axes[0][2] + j * block.axes[1][2] for j in range(20)] for i in range(2)]
    np.testing.assert_array_equal(found, stored.reshape(2, 3, 20)[:, 1])


def test_a_part_begins_where_it_is_said_to() -> None:
    """Rows of ``hidden`` below three rows of ``in``: what NumPy's concatenation does."""
    dimensions = parse_axes("(in + hidden) (gate unit)").parts[1]
    block = locate(dimensions, {"hidden": 2, "gate": 4, "unit": 5}, {"gate": 1}, strides=[20, 1], offset=3 * 20)
    assert (block.offset, block.axes) == (60 + 5, (("hidden", 2, 20), ("unit", 5, 1)))

"""Sizes for a layer of any kind in any layout, another one for every axis that may differ."""

from __future__ import annotations

from collections.abc import Mapping

from weightport.layouts import Layout
from weightport.notation import is_one_of

SIZES: Mapping[str, int] = {
    **{"in": 3, "unit": 5, "hidden": 5, "cell": 5, "...0": 2, "...state0": 2},
    **{"out": 4, "channel": 3, "token": 7, "feature": 2, "first": 3, "second": 5, "group": 3},
    **{"head": 3, "repeat": 1, "key": 4, "value": 4, "query_in": 12, "key_in": 5, "value_in": 6, "output": 12},
}


def fitting(layout: Layout, sizes: Mapping[str, int] = SIZES) -> dict[str, int]:
    """The sizes as a layer of the layout can have them: 1 where it has no other, none along what is broadcast."""
    single = {axis: 1 for axis, factors in layout.equal.items() if not factors}
    return {axis: size for axis, size in {**sizes, **single}.items() if not is_one_of(axis, layout.kind.broadcast)}

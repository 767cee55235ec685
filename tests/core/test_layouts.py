"""Layout files: the shipped ones, what each mistake in one is answered with, and a framework added by a file alone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import weightport as wp
from weightport import LayoutError, UsageError
from weightport import layouts as layouts_module
from weightport.kinds import all_kinds, layouts_folder
from weightport.layouts import all_layouts, layout_named, layouts_of


def changed(table: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The table with one entry set, or taken out where ``value`` is None."""
    inner: Any = table
    for key in path[:-1]:
        inner = inner[key]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return table


KERNEL = ("lstm", "tensors", "{direction}kernel")
KERNEL_TEXT = "[lstm] tensors '{direction}kernel'"
BIAS = ("gru", "tensors", "{direction}bias")
SAME_TWICE = [{"role": "bias", "axes": "side (gate unit)"}, {"role": "bias", "axes": "(side gate unit)"}]
WITH_PART = [{"role": "bias", "side": "inner", "axes": "(gate unit)"}]

MISTAKES = [
    ((*KERNEL, "role"), "kernel", f"{KERNEL_TEXT} role: lstm has no role 'kernel'; it has input_weight"),
    ((*KERNEL, "role"), None, f"{KERNEL_TEXT} role: is missing"),
    ((*KERNEL, "role"), ["input_weight", "bias"], f"{KERNEL_TEXT} axes: 1 parts for 2 roles"),
    ((*KERNEL, "rolle"), "input_weight", f"{KERNEL_TEXT}: unknown key 'rolle'; known are"),
    ((*KERNEL, "axes"), None, f"{KERNEL_TEXT} axes: must be a text, found None"),
    ((*KERNEL, "axes"), "in (gate units)", f"{KERNEL_TEXT} axes: input_weight has no axis 'units'; it has layer"),
    ((*KERNEL, "axes"), "in (side gate unit)", f"{KERNEL_TEXT} axes: input_weight has no axis 'side'"),
    ((*KERNEL, "axes"), "(gate unit)", f"{KERNEL_TEXT} axes: input_weight needs the axis 'in'"),
    ((*KERNEL, "axes"), "in unit", f"{KERNEL_TEXT} axes: input_weight needs the axis 'gate'"),
    ((*KERNEL, "axes"), "direction in (gate unit)", f"{KERNEL_TEXT} axes: 'direction' is given twice"),
    ((*KERNEL, "axes"), "in (gate unit", f"{KERNEL_TEXT}: axes 'in (gate unit': a bracket is not closed"),
    ((*KERNEL, "axes"), "in (-gate unit)", f"{KERNEL_TEXT} axes: 'gate' has labels, whose order is given"),
    ((*KERNEL, "axes"), "in (gate unit unit)", f"{KERNEL_TEXT}: axes 'in (gate unit unit)': unit stands twice"),
    ((*KERNEL, "gate"), "input", f"{KERNEL_TEXT} axes: 'gate' is given twice"),
    ((*KERNEL, "gate"), "cell", f"{KERNEL_TEXT} gate: no label 'cell'; lstm has input, forget"),
    ((*KERNEL, "gate"), ["input", "cell"], f"{KERNEL_TEXT} gate: no label 'cell'"),
    ((*KERNEL, "layer"), "first", f"{KERNEL_TEXT} layer: must be a number, or a first one as in '1..'"),
    ((*KERNEL, "memory"), "unit", f"{KERNEL_TEXT} memory: must have the axes in, unit, found 'unit'"),
    ((*KERNEL, "when"), {"resett": "after"}, "'{direction}kernel' depends on 'resett', which is no setting"),
    ((*KERNEL, "when"), {"reset": ["after"]}, f"{KERNEL_TEXT} when: 'reset' must be one value, found ['after']"),
    (("lstm", "tensors", "{direktion}kernel"), {"role": "bias", "axes": "(gate unit)"}, "'direktion'"),
    (("lstm", "gate"), ["input", "input", "candidate", "output"], "[lstm] gate: 'input' stands twice"),
    (("lstm", "gate"), ["input", "forget", "candidate"], "[lstm] gate: 'output' is missing"),
    (("lstm", "gate"), ["input", "forget", "cell", "output"], "[lstm] gate: no label 'cell'; lstm has input, forget"),
    (("lstm", "gate"), 4, "[lstm] gate: must be a list of names, found 4"),
    (("lstm", "gate"), {"input": "i"}, "[lstm] gate: has spellings, but no tensor's name has this axis"),
    (("rnn", "side"), ["input", "recurrent"], "[rnn] side: has an order, but no tensor has this axis inside"),
    (("lstm", "layer"), ["0"], "[lstm] layer: is counted and has no order"),
    (("lstm", "direction"), {"forward": "", "backward": ""}, "[lstm] direction: two labels are spelled alike"),
    (("lstm", "direction"), {"up": ""}, "[lstm] direction: no label 'up'; lstm has forward, backward"),
    (("lstm", "direction"), {"forward": 1}, "[lstm] direction: the spelling of 'forward' must be a text, found 1"),
    (("lstm", "gates"), ["input"], "[lstm]: unknown key 'gates'; known are"),
    (("dense", "gate"), ["input"], "[dense]: unknown key 'gate'"),
    (("lstm", "tensors"), {}, "[lstm] tensors: a layout needs at least one tensor"),
    (("lstm", "tensors"), None, "[lstm] tensors: a layout needs at least one tensor"),
    (("lstm", "settings"), {"reset": ["after"]}, "[lstm] settings: unknown key 'reset'; known are activation"),
    (("lstm", "settings"), {"activation": "tanh"}, "[lstm] settings: 'activation' must be a list of values"),
    (("lstm", "settings"), {"activation": []}, "[lstm] settings: 'activation' must be a list of values"),
    (("lstm", "adds"), {"biases": {"forget": 1}}, "[lstm] adds: unknown key 'biases'; known are bias"),
    (("lstm", "adds"), {"bias": {"reset": 1}}, "[lstm] adds bias: unknown key 'reset'; known are candidate"),
    (("lstm", "adds"), {"bias": {"forget": "1"}}, "[lstm] adds bias: 'forget' must be a number, found '1'"),
    (("lstm", "negates"), ["update"], "[lstm] negates: no label 'update'; lstm has input, forget"),
    (("lstm", "kind"), "lstn", "[lstm]: no such kind 'lstn'; known are lstm, gru"),
    (("lstn",), {"tensors": {}}, "[lstn]: no such kind 'lstn'"),
    (("lstm",), 3, "[lstm]: must be a table, found 3"),
    (("lstm", "verified"), "believed", "[lstm] verified: must be recorded or source, found 'believed'"),
    (("title",), 3, "title: must be a text, found 3"),
    (("names",), {"separators": "/"}, "names: unknown key 'separators'; known are collection, separator, skipped"),
    (("names",), {"separator": 3}, "names separator: must be a text, found 3"),
    (("names",), {"skipped": {"step": 1}}, "names skipped step: must be a text, found 1"),
    (("dense", "modules"), "Dense", "[dense] modules: must be a list of names, found 'Dense'"),
    ((*KERNEL, "collection"), 3, f"{KERNEL_TEXT} collection: must be a text, found 3"),
    (BIAS, SAME_TWICE, "[gru] tensors: '{direction}bias' stands twice under the same condition"),
    (BIAS, WITH_PART, "[gru] tensors '{direction}bias' side: no label 'inner'; gru has input, recurrent"),
    (BIAS, {"parts": []}, "[gru] tensors '{direction}bias' parts: must be a list of tables, found []"),
]


@pytest.mark.parametrize(("path", "value", "message"), MISTAKES, ids=[message for _, _, message in MISTAKES])
def test_a_mistake_is_one_line_naming_file_table_and_key(
    path: tuple[str, ...], value: Any, message: str, layouts_from: Any, shipped_table: Any
) -> None:
    with pytest.raises(LayoutError, match=re.escape(message)) as caught:
        layouts_from(changed(shipped_table("keras"), path, value), "keras.toml")
    assert str(caught.value).startswith("keras.toml")
    assert "\n" not in str(caught.value)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every entry of a nested table."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield (*path, key)
        yield from places(inner, (*path, key))


def one_kind(table: dict[str, Any], name: str) -> dict[str, Any]:
    """A file with its head and the table of one kind."""
    return {key: value for key, value in table.items() if key == name or not isinstance(value, dict)}


def test_nothing_that_stands_anywhere_in_a_file_is_more_than_a_mistake(layouts_from: Any, shipped_table: Any) -> None:
    """Whatever a value is exchanged for, the file is read or answered with one line."""
    mistakes = 0
    shipped = shipped_table("keras")
    for name in (key for key, value in shipped.items() if isinstance(value, dict)):
        table = one_kind(shipped, name)
        for path, value in product(list(places(table)), [3, "x", "1..", [], ["x"], [{}], {}, {"x": [3]}]):
            try:
                layouts_from(changed(deepcopy(table), path, value), "keras.toml")
            except LayoutError as error:
                mistakes += 1
                assert "\n" not in str(error)
    assert mistakes > 500


def test_a_file_that_is_no_toml_is_told_with_the_place(layouts_from: Any) -> None:
    with pytest.raises(LayoutError, match=r"^made_up\.toml: .*line 3"):
        layouts_from('[lstm]\ngate = ["input"\n[gru]\n')


def test_a_copy_of_a_shipped_file_without_a_mistake_is_the_same(layouts_from: Any, shipped_table: Any) -> None:
    """So every error above is about the change, not about the copy."""
    for framework in ("keras", "torch", "onnx"):
        copied = layouts_from(shipped_table(framework), f"{framework}.toml")
        assert copied == {name: layout for name, layout in all_layouts().items() if layout.framework == framework}


@pytest.mark.parametrize("framework", ["keras", "torch", "onnx"])
def test_the_three_frameworks_have_every_kind_of_the_main_job(framework: str) -> None:
    kinds = {layout.kind.name for layout in all_layouts().values() if layout.framework == framework}
    assert kinds >= {"lstm", "gru", "rnn", "dense", "conv", "batch_norm", "layer_norm", "embedding"}


def test_every_layout_has_a_kind_and_is_known_by_its_name() -> None:
    for name, layout in all_layouts().items():
        assert name == f"{layout.framework}.{layout.table}"
        assert layout_named(name) is layout
        assert layout.kind is all_kinds()[layout.kind.name]
        assert layout.verified in {"recorded", "source"}


def test_an_unknown_layout_is_answered_with_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"no layout 'keras\.lstn'; known are keras\.lstm, keras\.gru"):
        layout_named("keras.lstn")
    with pytest.raises(UsageError, match=r"no layout 'kerass\.lstm'; known are .*keras.*onnx.*torch"):
        layout_named("kerass.lstm")


def test_layouts_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        all_layouts()["keras.lstm"] = all_layouts()["torch.lstm"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        layout_named("keras.lstm").orders = {}  # type: ignore[misc]


INVENTED = """
title = "Invented"
[lstm]
gate = ["output", "candidate", "forget", "input"]
[lstm.tensors]
all_in_one = { role = ["input_weight", "recurrent_weight"], axes = "(in + hidden) (unit gate)" }
offsets    = { role = "bias", axes = "(unit gate)" }
"""


@pytest.fixture
def with_invented_framework(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The shipped layouts and one more file."""
    folder = shutil.copytree(layouts_folder(), tmp_path / "layouts")
    (folder / "invented.toml").write_text(INVENTED)
    monkeypatch.setattr(layouts_module, "layouts_folder", lambda: folder)
    layouts_of.cache_clear()
    yield
    layouts_of.cache_clear()


@pytest.mark.usefixtures("with_invented_framework")
def test_a_framework_is_added_by_one_file(values: Any) -> None:
    """Gates interleaved, in another order, rows of the input above rows of the state."""
    keras = {"kernel": values((3, 20), 0), "recurrent_kernel": values((5, 20), 1), "bias": values((20,), 2)}
    invented = wp.translate(keras, "keras.lstm", "invented.lstm")
    gates = [3, 2, 1, 0]  # of input, forget, candidate, output
    rows = np.concatenate([keras["kernel"], keras["recurrent_kernel"]]).reshape(8, 4, 5)
    assert np.array_equal(invented["all_in_one"], rows[:, gates].transpose(0, 2, 1).reshape(8, 20))
    assert np.array_equal(invented["offsets"], keras["bias"].reshape(4, 5)[gates].T.reshape(20))
    back = wp.translate(invented, "invented.lstm", "keras.lstm")
    assert all(np.array_equal(back[name], keras[name]) for name in keras)


def test_the_invented_framework_is_gone_again() -> None:
    """Building one registry never changes another."""
    with pytest.raises(UsageError, match="no layout 'invented"):
        layout_named("invented.lstm")

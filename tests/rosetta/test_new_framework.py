"""A new framework is one TOML file: no line of Python knows its name."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import weightport as wp
from weightport import kinds, layouts

MADE_UP = """
title    = "Made up"
source   = "nowhere"
verified = "source"

[lstm]
gate     = ["forget", "output", "input", "candidate"]
side     = ["recurrent", "input"]
adds     = { bias = { forget = 1.0 } }
settings = { activation = ["tanh"], cell_activation = ["tanh"], recurrent_activation = ["sigmoid"] }
[lstm.tensors]
everything = { role = ["recurrent_weight", "input_weight"], axes = "(unit gate) (hidden + in)" }
offsets    = { role = "bias",                               axes = "side (unit gate)" }
"""


@pytest.fixture
def with_a_made_up_framework(tmp_path, monkeypatch):
    folder = tmp_path / "layouts"
    shutil.copytree(kinds.layouts_folder(), folder)
    (folder / "madeup.toml").write_text(MADE_UP)
    monkeypatch.setattr(layouts, "layouts_folder", lambda: folder)
    layouts.layouts_of.cache_clear()
    yield
    layouts.layouts_of.cache_clear()


@pytest.mark.usefixtures("with_a_made_up_framework")
def test_a_made_up_framework_takes_one_file():
    generator = np.random.default_rng(3)
    kernel, recurrent, bias = (generator.normal(size=shape) for shape in ((4, 24), (6, 24), (24,)))
    keras = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias}
    there = wp.translate(keras, "keras.lstm", "madeup.lstm")

    forget_of_unit_two = there["everything"][2 * 4 + 0]
    np.testing.assert_array_equal(forget_of_unit_two, [*recurrent[:, 6 + 2], *kernel[:, 6 + 2]])
    recurrent_side, input_side = there["offsets"].reshape(2, 6, 4)
    np.testing.assert_array_equal(input_side[:, 0], bias[6:12] - 1.0)
    np.testing.assert_array_equal(input_side[:, 2], bias[0:6])
    np.testing.assert_array_equal(recurrent_side, 0)

    back = wp.translate(there, "madeup.lstm", "keras.lstm")
    np.testing.assert_allclose(back["bias"], bias, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(back["kernel"], kernel)
    torch = wp.translate(there, "madeup.lstm", "torch.lstm")
    np.testing.assert_array_equal(torch["weight_ih_l0"], kernel.T)


@pytest.mark.usefixtures("with_a_made_up_framework")
def test_the_registry_before_and_after_is_the_same_but_for_the_new_framework():
    with_it = dict(layouts.all_layouts())
    assert with_it.pop("madeup.lstm").title == "Made up"
    assert "madeup" not in {layout.framework for layout in with_it.values()}

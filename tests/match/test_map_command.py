"""``weightport map``: a mapping file that explains itself, leaves open what is open, and that ``--map`` takes."""

from __future__ import annotations

import json
import re
import tomllib

import numpy as np
import pytest

import weightport as wp

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402

PARTS = {"query": "attn.q", "out": "attn.proj"}


def state(names, size=4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {f"{name}.weight": torch.rand(size, size, generator=generator) for name in names}


@pytest.fixture
def blocks(tmp_path):
    """Three blocks of two layers each, and a head of another size, under other names on either side."""
    one = {**state([f"block_{i}.{part}" for i in range(3) for part in PARTS]), **state(["top"], 6)}
    other = {**state([f"layers.{i}.{part}" for i in range(3) for part in PARTS.values()]), **state(["head"], 6)}
    torch.save(one, tmp_path / "a.pt")
    torch.save(other, tmp_path / "b.pt")
    return tmp_path


@pytest.fixture
def twins(tmp_path):
    """Two layers of one size on either side, that nothing tells apart, and one that is alone."""
    save_file({**state(["left", "right"]), **state(["sole"], 3)}, tmp_path / "a.safetensors")
    other = {**state(["un", "deux"], seed=2), **state(["seul"], 3), **state(["more"], 7)}
    save_file(other, tmp_path / "b.safetensors")
    return tmp_path


def test_repeated_blocks_are_one_line_with_a_wildcard(blocks, weightport):
    text = weightport("map", blocks / "a.pt", blocks / "b.pt").output
    assert tomllib.loads(text)["layers"] == {
        "block_*.query": "layers.*.attn.q",
        "block_*.out": "layers.*.attn.proj",
        "top": "head",
    }
    assert "# kind and shape" in text
    assert "3 layers" in text


def test_the_file_converts_in_either_direction(blocks, weightport):
    weightport("map", blocks / "a.pt", blocks / "b.pt", "-o", blocks / "names.toml")
    map_file = ("--map", blocks / "names.toml")
    weightport("convert", blocks / "a.pt", blocks / "there.pt", "--into", blocks / "b.pt", *map_file)
    weightport("convert", blocks / "there.pt", blocks / "back.pt", "--into", blocks / "a.pt", *map_file)
    one, back = (torch.load(blocks / name, weights_only=True) for name in ("a.pt", "back.pt"))
    assert all(torch.equal(one[name], back[name]) for name in one)
    assert len(one) == len(back) == 7


def test_what_could_go_two_ways_is_left_open_and_refused_until_it_is_settled(twins, weightport):
    out = weightport("map", twins / "a.safetensors", twins / "b.safetensors", "-o", twins / "names.toml")
    assert "2 entries of" in out.stderr
    text = (twins / "names.toml").read_text(encoding="utf-8")
    assert '"left" = "?"  # one of "deux", "un"' in text
    assert '# "more",  # dense or embedding' in text
    arguments = ("convert", twins / "a.safetensors", twins / "out.pt", "--into", twins / "b.safetensors")
    refusal = weightport(*arguments, "--map", twins / "names.toml", status=1).output
    assert "[layers] 'left' is not settled" in refusal
    assert "[layers] 'right' is not settled" in refusal
    assert not (twins / "out.pt").exists()

    text = text.replace('"left" = "?"', '"left" = "un"').replace('"right" = "?"', '"right" = "deux"')
    (twins / "names.toml").write_text(text.replace('# "more",', '"more",'), encoding="utf-8")
    weightport(*arguments, "--map", twins / "names.toml")
    made = torch.load(twins / "out.pt", weights_only=True)
    source = wp.open(twins / "a.safetensors").tensors
    for ours, theirs in (("left", "un"), ("right", "deux"), ("sole", "seul")):
        np.testing.assert_array_equal(made[f"{theirs}.weight"].numpy(), source[f"{ours}.weight"].read())


def test_json_has_the_pairs_the_open_ends_and_the_file(twins, weightport):
    found = json.loads(weightport("map", twins / "a.safetensors", twins / "b.safetensors", "--json").stdout)
    assert found["layers"] == [{"sources": ["sole"], "targets": ["seul"], "kind": "dense", "why": "kind and shape"}]
    (open_end,) = found["unsettled"]
    assert (open_end["sources"], open_end["targets"]) == (["left", "right"], ["deux", "un"])
    assert found["unpaired"] == {"source": [], "target": ["more"]}
    assert tomllib.loads(found["mapping_file"])["ignore"] == []


def test_an_existing_file_is_not_replaced_unless_told(blocks, weightport):
    (blocks / "names.toml").write_text("mine", encoding="utf-8")
    arguments = ("map", blocks / "a.pt", blocks / "b.pt", "-o", blocks / "names.toml")
    assert "exists already" in weightport(*arguments, status=1).output
    assert (blocks / "names.toml").read_text(encoding="utf-8") == "mine"
    weightport(*arguments, "--overwrite")
    assert "[layers]" in (blocks / "names.toml").read_text(encoding="utf-8")


def test_names_with_quotes_and_line_ends_stay_names(tmp_path, weightport):
    names = ['a"b', "c\\d", "e\nf"]
    for file, prefix in (("a.pt", "x"), ("b.pt", "y")):
        torch.save(
            {f"{prefix}{name}.weight": torch.ones(i + 2, i + 2) for i, name in enumerate(names)}, tmp_path / file
        )
    text = weightport("map", tmp_path / "a.pt", tmp_path / "b.pt").output
    assert tomllib.loads(text)["layers"] == {f"x{name}": f"y{name}" for name in names}
    assert re.search(r"^# .*$", text, re.MULTILINE)


def test_a_stack_and_a_flattened_map_are_told(tmp_path, weightport):
    keras = pytest.importorskip("keras")
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 5, 4, 2)),
            layers.TimeDistributed(layers.Conv2D(3, 2, name="conv"), name="frames"),
            layers.TimeDistributed(layers.Flatten()),
            layers.LSTM(5, return_sequences=True, name="low"),
            layers.LSTM(5, name="high"),
        ]
    )
    model.save(tmp_path / "m.keras")
    twin = torch.nn.ModuleDict({"see": torch.nn.Conv2d(2, 3, 2), "read": torch.nn.LSTM(36, 5, num_layers=2)})
    torch.save(twin.state_dict(), tmp_path / "twin.pt")
    text = weightport("map", tmp_path / "m.keras", tmp_path / "twin.pt").output
    assert tomllib.loads(text)["layers"] == {"frames": "see", "low": "read", "high": "read"}
    assert '# "low" = { in = [12, 3] }  # turned from channels last to channels first' in text
    assert "[flatten]" in text
    back = weightport("map", tmp_path / "twin.pt", tmp_path / "m.keras").output
    assert tomllib.loads(back)["layers"] == {"see": "frames", "read": ["low", "high"]}


def test_a_map_in_an_order_that_nothing_tells_is_left_open(tmp_path, weightport):
    keras = pytest.importorskip("keras")
    image = keras.Sequential([keras.Input((4, 3, 2)), keras.layers.Flatten(), keras.layers.Dense(5, name="head")])
    image.save(tmp_path / "m.keras")
    torch.save({"fc.weight": torch.ones(5, 24), "fc.bias": torch.ones(5)}, tmp_path / "twin.pt")
    text = weightport("map", tmp_path / "m.keras", tmp_path / "twin.pt").output
    assert re.search(r'^"head" = "\?"  # it flattens an input of three axes', text, re.MULTILINE)

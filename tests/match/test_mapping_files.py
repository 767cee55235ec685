"""Mapping files: wildcards, stacks, either direction, what stays behind, and entries that are not settled yet."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import weightport as wp
from weightport import RefusedError, UsageError
from weightport.mapping import NameMap, read_mapping

torch = pytest.importorskip("torch")

KERAS = ["encoder.block_0.dense", "encoder.block_1.dense", "encoder.block_2.dense", "lower", "upper", "head"]
TORCH = ["encoder.layers.0.linear", "encoder.layers.1.linear", "encoder.layers.2.linear", "rnn", "fc"]


def read(tmp_path: Path, text: str) -> NameMap:
    (tmp_path / "map.toml").write_text(text, encoding="utf-8")
    return read_mapping(tmp_path / "map.toml")


def test_a_star_stands_for_the_same_text_on_both_sides(tmp_path):
    found = read(tmp_path, '[layers]\n"encoder/block_*/dense" = "encoder.layers.*.linear"\n"head" = "fc"\n')
    assert found.pairs(KERAS, TORCH) == [*zip(KERAS[:3], TORCH[:3], strict=True), ("head", "fc")]


def test_the_same_file_works_the_other_way(tmp_path):
    found = read(tmp_path, '[layers]\n"encoder/block_*/dense" = "encoder.layers.*.linear"\n"head" = "fc"\n')
    assert found.pairs(TORCH, KERAS) == [*zip(TORCH[:3], KERAS[:3], strict=True), ("fc", "head")]


@pytest.mark.parametrize("text", ['"lower" = "rnn"\n"upper" = "rnn"', '"rnn" = ["lower", "upper"]'])
def test_a_stack_is_written_from_either_side_and_read_from_either(text, tmp_path):
    found = read(tmp_path, f"[layers]\n{text}\n")
    assert found.pairs(KERAS, TORCH) == [("lower", "rnn"), ("upper", "rnn")]
    assert found.pairs(TORCH, KERAS) == [("rnn", "lower"), ("rnn", "upper")]


@pytest.mark.parametrize("entry", ['"nothing_*" = "fc"', '"encoder/*" = "*"', '"encoder/block_*/dense" = "x.*"'])
def test_a_pattern_that_fits_no_pair_of_layers_is_a_wrong_usage(entry, tmp_path):
    found = read(tmp_path, f"[layers]\n{entry}\n")
    with pytest.raises(UsageError, match=r"map\.toml: \[layers\] .* fits no pair of layers"):
        found.pairs(KERAS, TORCH)


def test_an_entry_that_is_not_settled_is_refused_by_name(tmp_path):
    with pytest.raises(RefusedError, match="has entries for you to settle") as caught:
        read(tmp_path, '[layers]\n"a" = "b"\n"dense" = "?"\n[flatten]\n"fc" = "?"\n')
    assert [problem.split(" is not")[0] for problem in caught.value.problems] == ["[layers] 'dense'", "[flatten] 'fc'"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer = {}", "a mapping file has [layers], [flatten], [kinds] and ignore; found layer"),
        ("layers = 3", "[layers] must be a table, found 3"),
        ('[layers]\n"a" = 3', "[layers] 'a' must name a target layer, or a list of them that are one stack, found 3"),
        ('[layers]\n"a" = []', "[layers] 'a' must name a target layer"),
        ('ignore = "head"', "ignore must be a list of names or patterns, found 'head'"),
        ("[layers", "map.toml: "),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file_and_the_entry(text, message, tmp_path):
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "map.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


class TestAConversion:
    """Two state dicts in the alphabet's order, and a mapping file between them."""

    @pytest.fixture
    def files(self, tmp_path):
        from safetensors.torch import save_file

        generator = torch.Generator().manual_seed(1)
        self.left = {f"{name}.weight": torch.rand(4, 4, generator=generator) for name in ("one", "two", "extra")}
        save_file(self.left, tmp_path / "left.safetensors")
        right = {f"{name}.weight": torch.zeros(4, 4) for name in ("uno", "due", "altro")}
        save_file(right, tmp_path / "right.safetensors")
        return tmp_path

    def convert(self, folder, text, source="left", into="right"):
        (folder / "map.toml").write_text(text, encoding="utf-8")
        paths = [folder / f"{name}.safetensors" for name in (source, "out", into)]
        wp.convert(paths[0], paths[1], into=paths[2], mapping=folder / "map.toml", overwrite=True)
        return {name: np.array(tensor.read()) for name, tensor in wp.open(folder / "out.safetensors").tensors.items()}

    TEXT = 'ignore = ["extra", "altro.*"]\n[layers]\n"one" = "due"\n"two" = "uno"\n'

    def test_what_it_ignores_stays_behind_and_keeps_the_templates_values(self, files):
        out = self.convert(files, self.TEXT)
        np.testing.assert_array_equal(out["due.weight"], self.left["one.weight"].numpy())
        np.testing.assert_array_equal(out["uno.weight"], self.left["two.weight"].numpy())
        assert not out["altro.weight"].any()

    def test_there_and_back_by_the_same_file_is_where_it_began(self, files):
        self.convert(files, self.TEXT)
        (files / "out.safetensors").rename(files / "there.safetensors")
        back = self.convert(files, self.TEXT, source="there", into="left")
        for name, tensor in self.left.items():
            np.testing.assert_array_equal(back[name], tensor.numpy(), err_msg=name)

    def test_without_it_the_candidates_are_named(self, files):
        with pytest.raises(RefusedError, match="could each go into any of"):
            self.convert(files, "")
        assert not (files / "out.safetensors").exists()

    def test_a_pair_of_layers_of_other_sizes_is_refused(self, files):
        from safetensors.torch import save_file

        save_file({"uno.weight": torch.zeros(4, 5)}, files / "right.safetensors")
        with pytest.raises(RefusedError, match="in is 4 in the source, 5 in the target"):
            self.convert(files, 'ignore = ["two", "extra"]\n[layers]\n"one" = "uno"\n')

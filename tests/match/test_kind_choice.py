"""A layer that may be of several kinds, by its names and shapes: carried where that makes no difference, else refused.

MLX's names say nothing of kinds: a dense layer, an embedding and a norm are all a ``weight``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import weightport as wp

SQUARE = np.arange(4 * 3 * 2 * 4, dtype=np.float32).reshape(4, 3, 2, 4)
"""A kernel as MLX stores it, of as many channels on either side."""
BIAS = np.float32([1, -2, 3, -4])


@pytest.fixture
def mlx_file(tmp_path: Path) -> Path:
    arrays = {"table.weight": np.arange(6.0).reshape(2, 3), "norm.weight": BIAS, "norm.bias": 2 * BIAS}
    np.savez(tmp_path / "plain.npz", **arrays)
    np.savez(tmp_path / "m.npz", **arrays, **{"up.weight": SQUARE, "up.bias": BIAS})
    return tmp_path / "m.npz"


def converted(source: Path, **options: object) -> dict[str, np.ndarray]:
    target = source.with_name("out.safetensors")
    wp.convert(source, target, from_framework="mlx", overwrite=True, **options)  # type: ignore[arg-type]
    return dict(safetensors.numpy.load_file(target))


def test_what_every_kind_stores_alike_is_carried_whatever_it_is(mlx_file: Path) -> None:
    found = converted(mlx_file.with_name("plain.npz"))
    assert {name: array.tolist() for name, array in found.items()} == {
        "table.weight": [[0, 1, 2], [3, 4, 5]],
        "norm.weight": BIAS.tolist(),
        "norm.bias": (2 * BIAS).tolist(),
    }


def test_what_two_kinds_store_in_different_ways_is_refused_with_the_line_to_write(mlx_file: Path) -> None:
    with pytest.raises(wp.RefusedError) as caught:
        converted(mlx_file)
    assert list(caught.value.problems) == [
        "up: 'up' can be conv or conv_transpose, which the target does not store alike; say it in a mapping file: "
        '[kinds] "up" = "conv", and give it with --map, or give a template (--into) that tells'
    ]


@pytest.mark.parametrize(
    ("line", "axes"),
    [('"up" = "conv"', (0, 3, 1, 2)), ('"u*" = "conv_transpose"', (3, 0, 1, 2))],
    ids=["a convolution", "a transposed one"],
)
def test_a_mapping_file_says_what_a_layer_is(line: str, axes: tuple[int, ...], mlx_file: Path) -> None:
    """As NumPy's transpose of the kernel into PyTorch's order for the one and the other."""
    names = mlx_file.with_name("names.toml")
    names.write_text(f"[kinds]\n{line}\n")
    assert np.array_equal(converted(mlx_file, mapping=names)["up.weight"], SQUARE.transpose(axes))


def test_a_template_that_tells_nothing_either_settles_nothing(mlx_file: Path, tmp_path: Path) -> None:
    """Neither a state dict nor MLX's file says which of the two a square kernel belongs to."""
    template = {"table.weight": np.zeros((2, 3), "f4"), "norm.weight": BIAS, "norm.bias": BIAS, "up.bias": BIAS}
    safetensors.numpy.save_file({**template, "up.weight": np.zeros((4, 4, 3, 2), "f4")}, tmp_path / "t.safetensors")
    with pytest.raises(wp.RefusedError, match=r"'up' can be conv or conv_transpose"):
        converted(mlx_file, into=tmp_path / "t.safetensors")
    names = tmp_path / "names.toml"
    names.write_text('[kinds]\n"up" = "conv_transpose"\n')
    found = converted(mlx_file, into=tmp_path / "t.safetensors", mapping=names)
    assert np.array_equal(found["up.weight"], SQUARE.transpose(3, 0, 1, 2))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('"up" = "lstm"', "[kinds] says that 'up' is a lstm; its tensors are those of a conv or conv_transpose"),
        ('"up" = "convolution"', "[kinds] 'up' must be one of lstm, gru"),
        ('"up" = 3', "[kinds] 'up' must be one of lstm, gru"),
    ],
)
def test_a_kind_that_cannot_be_is_wrong_usage(line: str, words: str, mlx_file: Path) -> None:
    names = mlx_file.with_name("names.toml")
    names.write_text(f"[kinds]\n{line}\n")
    with pytest.raises(wp.UsageError) as caught:
        converted(mlx_file, mapping=names)
    assert words in str(caught.value)
    assert str(names) in str(caught.value)

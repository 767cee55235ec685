"""Frameworks that are told by their layouts alone: layers out of names and shapes, never a guess."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import weightport as wp
from recordings import RECORDINGS, Recording
from torch_files import stored
from weightport.checkpoint import Contents, Structure
from weightport.frameworks import all_frameworks, framework_named
from weightport.layouts import layout_named, naming_of

OWN_MODULES = frozenset(all_frameworks())
# Layouts whose names and shapes another layout of the same framework has, too: nothing tells the cells of TensorFlow 1
# apart but what their modules are called, and one flat buffer can be of any cell.
OPEN_LAYOUTS = {
    *("tensorflow1.basic_lstm_cell", "tensorflow1.lstm_cell", "tensorflow1.lstm_block_cell"),
    *("tensorflow1.block_lstm_v2", "tensorflow1.cudnn_compatible_lstm_cell"),
    *("mxnet.lstm_fused", "mxnet.gru_fused", "mxnet.rnn_fused", "chainer.lstm_link"),
    *("tensorflow1.rnn_cell", "trax.lstm", "haiku.lstm"),  # or a dense layer
    *("chainer.lstm", "chainer.gru", "chainer.rnn"),  # two layers of one direction, or one of two
}
# One weight, or a scale with a bias, which several kinds of one framework keep in the same way.
OPEN_KINDS = {"dense", "embedding", "conv", "conv_transpose", "layer_norm", "group_norm", "rms_norm"}


def structure(framework: str, tensors: dict[str, Any]) -> Structure:
    contents = {name: stored(np.asarray(array), name) for name, array in tensors.items()}
    return framework_named(framework).structure(Contents("a file", "npz", framework, contents))


NAMED = [recording for recording in RECORDINGS if recording.framework not in OWN_MODULES]


@pytest.mark.parametrize("recording", NAMED, ids=[recording.name for recording in NAMED])
def test_a_recorded_layer_is_found_whatever_stands_between_its_names(recording: Recording) -> None:
    """The real framework's tensors below two modules are the layer that it recorded, or are said to be open."""
    layout, own = layout_named(recording.layout), naming_of(recording.framework).separator
    for separator in "/.":
        names = {name: separator.join(["model", "encoder", *name.split(own)]) for name in recording.tensors}
        found = structure(recording.framework, {names[name]: array for name, array in recording.tensors.items()})
        if not found.layers:
            assert recording.layout in OPEN_LAYOUTS
            assert set(found.unknown) == set(names.values())
            continue
        (layer,) = found.layers
        assert layer.name == "model.encoder"
        assert layout.kind.name in layer.kinds
        assert len(layer.kinds) == 1 or layout.kind.name in OPEN_KINDS or recording.layout in OPEN_LAYOUTS
        assert (layer.layout or f"{recording.framework}.{layout.kind.name}") == recording.layout
        assert dict(layer.tensors) == names


def test_what_the_framework_calls_a_cell_itself_tells_cells_of_one_storage_apart() -> None:
    cells = {"basic_lstm_cell": "tensorflow1.basic_lstm_cell", "lstm_cell": "tensorflow1.lstm_cell"}
    for number, (name, layout) in enumerate(cells.items()):
        module = f"rnn/{name}" + (f"_{number}" if number else "")
        found = structure("tensorflow1", {f"{module}/kernel": np.ones((10, 24)), f"{module}/bias": np.ones(24)})
        assert [(layer.name, layer.layout) for layer in found.layers] == [(module.replace("/", "."), layout)]


def test_a_layer_whose_tensors_are_in_modules_of_their_own_has_all_that_is_there() -> None:
    """A module that has more than a cell's one linear layer is no cell; one that has only that may be, unless Haiku's
    own name for a cell says so."""
    arrays = {"w": np.ones((10, 24)), "b": np.ones(24)}
    kinds_of = {}
    for module in ("lstm", "lstm_2", "mlp"):
        alone = {f"{module}/linear/{name}": array for name, array in arrays.items()}
        kinds_of[module] = [(layer.name, layer.kinds) for layer in structure("haiku", alone).layers]
    assert kinds_of == {"lstm": [("lstm", ("lstm",))], "lstm_2": [("lstm_2", ("lstm",))], "mlp": []}
    assert structure("haiku", alone).unknown["mlp/linear/w"] == (
        "can be a dense 'mlp.linear' or a lstm 'mlp'; nothing tells which"
    )
    found = structure("haiku", {**alone, "mlp/linear_1/w": np.ones((24, 2))})
    assert [(layer.name, layer.kinds) for layer in found.layers] == [
        ("mlp.linear", ("dense",)),
        ("mlp.linear_1", ("dense",)),
    ]


def test_a_tensor_that_is_not_there_tells_a_setting() -> None:
    """Flax's minimal gated unit has a recurrent bias where its gate resets."""
    cell = {"if": (3, 5), "in": (3, 5), "hf": (5, 5), "hn": (5, 5)}
    tensors = {f"cell/{name}/kernel": np.ones(shape) for name, shape in cell.items()}
    tensors |= {f"cell/{name}/bias": np.ones(5) for name in ("if", "in")}
    for more, reset in (({}, {"reset": "none"}), ({"cell/hn/bias": np.ones(5)}, {})):
        (layer,) = structure("flax", {**tensors, **more}).layers
        assert (layer.kinds, layer.settings) == (("mgu",), reset)


def test_collections_are_not_part_of_a_layers_name_and_what_is_beside_the_weights_is_skipped() -> None:
    names = {
        "ii": (3, 5),
        "if": (3, 5),
        "ig": (3, 5),
        "io": (3, 5),
        "hi": (5, 5),
        "hf": (5, 5),
        "hg": (5, 5),
        "ho": (5, 5),
    }
    for outer in ("", "params/", "params/params/"):
        weights = {f"{outer}lstm/{name}/kernel": np.ones(shape) for name, shape in names.items()}
        others = {"opt_state/0/mu/lstm/ii/kernel": np.ones((3, 5)), "step": np.ones(())}
        found = structure("flax", {**weights, **others})
        assert [layer.name for layer in found.layers] == ["lstm"]
        assert set(found.layers[0].tensors.values()) == set(weights)
        assert dict(found.skipped) == {
            "opt_state/0/mu/lstm/ii/kernel": "optimizer state",
            "step": "a counter of training steps",
        }


def test_names_are_those_of_the_framework_when_a_layer_is_written(tmp_path: Path) -> None:
    name = {framework: framework_named(framework).tensor_name for framework in ("flax", "mlx", "haiku", "nnx")}
    assert name["flax"]("encoder.lstm", "hi/kernel") == "params/encoder/lstm/hi/kernel"
    assert name["mlx"]("encoder.lstm", "Wx") == "encoder.lstm.Wx"
    assert name["haiku"]("", "linear/w") == "linear/w"
    assert name["nnx"]("encoder/0", "dense_i.kernel") == "encoder.0.dense_i.kernel"


# Files


@pytest.fixture
def mlx_file(tmp_path: Path) -> Path:
    np.savez(tmp_path / "m.npz", **{"cell.Wx": np.ones((24, 4)), "cell.Wh": np.ones((24, 6)), "cell.bias": np.ones(24)})
    return tmp_path / "m.npz"


def test_a_file_that_says_nothing_of_its_framework_has_to_be_told(mlx_file: Path) -> None:
    with pytest.raises(wp.UsageError, match=r"m\.npz: a \.npz file does not say whose layouts .*--from.*flax, mlx"):
        wp.open(mlx_file)
    assert [layer.kinds for layer in wp.open(mlx_file, "mlx").layers] == [("lstm",)]
    with pytest.raises(wp.UsageError, match=r"no framework 'mlxx'; known are .*mlx"):
        wp.open(mlx_file, "mlxx")


def test_the_collection_around_all_names_tells_flax(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", **{"params/cell/i/kernel": np.ones((4, 6)), "step": np.array(3)})
    assert wp.open(tmp_path / "f.npz").framework == "flax"


def test_a_target_of_no_framework_has_to_be_told_one(mlx_file: Path, tmp_path: Path) -> None:
    with pytest.raises(wp.UsageError, match=r"out\.npz: a \.npz file can follow any .*--to: flax, mlx"):
        wp.convert(mlx_file, tmp_path / "out.npz", from_framework="mlx")
    report = wp.convert(mlx_file, tmp_path / "out.npz", from_framework="mlx", to_framework="equinox")
    assert report.verdict == "exact"
    assert wp.open(tmp_path / "out.npz", "equinox").layers[0].kinds == ("lstm",)
    wp.convert(mlx_file, tmp_path / "same.npz", from_framework="mlx", to_framework="mlx")
    assert sorted(wp.open(tmp_path / "same.npz", "mlx").tensors) == ["cell.Wh", "cell.Wx", "cell.bias"]


def test_a_template_tells_the_targets_framework(mlx_file: Path, tmp_path: Path) -> None:
    wp.convert(mlx_file, tmp_path / "flax.msgpack", from_framework="mlx", to_framework="flax")
    wp.convert(mlx_file, tmp_path / "out.npz", from_framework="mlx", into=tmp_path / "flax.msgpack")
    assert wp.open(tmp_path / "out.npz").framework == "flax"


def test_safetensors_of_any_framework_go_by_what_is_said(mlx_file: Path, tmp_path: Path) -> None:
    safetensors.numpy.save_file(dict(np.load(mlx_file)), tmp_path / "m.safetensors")
    report = wp.convert(tmp_path / "m.safetensors", tmp_path / "t.safetensors", from_framework="mlx")
    assert (report.source_framework, report.target_framework) == ("mlx", "torch")
    assert sorted(wp.open(tmp_path / "t.safetensors").tensors) == [
        f"cell.{kind}_{side}_l0" for kind in ("bias", "weight") for side in ("hh", "ih")
    ]


def test_a_safetensors_file_says_whose_it_is_as_mlx_lm_writes_it(mlx_file: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(mlx_file))
    for stated, framework in (("mlx", "mlx"), ("pt", "torch"), ("keras", "torch"), ("numpy", "torch")):
        safetensors.numpy.save_file(arrays, tmp_path / f"{stated}.safetensors", metadata={"format": stated})
        assert wp.open(tmp_path / f"{stated}.safetensors").framework == framework
    wp.convert(tmp_path / "mlx.safetensors", tmp_path / "equinox.safetensors", to_framework="equinox")
    assert wp.open(tmp_path / "equinox.safetensors").framework == "equinox"
    assert wp.open(tmp_path / "equinox.safetensors", "mlx").framework == "mlx"


def test_a_live_model_of_such_a_framework_is_refused() -> None:
    with pytest.raises(wp.UsageError, match=r"a live dict is not read; save its weights as \.npz or \.msgpack"):
        framework_named("mlx").read_live({})
    with pytest.raises(wp.UsageError, match="a live dict is not written to"):
        framework_named("mlx").write_live({}, [])

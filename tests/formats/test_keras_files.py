"""Keras's three file formats against real Keras: it writes and we read, we write and it loads."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

from weightport.checkpoint import Contents, LazyTensor
from weightport.formats import all_formats, format_of_file

SUFFIXES = [".keras", ".weights.h5", ".h5"]
DIALECTS = {".keras": "objects", ".weights.h5": "objects", ".h5": "layers"}


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("keras")


def randomise(weights: list[Any], seed: int) -> None:
    random = np.random.default_rng(seed)
    for scale, weight in enumerate(weights, 1):
        weight.assign(scale * (np.abs(random.normal(size=weight.shape)) + 0.1) * 0.1)


@pytest.fixture(scope="module")
def model(keras: Any) -> Any:
    """Every way in which Keras nests weights, and so many layers and optimizer states that 10 comes after 2."""
    layers = keras.layers
    inputs = keras.Input((5, 4))
    hidden = layers.LSTM(3, return_sequences=True, name="encoder")(inputs)
    hidden = layers.Bidirectional(layers.GRU(2, return_sequences=True), name="both_ways")(hidden)
    hidden = layers.TimeDistributed(layers.Dense(4), name="each_step")(hidden)
    cells = [layers.LSTMCell(3, name="first_cell"), layers.GRUCell(2, name="second_cell")]
    hidden = layers.RNN(layers.StackedRNNCells(cells), name="stack")(hidden)
    hidden = layers.BatchNormalization(name="norm")(layers.Dropout(0.5)(hidden))
    hidden = keras.Sequential([layers.Dense(3, name="inner_a"), layers.Dense(2, name="inner_b")], name="nested")(hidden)
    for index in range(12):
        hidden = layers.Dense(2 + index % 3, name=f"dense_layer_{index}")(hidden)
    model = keras.Model(inputs, hidden, name="whole")
    model.compile("adam", keras.losses.MeanSquaredError())
    model.optimizer.build(model.trainable_variables)
    randomise(model.weights, seed=2)
    randomise(model.optimizer.variables[2:], seed=3)  # behind the iteration and the learning rate
    return model


@pytest.fixture(scope="module")
def files(model: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model in each format."""
    folder = tmp_path_factory.mktemp("saved")
    return {suffix: save(model, folder / f"model{suffix}") for suffix in SUFFIXES}


@pytest.fixture(params=SUFFIXES)
def saved(request: pytest.FixtureRequest, files: dict[str, Path]) -> Path:
    return files[request.param]


def save(model: Any, path: Path) -> Path:
    (model.save_weights if path.name.endswith(".weights.h5") else model.save)(path)
    return path


def dialect(path: Path) -> str:
    return DIALECTS["".join(path.suffixes)]


def open_hdf5(path: Path) -> h5py.File:
    if path.suffix != ".keras":
        return h5py.File(path)
    with zipfile.ZipFile(path) as archive:
        return h5py.File(archive.open("model.weights.h5"))


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Every dataset of the file, as h5py reads it, under the tensor names that a Contents has."""
    found: dict[str, np.ndarray] = {}
    with open_hdf5(path) as file:
        file.visititems(lambda n, o: found.update({n: o[()]}) if isinstance(o, h5py.Dataset) else None)
    return {name.removeprefix("model_weights/"): array for name, array in found.items()}


def read(path: Path) -> Contents:
    return format_of_file(path).read(path)


def values(contents: Contents, names: list[str]) -> list[np.ndarray]:
    return [contents.tensors[name].read() for name in names]


def assert_equal(found: list[np.ndarray], weights: list[Any]) -> None:
    expected = [weight.numpy() for weight in weights]
    assert [(array.dtype, array.shape) for array in found] == [(array.dtype, array.shape) for array in expected]
    assert all(ours.tobytes() == theirs.tobytes() for ours, theirs in zip(found, expected, strict=True))


def changed(contents: Contents) -> list[LazyTensor]:
    """New values for every weight: the old ones halved and raised."""
    names = [name for name in contents.tensors if name not in contents.description["optimizer"]]
    tensors = [contents.tensors[name] for name in names if contents.tensors[name].dtype == np.float32]
    return [LazyTensor(t.name, t.shape, t.dtype, lambda t=t: t.read() / 2 + np.float32(0.25)) for t in tensors]


def rewrite(contents: Contents, path: Path, tensors: list[Any]) -> Path:
    all_formats()[contents.format].write(path, tensors, template=contents, metadata={"ignored": "text"})
    return path


# Reading.


def test_every_tensor_is_what_h5py_reads(saved: Path) -> None:
    contents = read(saved)
    expected = arrays(saved)
    assert set(contents.tensors) == set(expected)
    for name, tensor in contents.tensors.items():
        array = tensor.read()
        assert (array.dtype, array.tobytes()) == (expected[name].dtype, expected[name].tobytes())
        assert (tensor.name, tensor.shape, tensor.dtype) == (name, array.shape, array.dtype)
    assert (contents.framework, contents.ordered, contents.origin) == ("keras", True, str(saved))


def test_the_groups_have_the_layers_weights_in_keras_order(saved: Path, model: Any) -> None:
    contents = read(saved)
    groups = contents.description["groups"]
    assert contents.description["dialect"] == dialect(saved)
    if dialect(saved) == "layers":
        assert list(groups) == [*(layer.name for layer in model.layers), ""]
        for layer in model.layers:
            ordered = layer.trainable_weights + layer.non_trainable_weights
            assert_equal(values(contents, groups[layer.name]["weights"]), ordered)
        return
    by_name = {group["name"]: group["weights"] for group in groups.values()}
    cells = model.get_layer("stack").cell.cells
    parts = [model.get_layer("encoder").cell, *cells, *model.get_layer("nested").layers, *model.layers[5:]]
    for part in parts:
        own = [*part._trainable_variables, *part._non_trainable_variables]
        assert_equal(values(contents, by_name[part.name]), own)
    (dropout,) = [layer.name for layer in model.layers if type(layer).__name__ == "Dropout"]
    assert groups["layers/dropout"] == {"name": dropout, "weights": []}
    assert groups[""] == {"name": "whole", "weights": []}
    assert "layers" not in groups
    paths = [path for path in groups if path.startswith("layers/dense")]
    assert paths == ["layers/dense", *(f"layers/dense_{index}" for index in range(1, 12))]


def test_the_optimizers_state_is_told_apart(saved: Path, model: Any) -> None:
    contents = read(saved)
    listed = {name for group in contents.description["groups"].values() for name in group["weights"]}
    state = contents.description["optimizer"]
    assert_equal(
        sorted(values(contents, state), key=lambda a: a.tobytes()),
        sorted(model.optimizer.variables, key=lambda v: v.numpy().tobytes()),
    )
    assert listed | set(state) == set(contents.tensors)
    assert not listed & set(state)


def test_the_config_is_kept_as_data(saved: Path, keras: Any) -> None:
    description = read(saved).description
    if saved.name.endswith(".weights.h5"):
        assert (description["config"], description["keras_version"]) == (None, None)
        return
    assert description["keras_version"] == keras.__version__
    assert description["config"]["class_name"] == "Functional"
    assert description["config"]["config"]["layers"][1]["config"]["units"] == 3
    json.dumps(description)


def test_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for index in range(12):
            file[f"layers/thing/vars/{index}"] = np.float32(index)
        file["layers/thing/vars/name"] = np.float32(12)
        file["layers/other"] = np.float32(13)
        file["optimizer/inner/vars/0"] = np.float32(14)
    contents = read(tmp_path / "a.h5")
    assert [float(v) for v in values(contents, list(contents.tensors))] == list(range(15))
    weights = [f"layers/thing/vars/{name}" for name in [*range(12), "name"]]
    assert contents.description["groups"] == {"layers/thing": {"name": None, "weights": weights}}
    assert contents.description["optimizer"] == ["optimizer/inner/vars/0"]


@pytest.mark.parametrize("whole", [True, False])
def test_older_files_say_less_and_say_it_otherwise(tmp_path: Path, whole: bool) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        holder = file.create_group("model_weights") if whole else file
        holder.attrs["layer_names0"] = np.array([b"zz", b"empty"])
        holder.attrs["layer_names1"] = np.array([b"aa/bb"])
        holder.create_group("empty").attrs["weight_names"] = []
        for layer, names in {"zz": ["w", "deep/b"], "aa/bb": ["cc/kernel"]}.items():
            group = holder.create_group(layer)
            group.attrs["weight_names"] = names
            for name in names:
                group[name] = np.full(2, len(name), ">f4")
        holder["stray"] = np.float32(0)
        if whole:
            file["optimizer_weights/training/step:0"] = np.int64(3)
            file["zz"] = np.float32(0)
    contents = read(tmp_path / "a.h5")
    assert (contents.description["keras_version"], contents.description["config"]) == (None, None)
    assert contents.description["groups"] == {
        "zz": {"weights": ["zz/w", "zz/deep/b"]},
        "empty": {"weights": []},
        "aa/bb": {"weights": ["aa/bb/cc/kernel"]},
    }
    assert list(contents.tensors) == [
        "zz/w",
        "zz/deep/b",
        "aa/bb/cc/kernel",
        *(["model_weights/stray", "zz", "optimizer_weights/training/step:0"] if whole else ["stray"]),
    ]
    assert contents.description["optimizer"] == (["optimizer_weights/training/step:0"] if whole else [])
    assert contents.tensors["zz/deep/b"].read().tolist() == [6.0, 6.0]


def test_the_content_tells_the_format(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "anything.at.all"
    path.write_bytes(saved.read_bytes())
    recognised = [name for name, module in all_formats().items() if module.recognises(path, path.read_bytes()[:64])]
    assert recognised == ["".join(saved.suffixes)[1:]]


# Writing.


def test_keras_loads_what_is_written(saved: Path, model: Any, keras: Any, tmp_path: Path) -> None:
    contents = read(saved)
    written = rewrite(contents, tmp_path / saved.name, changed(contents))
    if saved.name.endswith(".weights.h5"):
        loaded = keras.Model.from_config(model.get_config())
        loaded.load_weights(written)
    else:
        loaded = keras.saving.load_model(written)
    if saved.suffix == ".keras":  # Keras 3 gives up on the optimizer of an .h5 file that it wrote itself
        assert_equal([v.numpy() for v in loaded.optimizer.variables], model.optimizer.variables)
    for new, old in zip(loaded.weights, model.weights, strict=True):
        expected = old.numpy() if "seed" in old.path else old.numpy() / 2 + np.float32(0.25)
        assert np.array_equal(new.numpy(), expected), new.path


def test_everything_else_is_as_in_the_template(saved: Path, tmp_path: Path) -> None:
    written = rewrite(read(saved), tmp_path / saved.name, [])
    if saved.suffix == ".keras":
        with zipfile.ZipFile(saved) as old, zipfile.ZipFile(written) as new:
            assert new.namelist() == old.namelist()
            assert all(new.read(n) == old.read(n) for n in old.namelist() if n != "model.weights.h5")
            assert {member.compress_type for member in new.infolist()} == {zipfile.ZIP_STORED}
            assert {member.date_time for member in new.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert {n: a.tobytes() for n, a in arrays(written).items()} == {n: a.tobytes() for n, a in arrays(saved).items()}
    assert list(written.parent.iterdir()) == [written]
    with open_hdf5(saved) as old, open_hdf5(written) as new:
        names: list[str] = ["/"]
        old.visit(names.append)
        for name in names:
            assert {k: np.asarray(v).tolist() for k, v in new[name].attrs.items()} == {
                k: np.asarray(v).tolist() for k, v in old[name].attrs.items()
            }
    assert read(written).description == read(saved).description
    again = rewrite(read(written), tmp_path / f"again{saved.name}", [])
    assert again.read_bytes() == written.read_bytes()


@pytest.mark.parametrize("policy", ["bfloat16", "float16", "mixed_bfloat16", "float64"])
def test_other_dtypes_survive(keras: Any, policy: str, tmp_path: Path) -> None:
    layers = keras.layers
    lstm = layers.LSTM(3, dtype=policy, recurrent_initializer="glorot_uniform")
    model = keras.Sequential([keras.Input((5, 4)), lstm, layers.Dense(3, dtype=policy)])
    randomise(model.weights, seed=4)
    for suffix in SUFFIXES:
        contents = read(save(model, tmp_path / f"model{suffix}"))
        names = [n for group in contents.description["groups"].values() for n in group["weights"]]
        in_order = names if suffix == ".h5" else sorted(names, key=lambda name: "dense" in name)
        assert_equal(values(contents, in_order), model.weights)
        written = rewrite(contents, tmp_path / f"written{suffix}", [])
        assert_equal(values(read(written), in_order), model.weights)
        if suffix == ".weights.h5":
            randomise(model.weights, seed=5)
            model.load_weights(written)
            assert_equal(values(contents, in_order), model.weights)
        elif suffix == ".keras":
            assert_equal(values(contents, in_order), keras.saving.load_model(written).weights)


def test_a_tensor_may_have_another_type_than_the_templates(files: dict[str, Path], keras: Any, tmp_path: Path) -> None:
    bfloat16 = np.dtype(ml_dtypes.bfloat16)
    contents = read(files[".keras"])
    name = "layers/lstm/cell/vars/0"
    tensor = LazyTensor(name, (4, 12), bfloat16, lambda: contents.tensors[name].read().astype(bfloat16))
    written = rewrite(contents, tmp_path / "a.keras", [tensor])
    kernel = keras.saving.load_model(written).get_layer("encoder").weights[0].numpy()
    assert np.array_equal(kernel, tensor.read().astype(np.float32))
    assert read(written).tensors[name].dtype == bfloat16
    back = LazyTensor(name, (4, 12), np.dtype(np.float32), contents.tensors[name].read)
    assert arrays(rewrite(read(written), tmp_path / "b.keras", [back]))[name].dtype == np.float32


@pytest.mark.parametrize("source", [".keras", ".weights.h5", "live"])
def test_weights_alone_are_made_from_whole_models_and_live_ones(
    files: dict[str, Path], model: Any, keras: Any, tmp_path: Path, source: str
) -> None:
    template = read(files.get(source, files[".keras"]))
    if source == "live":
        template = Contents("a model", "live", "keras", template.tensors, description=template.description)
    path = tmp_path / "a.weights.h5"
    all_formats()["weights.h5"].write(path, changed(template), template=template, metadata={})
    loaded = keras.Model.from_config(model.get_config())
    loaded.load_weights(path)
    for new, old in zip(loaded.weights, model.weights, strict=True):
        assert "seed" in old.path or np.array_equal(new.numpy(), old.numpy() / 2 + np.float32(0.25))
    assert read(path).description["groups"] == template.description["groups"]

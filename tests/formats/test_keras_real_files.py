"""Keras files that others made: real models of several Keras versions, damaged ones, and ones made to deceive."""

from __future__ import annotations

import json
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from weightport.checkpoint import Contents, LazyTensor
from weightport.errors import CheckpointError, RefusedError
from weightport.formats import all_formats, format_of_file, keras_archive

FIXTURES = Path(__file__).parents[2] / "fixtures" / "keras"
NETRA = FIXTURES / "netra-transliterate" / "bi_gru_attention_khmer_transliterator.keras"
KERAS_2 = FIXTURES / "keras-2.12"

# The groups of the recorded Keras 2.12 model, and which of which layer's weights each has.
OBJECTS = {
    "layers/lstm/cell": ("encoder", slice(0, 3)),
    "layers/bidirectional/forward_layer/cell": ("both_ways", slice(0, 3)),
    "layers/bidirectional/backward_layer/cell": ("both_ways", slice(3, 6)),
    "layers/dense": ("wide", slice(0, 2)),
    "layers/batch_normalization": ("norm", slice(0, 4)),
    "layers/dense_2": ("last", slice(0, 2)),  # Keras 2 counts what it has saved already
}


def read(path: Path) -> Contents:
    return format_of_file(path).read(path)


def read_through(path: Path) -> None:
    for tensor in read(path).tensors.values():
        tensor.read()


def values(contents: Contents, group: str) -> list[np.ndarray]:
    return [contents.tensors[name].read() for name in contents.description["groups"][group]["weights"]]


def rezip(source: Path, target: Path, method: int = zipfile.ZIP_STORED, **replaced: bytes | None) -> Path:
    """The archive again, with members replaced (dots in names are written as ``__``) or left out."""
    changes = {name.replace("__", "."): content for name, content in replaced.items()}
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for name in [*old.namelist(), *(n for n in changes if n not in old.namelist())]:
            content = changes.get(name, old.read(name) if name in old.namelist() else None)
            if content is not None:
                new.writestr(name, content)
    return target


# Real files.


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5", "model.h5"])
def test_a_keras_2_model_has_its_recorded_weights(name: str) -> None:
    contents = read(KERAS_2 / name)
    layers: dict[str, list[np.ndarray]] = {}
    for key, array in np.load(KERAS_2 / "recorded.npz").items():
        if "/" in key:
            layers.setdefault(key.partition("/")[0], []).append(array)
    groups = {layer: (layer, slice(None)) for layer in layers} if name == "model.h5" else OBJECTS
    for group, (layer, part) in groups.items():
        for found, expected in zip(values(contents, group), layers[layer][part], strict=True):
            assert np.array_equal(found, expected)
    version = {"model.keras": "2.12.0", "model.h5": "2.12.0"}.get(name)
    assert contents.description["keras_version"] == version
    listed = sum(len(group["weights"]) for group in contents.description["groups"].values())
    assert listed == sum(map(len, layers.values()))
    assert listed + len(contents.description["optimizer"]) == len(contents.tensors)


def test_the_first_keras_files_keep_their_own_paths_when_written(tmp_path: Path) -> None:
    contents = read(KERAS_2 / "model.keras")
    name = "layers/lstm/cell/vars/0"
    tensor = LazyTensor(name, (4, 12), np.dtype(np.float32), lambda: np.full((4, 12), 7, np.float32))
    keras_archive.write(tmp_path / "a.keras", [tensor], template=contents, metadata={})
    with zipfile.ZipFile(tmp_path / "a.keras") as archive, h5py.File(archive.open("model.weights.h5")) as file:
        assert set(file) == {"_layer_checkpoint_dependencies", "metrics", "optimizer", "vars"}
        assert (file["_layer_checkpoint_dependencies/lstm/cell/vars/0"][()] == 7).all()
    assert read(tmp_path / "a.keras").description == contents.description


def test_a_published_model_is_read_as_h5py_reads_it() -> None:
    contents = read(NETRA)
    assert contents.description["keras_version"] == "3.10.0"
    with zipfile.ZipFile(NETRA) as archive, h5py.File(archive.open("model.weights.h5")) as file:
        for name, tensor in contents.tensors.items():
            assert tensor.read().tobytes() == file[name][()].tobytes()
    assert [array.shape for array in values(contents, "layers/gru/cell")] == [(32, 192), (64, 192), (2, 192)]


def test_keras_loads_a_published_model_that_was_written_again(tmp_path: Path) -> None:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keras = pytest.importorskip("keras")
    keras_archive.write(tmp_path / "a.keras", [], template=read(NETRA), metadata={})
    old, new = (keras.saving.load_model(path) for path in (NETRA, tmp_path / "a.keras"))
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(old.weights, new.weights, strict=True))


def test_a_compressed_archive_is_unpacked_to_a_file_that_goes_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = rezip(NETRA, tmp_path / "a.keras", zipfile.ZIP_DEFLATED)
    contents, expected = read(path), read(NETRA)
    assert len(list(tmp_path.iterdir())) == 2
    assert all(t.read().tobytes() == expected.tensors[n].read().tobytes() for n, t in contents.tensors.items())
    keras_archive.write(tmp_path / "b.keras", [], template=contents, metadata={})
    assert read(tmp_path / "b.keras").description == expected.description
    del contents
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.keras", "b.keras"]


def test_assets_are_carried(tmp_path: Path) -> None:
    asset = bytes(range(256)) * 9000
    path = rezip(NETRA, tmp_path / "a.keras", **{"assets/layers/text/vocabulary__txt": asset})
    keras_archive.write(tmp_path / "b.keras", [], template=read(path), metadata={})
    with zipfile.ZipFile(tmp_path / "b.keras") as archive:
        assert archive.read("assets/layers/text/vocabulary.txt") == asset


# What is refused.


def in_archive(fill: Callable[[h5py.File], Any]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with h5py.File(folder / "inner.h5", "w") as file:
            fill(file)
        return rezip(NETRA, folder / "a.keras", model__weights__h5=(folder / "inner.h5").read_bytes())

    return make


def in_layers(fill: Callable[[h5py.Group], Any]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with h5py.File(folder / "a.h5", "w") as file:
            file["elsewhere"] = np.zeros(2)
            file.attrs["layer_names"] = ["dense"]
            group = file.create_group("dense")
            group.attrs["weight_names"] = ["kernel"]
            group["kernel"] = np.zeros(2)
            fill(group)
        return folder / "a.h5"

    return make


def replaced(**members: bytes | None) -> Callable[[Path], Path]:
    return lambda folder: rezip(NETRA, folder / "a.keras", **members)


def written(text: bytes, name: str = "a.weights.json") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(text)
        return folder / name

    return make


def wrong_crc(folder: Path) -> Path:
    path = rezip(NETRA, folder / "a.keras")
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive, h5py.File(archive.open("model.weights.h5")) as file:
        inner = file["layers/gru/cell/vars/0"].id.get_offset()
        data[archive.getinfo("model.weights.h5").header_offset + 30 + len("model.weights.h5") + inner] ^= 1
    path.write_bytes(data)
    return path


def lists(*names: str) -> Callable[[Path], Path]:
    return in_layers(lambda group: group.attrs.create("weight_names", list(names)))


INDEX = json.dumps({"metadata": {"total_size": 1.0}, "weight_map": {"/vars": "a_00000.weights.h5"}}).encode()
BAD_FILES = {
    "npz": (replaced(model__weights__h5=None, model__weights__npz=b"PK"), "no model.weights.h5, but model.weights.npz"),
    "no weights": (replaced(model__weights__h5=None), "it has no model.weights.h5"),
    "bad weights": (replaced(model__weights__h5=b"PK"), "model.weights.h5: not an HDF5 file"),
    "bad config": (replaced(config__json=b"{"), "config.json: not readable as JSON"),
    "config list": (replaced(config__json=b"[]"), "config.json: a JSON object was expected"),
    "bad metadata": (replaced(metadata__json=b"\xff"), "metadata.json: not readable as JSON"),
    "external link": (in_archive(lambda f: f.update({"layers": h5py.ExternalLink("b.h5", "/")})), "refused as unsafe"),
    "cycle": (in_archive(lambda f: f.create_group("layers").update({"again": f["layers"]})), "the same object as"),
    "wrong checksum": (wrong_crc, "member 'model.weights.h5' has checksum"),
    "shards": (written(INDEX), "an index of weights that are spread over several files"),
    "absolute name": (lists("/elsewhere"), "lists the weight '/elsewhere', outside of its group: refused as unsafe"),
    "climbing name": (lists("../elsewhere"), "lists the weight '../elsewhere', which is not there"),
    "missing weight": (lists("kernel", "bias"), "lists the weight 'bias', which is not there"),
    "group as weight": (in_layers(lambda g: g.attrs.create("weight_names", ["k"]) or g.create_group("k")), "not there"),
    "weight twice": (lists("kernel", "kernel"), "layer 'dense' lists a weight twice"),
    "layer twice": (in_layers(lambda g: g.file.attrs.create("layer_names", ["dense"] * 2)), "has a name twice"),
    "layer missing": (in_layers(lambda g: g.file.attrs.create("layer_names", ["x"])), "'x' is listed in 'layer_names'"),
    "model config": (in_layers(lambda g: g.file.attrs.create("model_config", "{")), "'model_config': not readable"),
    "not utf-8": (in_layers(lambda g: g.attrs.create("weight_names", np.array([b"\xff"]))), "damaged HDF5"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, case: str) -> None:
    make, message = BAD_FILES[case]
    path = make(tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_through(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5", "model.h5"])
def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path, name: str) -> None:
    data = (KERAS_2 / name).read_bytes()
    for size in [1, 4, 8, 40, 64, 100, *range(500, len(data), len(data) // 12), len(data) - 1]:
        (tmp_path / name).write_bytes(data[:size])
        with pytest.raises(CheckpointError) as caught:
            read_through(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["archive", "weights in the archive"])
def test_mutated_archives_raise_nothing_but_checkpoint_errors(tmp_path: Path, what: str) -> None:
    generator = random.Random(7)
    source = KERAS_2 / "model.keras"
    with zipfile.ZipFile(source) as archive:
        data = source.read_bytes() if what == "archive" else archive.read("model.weights.h5")
    path = tmp_path / "a.keras"
    refused = 0
    for _ in range(150):
        mutant = bytearray(data)
        for _ in range(5):
            mutant[generator.randrange(len(data))] = generator.choice([0, 1, 255, generator.getrandbits(8)])
        if what == "archive":
            path.write_bytes(mutant)
        else:
            rezip(source, path, model__weights__h5=bytes(mutant))
        try:
            read_through(path)
        except CheckpointError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > (100 if what == "archive" else 10)


def test_a_foreign_hdf5_file_is_nobodys(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/x"] = np.zeros(3)
    with pytest.raises(CheckpointError, match="not a checkpoint that weightport knows"):
        read(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("target", "template", "message"),
    [
        ("a.keras", None, "a .keras file needs another .keras file as its template, and none was given"),
        ("a.keras", "model.h5", "and .*model.h5 has no config that Keras 3 can load"),
        ("a.keras", "model.weights.h5", "and .*model.weights.h5 has no config that Keras 3 can load"),
        ("a.weights.h5", None, "a .weights.h5 file needs a template .* and none was given"),
        ("a.weights.h5", "model.h5", "needs a template that has the model's tree of objects .*model.h5 is another"),
        ("a.h5", None, "an .h5 file needs a template in Keras's older .h5 format, and none was given"),
        ("a.h5", "model.keras", r"model.keras is another; name the target \*.keras to keep its format"),
        ("a.h5", "model.weights.h5", r"is another; name the target \*.weights.h5 to keep its format"),
    ],
)
def test_a_file_is_made_from_a_template_of_its_kind_only(
    tmp_path: Path, target: str, template: str | None, message: str
) -> None:
    contents = read(KERAS_2 / template) if template else None
    with pytest.raises(RefusedError, match=message):
        all_formats()[target.partition(".")[2]].write(tmp_path / target, [], template=contents, metadata={})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5", "model.h5"])
def test_tensors_without_a_place_are_refused_together(tmp_path: Path, name: str) -> None:
    contents = read(KERAS_2 / name)
    first = next(iter(contents.tensors))
    tensors = [LazyTensor(n, (1, 2, 3), np.dtype("f4"), lambda: np.zeros((1, 2, 3), "f4")) for n in (first, "other")]
    with pytest.raises(RefusedError) as caught:
        all_formats()[contents.format].write(tmp_path / name, tensors, template=contents, metadata={})
    shape = list(contents.tensors[first].shape)
    assert caught.value.problems == (
        f"{first}: [1, 2, 3] does not fit the template's {shape}",
        "other: the template has no such tensor",
    )
    assert not list(tmp_path.iterdir())


def test_no_temporary_file_is_left_where_a_tensor_fails(tmp_path: Path) -> None:
    def fail() -> np.ndarray:
        raise CheckpointError("the source is damaged")

    contents = read(NETRA)
    name, tensor = next(iter(contents.tensors.items()))
    with pytest.raises(CheckpointError, match="the source is damaged"):
        keras_archive.write(
            tmp_path / "a.keras",
            [LazyTensor(name, tensor.shape, tensor.dtype, fail)],
            template=contents,
            metadata={},
        )
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".frame"]

"""Files that are no PyTorch state dict, or that are damaged, ambiguous or hostile: each is told in one line."""

from __future__ import annotations

import io
import pickle
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torch_files import archive, call, dict_of, integer, legacy, named, storage, tensor, text, tuple_of
from weightport.errors import CheckpointError
from weightport.formats import format_of_file, torch_zip

STATE = {"l.weight": torch.arange(6.0).view(2, 3), "l.bias": torch.tensor([7.0, 8.0])}
FLOATS = np.arange(4, dtype="<f4").tobytes()


def saved(value: Any, path: Path, **options: Any) -> Path:
    torch.save(value, path, **options)
    return path


def refusal(path: Path) -> str:
    """What reading the file and all its tensors is refused with: one line that begins with the file."""
    assert format_of_file(path) is torch_zip
    with pytest.raises(CheckpointError) as caught:
        for lazy in torch_zip.read(path).tensors.values():
            lazy.read()
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"encoder": STATE, "decoder": STATE}, "more than one thing.*'encoder', 'decoder'"),
        ({"model": STATE, "net": STATE}, "more than one thing.*'model', 'net'"),
        ({**STATE, "stats": STATE}, "'stats' beside tensors at the top"),
        ({"model": {"a": {"b": STATE["l.bias"]}, "a.b": STATE["l.bias"]}}, "two tensors that are called 'a.b'"),
        ({"epoch": 1, "steps": [1]}, "no tensors by name .it has 'epoch', 'steps'.*state_dict"),
        ({}, "no tensors by name"),
        ({"state_dict": {}}, "no tensors by name"),
        ({0: STATE["l.bias"]}, "no tensors by name"),
        (STATE["l.bias"], "holds a tensor and no state dict"),
        ([STATE["l.bias"]], "holds a list of 1 and no state dict"),
        (torch.nn.Linear(2, 2), "names 'torch.nn.modules.linear.Linear'.*save model.state_dict"),
        ({"model": torch.nn.Linear(2, 2)}, "names 'torch.nn.modules.linear.Linear'"),
        ({"state_dict": STATE, "callback": print}, "names '(__builtin__|builtins).print'"),
        ({"w": torch.randn(3, dtype=torch.complex64).conj()}, "'w' is marked as conj"),
        ({"w": torch.randn(3, 3).to_sparse()}, "'w' is sparse: save tensor.to_dense"),
        ({"w": torch.randn(3, 3, device="meta")}, "'w' is on the meta device"),
        ({"w": torch.zeros(3, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)}, "'w' is of float4_e2m1fn_x2"),
        ({"w": torch.zeros((1,) * 40)}, "40 dimensions"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_carried_is_told(value: Any, words: str, tmp_path: Path) -> None:
    assert re.search(words, refusal(saved(value, tmp_path / "m.pt")))


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_carried_does_no_harm_beside_the_weights(tmp_path: Path) -> None:
    value = {"state_dict": STATE, "sparse": torch.randn(3, 3).to_sparse(), "meta": {"w": torch.zeros(3, device="meta")}}
    assert list(torch_zip.read(saved(value, tmp_path / "m.pt")).tensors) == list(STATE)


# Other containers


def scripted(path: Path) -> Path:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), path)
    return path


def exported(path: Path) -> Path:
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),)), path)
    return path


def packaged(path: Path) -> Path:
    with torch.package.PackageExporter(path) as exporter:
        exporter.save_pickle("model", "model.pkl", STATE)
    return path


def tarred(path: Path) -> Path:
    with tarfile.open(path, "w") as file:
        entry = tarfile.TarInfo("storages")
        entry.size = 4
        file.addfile(entry, io.BytesIO(b"\x80\x02K\x00"))
    return path


def pickled(path: Path) -> Path:
    path.write_bytes(pickle.dumps({"w": [1.0]}))
    return path


def two_roots(path: Path) -> Path:
    archive(path, dict_of({"w": tensor()}))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("other/data.pkl", b"\x80\x02}.")
    return path


def duplicate(path: Path) -> Path:
    archive(path, dict_of({"w": tensor()}))
    with pytest.warns(UserWarning), zipfile.ZipFile(path, "a") as file:
        file.writestr("archive/data.pkl", b"\x80\x02}.")
    return path


def encrypted(path: Path) -> Path:
    data = bytearray(archive(path, dict_of({"w": tensor()})).read_bytes())
    for place in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
        data[place] |= 1
    path.write_bytes(data)
    return path


def appended(path: Path) -> Path:
    """Two objects that were saved into one open file."""
    with path.open("wb") as file:
        for _ in range(2):
            torch.save(STATE, file, _use_new_zipfile_serialization=False)
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("craft", "words"),
    [
        (scripted, "a TorchScript archive.*torch.jit.load and save model.state_dict"),
        (exported, "a torch.export archive .*torch.export.load"),
        (packaged, "a torch.package archive"),
        (tarred, "a tar archive"),
        (pickled, "a plain pickle and no PyTorch file.*torch.save"),
        (two_roots, "'archive/data.pkl' and 'other/data.pkl': refused as unsafe"),
        (duplicate, "two members named 'archive/data.pkl': refused as unsafe"),
        (encrypted, "'archive/data.pkl' is encrypted"),
        (appended, "bytes follow the last tensor.*several objects"),
        (
            lambda path: archive(path, dict_of({"w": tensor()}), {"data/0": FLOATS, "../x": b""}),
            "no plain relative path",
        ),
        (
            lambda path: archive(path, dict_of({"w": tensor()}), {"byteorder": b"big"}),
            "byte order is 'big'.*little-endian",
        ),
        (lambda path: archive(path, dict_of({"w": tensor()}), root="a/b"), "without a folder that has data.pkl"),
        (lambda path: legacy(path, dict_of({"w": tensor()}), {"0": FLOATS}, b"\x89"), "big-endian"),
    ],
)
def test_what_is_no_state_dict_of_pytorch_is_told_apart(
    craft: Callable[[Path], Path], words: str, tmp_path: Path
) -> None:
    assert re.search(words, refusal(craft(tmp_path / "m.pt")))


def test_a_directory_and_an_empty_file_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty.pt").touch()
    for path, words in [(tmp_path, "Is a directory"), (tmp_path / "empty.pt", "the file is empty")]:
        with pytest.raises(CheckpointError, match=words):
            torch_zip.read(path)


def test_a_foreign_zip_is_not_taken_for_pytorchs(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", w=np.ones(3))
    assert not torch_zip.recognises(tmp_path / "m.npz", (tmp_path / "m.npz").read_bytes()[:64])


# Hostile pickles and tensors


@pytest.mark.parametrize("container", [archive, legacy], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (call(named("posix", "system"), text("touch was-run")), "names 'posix.system', which is code"),
        (call(text("builtins") + text("eval") + b"\x93", text("1")), "names 'builtins.eval'"),
        (call(named("torch._utils", "_rebuild_tensor_v2.__globals__")), "names 'torch._utils._rebuild_tensor_v2.__g"),
        (call(named("torch.storage", "_load_from_bytes"), text("x")), "names 'torch.storage._load_from_bytes'"),
        (tensor() + text("x") + b"K\x01s", "sets items of a StoredTensor"),
        (tensor() + b"}b", "sets the state of a StoredTensor"),
        (tensor((2,), (1,), 3), "'w' ends at element 4 of a storage of 4"),
        (tensor((2, 2), (3, 2)), "'w' ends at element 5 of a storage of 4"),
        (tensor((2,), (-1,), 3), "offset, shape or strides are no sizes"),
        (tensor((2,), (1,), -1), "offset, shape or strides are no sizes"),
        (tensor((-2,), (1,)), "offset, shape or strides are no sizes"),
        (tensor((2,), (1, 1)), "offset, shape or strides are no sizes"),
        (tensor((2,), (1,), of=text("x")), "without a storage"),
        (tensor((1 << 24, 3), (0, 1)), "would expand 16 stored bytes to 201326592"),
        (tensor((1 << 63, 1 << 63), (0, 0)), "no array can be that large"),
        (tensor((1 << 70,), (1,)), "no array can be that large"),
        (tensor((2, 2), (2**64 + 1, 1)), "'w' ends at element 18446744073709551618"),
        (tensor((1,) * 33, (1,) * 33), "33 dimensions"),
        (call(named("torch._utils", "_rebuild_qtensor"), storage(kind="QInt32Storage")), "'w' is quantized"),
        (tensor(of=storage(-1)), "without a key or a length"),
        (tensor(of=storage(kind="QInt32Storage")), "quantized"),
        (tensor(of=storage(kind="StorageOfNobody")), "names 'torch.StorageOfNobody'"),
        (
            tensor(of=tuple_of(text("module"), named("torch", "Tensor"), b"N", b"N") + b"Q"),
            "outside it that is no storage",
        ),
        (
            call(named("torch._utils", "_rebuild_parameter"), text("x"), b"\x88", b"}"),
            "parameter of something that is no",
        ),
        (
            call(named("torch._tensor", "_rebuild_from_type_v2"), named("torch", "device"), b"N", b")", b"}"),
            "by a function that makes none",
        ),
        (call(named("torch._utils", "_rebuild_tensor_v3"), storage(), *map(integer, (0, 0, 0))), "without a dtype"),
    ],
)
def test_a_hostile_tensor_is_refused(
    value: bytes, words: str, container: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = container(tmp_path / "m.pt", dict_of({"w": value}), {"data/0" if container is archive else "0": FLOATS})
    assert re.search(words, refusal(path))
    assert not (tmp_path / "was-run").exists()


def test_an_expanded_tensor_may_be_a_little_larger_than_its_storage(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pt", dict_of({"w": tensor((1 << 20, 3), (0, 1))}))
    array = torch_zip.read(path).tensors["w"].read()
    assert array.shape == (1 << 20, 3)
    assert array[-1].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("pickle", "members", "words"),
    [
        (tensor(), {}, "no member 'archive/data/0'"),
        (tensor(of=storage(key="../../etc/passwd")), {"data/0": FLOATS}, r"no member 'archive/data/\.\./"),
        (tensor(of=storage(key="k" * 1000)), {"data/0": FLOATS}, "without a key"),
        (tensor(of=storage(8)), {"data/0": FLOATS}, "should have 32 bytes, but member 'archive/data/0' has 16"),
        (tensor((2,), of=storage(2)), {"data/0": FLOATS}, "should have 8 bytes, but member 'archive/data/0' has 16"),
        (tensor(of=storage(1 << 62)), {"data/0": FLOATS}, "should have 18446744073709551616 bytes"),
    ],
)
def test_a_storage_that_is_not_what_the_pickle_says_is_refused(
    pickle: bytes, members: Mapping[str, bytes], words: str, tmp_path: Path
) -> None:
    assert re.search(words, refusal(archive(tmp_path / "m.pt", dict_of({"w": pickle}), members)))


@pytest.mark.parametrize(
    ("storages", "words"),
    [
        ({}, "list of storages does not match"),
        ({"1": FLOATS}, "list of storages does not match"),
        ({"0": FLOATS, "1": FLOATS}, "list of storages does not match"),
        ({"0": FLOATS[:8]}, "it is cut short"),
        ({"0": FLOATS + FLOATS}, "has 8 elements, expected 4"),
    ],
)
def test_a_legacy_storage_that_is_not_what_the_pickle_says_is_refused(
    storages: Mapping[str, bytes], words: str, tmp_path: Path
) -> None:
    assert re.search(words, refusal(legacy(tmp_path / "m.pth", dict_of({"w": tensor()}), storages)))


def test_one_storage_with_two_sizes_is_refused(tmp_path: Path) -> None:
    value = dict_of({"w": tensor(), "v": tensor((2,), of=storage(2))})
    assert "two different storages with the key '0'" in refusal(legacy(tmp_path / "m.pth", value, {"0": FLOATS}))


def test_a_wrong_checksum_is_found_when_the_tensor_is_read(tmp_path: Path) -> None:
    path = saved(STATE, tmp_path / "m.pt")
    data = path.read_bytes()
    place = data.index(struct.pack("<2f", 7, 8))
    path.write_bytes(data[:place] + struct.pack("<2f", 7, 9) + data[place + 8 :])
    contents = torch_zip.read(path)
    assert contents.tensors["l.weight"].read().tolist() == STATE["l.weight"].tolist()
    with pytest.raises(CheckpointError, match=r"'m/data/1' has checksum .*: the file is damaged"):
        contents.tensors["l.bias"].read()


def test_a_compressed_member_that_grows_too_much_is_refused(tmp_path: Path) -> None:
    pickle = dict_of({"w": tensor((1 << 23,), of=storage(1 << 23))})
    path = archive(tmp_path / "m.pt", pickle, {"data/0": bytes(1 << 25)}, zipfile.ZIP_DEFLATED)
    assert "refused, more than 100 times" in refusal(path)
    path = archive(tmp_path / "p.pt", b"}" * 5_000_000, {}, zipfile.ZIP_DEFLATED)
    assert "of its pickle grow to 5000003: refused" in refusal(path)


def test_dictionaries_that_unfold_without_end_are_refused_at_once(tmp_path: Path) -> None:
    """Each of 100 dictionaries holds the one before ten times: more ways through them than could be walked."""
    first = dict_of({"w": tensor()}) + b"q\x000"
    entries = [b"".join(text(str(n)) + b"h" + bytes([level]) for n in range(10)) for level in range(100)]
    levels = [b"}(" + entry + b"uq" + bytes([level + 1]) + b"0" for level, entry in enumerate(entries)]
    path = archive(tmp_path / "m.pt", first + b"".join(levels) + dict_of({"model": b"h\x64"}))
    assert "in itself, twice, or too deep" in refusal(path)
    path = archive(tmp_path / "m.pt", first + b"".join(levels) + b"h\x64")
    assert "more than one thing" in refusal(path)
    own = b"}" + text("model") + b"}q\x00" + text("w") + tensor() + b"s" + text("me") + b"h\x00" + b"ss"
    assert "in itself, twice, or too deep" in refusal(archive(tmp_path / "m.pt", own))


def test_long_names_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pt", dict_of({"k" * 5000: tensor()}))
    assert len(refusal(path)) < 500


@pytest.mark.parametrize("way", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "legacy"])
def test_a_file_that_is_cut_anywhere_is_refused(way: dict[str, bool], tmp_path: Path) -> None:
    whole = saved(STATE, tmp_path / "whole.pt", **way).read_bytes()
    path = tmp_path / "cut.pt"
    for end in range(64, len(whole)):
        path.write_bytes(whole[:end])
        assert re.search("cut short|damaged", refusal(path)), end

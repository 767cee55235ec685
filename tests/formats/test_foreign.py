"""What is no checkpoint is told apart, with what its owner can do about it."""

from __future__ import annotations

import gzip
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

import weightport as wp


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a Git LFS pointer .*'git lfs pull'"),
        (b"<!DOCTYPE html>\n<html>Not found</html>", "a web page, .*download it again"),
        (b"\n <HTML>", "a web page"),
        (b"GGUF\x03\0\0\0", "a GGUF file"),
        (b"\x1c\0\0\0TFL3", "a TensorFlow Lite model"),
        (gzip.compress(b"x", mtime=0), "compressed by gzip; unpack it first"),
        (b"\x28\xb5\x2f\xfd...", "compressed by zstd"),
        (b"cposix\nsystem\n(S'true'\ntR.", "a plain pickle, which is a program"),
        (b"(dp0\nS'a'\n", "a plain pickle, which is a program"),
        (b"PK\x05\x06" + bytes(18), "a zip archive, but not one of Keras, PyTorch or NumPy"),
        (b'{"error": "Entry not found"}', "not a checkpoint that weightport knows .*damaged"),
        (bytes(1000), "not a checkpoint that weightport knows .*damaged"),
    ],
)
def test_a_file_of_another_kind_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(wp.CheckpointError) as caught:
        wp.open(path)
    assert re.fullmatch(f"{re.escape(str(path))}: .*{words}.*", str(caught.value))


def test_single_arrays_and_archives_of_other_files_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.ones(3))
    with pytest.raises(wp.CheckpointError, match="a NumPy array"):
        wp.open(tmp_path / "m.npy")
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("model.keras", b"x")
    with pytest.raises(wp.CheckpointError, match="if a checkpoint is in it, unpack it first"):
        wp.open(tmp_path / "m.zip")


def test_what_a_framework_wrote_as_several_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(wp.CheckpointError, match="a TensorFlow SavedModel"):
        wp.open(tmp_path / "saved")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(wp.CheckpointError, match=r"is a folder; name .*model\.safetensors\.index\.json in it"):
        wp.open(tmp_path / "hub")
    for name in ("model.ckpt.index", "model.ckpt.data-00000-of-00001"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(wp.CheckpointError, match="a TensorFlow checkpoint"):
        wp.open(tmp_path / "model.ckpt.data-00000-of-00001")
    with pytest.raises(wp.CheckpointError, match="is a directory; name a checkpoint file in it"):
        wp.open(tmp_path)

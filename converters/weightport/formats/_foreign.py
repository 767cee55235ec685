"""What a file is that no format here reads, told by how it begins, and what its owner can do."""

from __future__ import annotations

import re
from pathlib import Path

# What stands at a byte offset of the file, and what to say.
_HEADS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs", "a Git LFS pointer and not the file itself; fetch it with 'git lfs pull'"),
    (0, b"\x93NUMPY", "a NumPy array (.npy), which does not say what it is; save named tensors as .safetensors"),
    (0, b"GGUF", "a GGUF file, which is not read; convert the model's original checkpoint"),
    (0, b"ggml", "a GGML file, which is not read; convert the model's original checkpoint"),
    (4, b"TFL3", "a TensorFlow Lite model, which is not read; convert the Keras model that it was made from"),
    (0, b"\x1f\x8b", "compressed by gzip; unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd; unpack it first"),
    (0, b"BZh", "compressed by bzip2; unpack it first"),
    (0, b"\xfd7zXZ", "compressed by xz; unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it first"),
    (0, b"%PDF", "a PDF document and no checkpoint"),
)
_WEB_PAGE = re.compile(rb"\s*<(!doctype|html|\?xml|head)", re.IGNORECASE)
_WEB = "a web page, as servers send it in the place of a file; download it again, signed in where that is needed"
_PICKLE_OF_TEXT = re.compile(rb"c[A-Za-z_][\w.]*\n[A-Za-z_]|\(dp|\(lp|\(i")
_PICKLE = "a plain pickle, which is a program; weightport does not run it; save the state dict with torch.save"
_ZIP = "a zip archive, but not one of Keras, PyTorch or NumPy; if a checkpoint is in it, unpack it first"
_BUNDLE = "a TensorFlow checkpoint, which is not read; load it in Keras and save the model as .keras"


def what_it_is(path: Path, head: bytes) -> str | None:
    """A few words about a file that begins with ``head``; None where nothing is known of it."""
    for offset, magic, words in _HEADS:
        if head[offset:].startswith(magic):
            return words
    if _WEB_PAGE.match(head):
        return _WEB
    if head.startswith(b"PK"):
        return _ZIP
    if _PICKLE_OF_TEXT.match(head):
        return _PICKLE
    if path.with_suffix(".index").is_file() and ".data-0" in path.name:
        return _BUNDLE
    return None


def what_folder_it_is(path: Path) -> str | None:
    """A few words about a folder that a framework wrote; None for any other."""
    if (path / "saved_model.pb").is_file():
        return "a TensorFlow SavedModel, which is not read; load it in Keras and save the model as .keras"
    if (path / "model.safetensors.index.json").is_file():
        return f"a folder; name {path / 'model.safetensors.index.json'} in it"
    return None

"""PyTorch files made by hand, opcode by opcode, and the bits of tensors, for tests of what the reader accepts."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from weightport.checkpoint import LazyTensor

PROTOCOL = b"\x80\x02"


def text(value: str) -> bytes:
    """BINUNICODE."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value: int) -> bytes:
    """LONG1, which holds any size and sign."""
    encoded = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return bytes([0x8A, len(encoded)]) + encoded


def named(module: str, name: str) -> bytes:
    """GLOBAL."""
    return f"c{module}\n{name}\n".encode()


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    """REDUCE."""
    return function + tuple_of(*arguments) + b"R"


def dict_of(items: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def storage(numel: int = 4, key: str = "0", kind: str = "FloatStorage") -> bytes:
    return tuple_of(text("storage"), named("torch", kind), text(key), text("cpu"), integer(numel)) + b"Q"


def tensor(
    shape: tuple[int, ...] = (4,), stride: tuple[int, ...] = (1,), offset: int = 0, of: bytes | None = None
) -> bytes:
    """``_rebuild_tensor_v2`` of a storage of four floats, if not of another one."""
    sizes = [tuple_of(*map(integer, values)) for values in (shape, stride)]
    function = named("torch._utils", "_rebuild_tensor_v2")
    return call(function, of or storage(), integer(offset), *sizes, b"\x89", call(named("collections", "OrderedDict")))


def archive(
    path: Path,
    pickle: bytes,
    members: Mapping[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
    root: str = "archive",
) -> Path:
    """A zip archive with that pickle and these members; by default one storage of the floats 0 to 3."""
    contents = {"data/0": np.arange(4, dtype="<f4").tobytes()} if members is None else members
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr(f"{root}/data.pkl", PROTOCOL + pickle + b".")
        for name, content in contents.items():
            file.writestr(f"{root}/{name}", content)
    return path


def legacy(path: Path, pickle: bytes, storages: Mapping[str, bytes], little_endian: bytes = b"\x88") -> Path:
    """A file as PyTorch before 1.6 wrote it, whose storages are of floats."""
    magic = bytes.fromhex("8a0a6cfc9c46f9206aa85019")
    system = dict_of({"protocol_version": integer(1001), "little_endian": little_endian})
    keys = b"](" + b"".join(map(text, storages)) + b"e"
    pickles = [PROTOCOL + program + b"." for program in (magic, integer(1001), system, pickle, keys)]
    values = [struct.pack("<q", len(data) // 4) + data for data in storages.values()]
    path.write_bytes(b"".join([*pickles, *values]))
    return path


def with_pickle(data: bytes, replace: Any) -> bytes:
    """The archive ``data`` with its pickle replaced by what ``replace`` makes of it, and right checksums."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            new.writestr(entry.filename, replace(content) if entry.filename.endswith("data.pkl") else content)
    return made.getvalue()


def bits_of(value: Any) -> bytes:
    """The bytes of a torch tensor's elements in their order."""
    import torch

    own = value.detach().clone(memory_format=torch.contiguous_format)
    return own.reshape(-1).view(torch.uint8).numpy().tobytes()


def random_tensor(dtype: Any, shape: tuple[int, ...] = (3, 5), seed: int = 7) -> Any:
    """A torch tensor of random bits: NaNs with payloads, infinities and negative zeros among them."""
    import torch

    raw = np.random.default_rng(seed).integers(0, 256, (*shape, dtype.itemsize), dtype=np.uint8)
    if dtype == torch.bool:
        return torch.from_numpy(raw[..., 0] > 127)
    return torch.from_numpy(raw.reshape(-1)).view(dtype).reshape(shape)


def stored(array: Any, name: str = "w") -> LazyTensor:
    """An array as a tensor to be written."""
    return LazyTensor(name, array.shape, array.dtype, lambda: array)

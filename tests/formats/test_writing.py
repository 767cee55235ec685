"""What every writer shares: places that are filled one after the other, checksums in halves, files flushed early."""

from __future__ import annotations

import errno
import os
import time
import zlib
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightport import flushing
from weightport.checkpoint import Array, DType
from weightport.errors import CheckpointError, WeightportError
from weightport.flushing import flushed_early
from weightport.formats import _checksum, _tensor_writer
from weightport.formats._checksum import combine, crc32_of_array, crc32_of_stored
from weightport.formats._room import allocate
from weightport.formats._stored import FileArray
from weightport.formats._tensor_writer import TensorWriter
from weightport.staging import staged
from weightport.threads import side_by_side


@dataclass(frozen=True)
class Given:
    """An output with values that are at hand."""

    values: Array
    name: str = "given"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def dtype(self) -> DType:
        return self.values.dtype

    def fill(self, memory: Array) -> None:
        memory[...] = self.values


@pytest.mark.parametrize("buffer_bytes", [0, 1 << 20], ids=["mapped", "through the buffer"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "u1"])
def test_tensors_stand_little_endian_in_their_places_and_nothing_else_changes(
    buffer_bytes, dtype, tmp_path, monkeypatch
):
    monkeypatch.setattr(_tensor_writer, "BUFFER_BYTES", buffer_bytes)
    first = np.arange(1, 13).reshape(3, 4).astype(dtype)
    second = np.arange(20, 27).astype(dtype)
    path = tmp_path / "file"
    allocate(path, 300)
    with TensorWriter(path) as writer:
        writer.write(8, Given(second))
        writer.write(128, Given(first))
        writer.write(250, Given(np.empty((0, 3), dtype)))
    expected = bytearray(300)
    for offset, values in ((8, second), (128, first)):
        data = values.astype(np.dtype(dtype).newbyteorder("<")).tobytes()
        expected[offset : offset + len(data)] = data
    assert path.read_bytes() == expected


class Full:
    """A file on a full disk."""

    def seek(self, offset):
        del offset

    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self):
        pass


def test_a_tensor_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / "file"
    allocate(path, 64)
    with TensorWriter(path) as writer:
        writer._file.close()
        monkeypatch.setattr(writer, "_file", Full())
        with pytest.raises(CheckpointError, match=r"file: cannot be written: No space left on device$"):
            writer.write(0, Given(np.ones(3, np.float32)))


def test_a_forked_process_has_threads_of_its_own():
    """Its parent's are not there: whoever waited for them would wait for ever."""
    side_by_side([os.getpid, os.getpid])
    child = os.fork()
    if not child:
        os._exit(sum(side_by_side([lambda: 1, lambda: 2])))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_the_checksum_of_a_whole_follows_from_those_of_its_parts(first, second):
    assert combine(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 4096])
def test_a_checksum_in_halves_is_that_of_the_whole(size, monkeypatch):
    monkeypatch.setattr(_checksum, "_SMALL", 1000)
    array = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    assert crc32_of_array(array) == zlib.crc32(array.tobytes())
    assert crc32_of_array(array, zlib.crc32(b"before")) == zlib.crc32(b"before" + array.tobytes())


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 4096])
def test_the_checksum_of_bytes_in_a_file_is_that_of_the_bytes(size, tmp_path, monkeypatch):
    monkeypatch.setattr(_checksum, "_SMALL", 1000)
    monkeypatch.setattr(_checksum, "_READ", 300)
    data = np.random.default_rng(size).bytes(size)
    (tmp_path / "file").write_bytes(b"head" + data + b"tail")
    stored = FileArray(tmp_path / "file", 4, (size,), np.dtype("u1"))
    assert crc32_of_stored(stored) == zlib.crc32(data)


def test_a_failed_flush_in_the_background_fails_the_whole_write(tmp_path, monkeypatch):
    """The system tells of a write that did not reach the disk once, to the flush that first asks."""
    monkeypatch.setattr(flushing, "INTERVAL", 0.001)
    failed = []

    def fail_once(descriptor):
        if not failed:
            failed.append(descriptor)
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail_once)
    problem = pytest.raises(WeightportError, match=r"out: cannot be written: Input/output error$")
    with problem, staged(tmp_path / "out", overwrite=False) as path:
        path.write_bytes(b"content")
        while not failed:
            time.sleep(0.001)
    assert list(tmp_path.iterdir()) == []


def test_flushing_goes_on_past_files_that_come_and_go(tmp_path, monkeypatch):
    monkeypatch.setattr(flushing, "INTERVAL", 0.0001)
    with flushed_early(tmp_path):
        for _ in range(200):
            (tmp_path / "passing").write_bytes(b"content")
            (tmp_path / "passing").unlink()

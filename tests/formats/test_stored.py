"""Arrays and bytes in files: what is asked for is read, and a file that changes meanwhile is one line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weightport.errors import CheckpointError
from weightport.formats import _stored
from weightport.formats._stored import FileArray, FileBytes

DATA = bytes(range(256)) * 8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.write_bytes(DATA)
    return file


@pytest.mark.parametrize("offset", [0, 4, 7, 1000])
def test_an_array_is_the_bytes_at_its_place_and_can_be_read_in_runs(path: Path, offset: int) -> None:
    stored = FileArray(path, offset, (10, 12), np.dtype("<f4"))
    expected = np.frombuffer(DATA, "<u4", 120, offset)
    np.testing.assert_array_equal(stored.read().view("<u4"), expected.reshape(10, 12))
    memory = np.empty(30, "<f4")
    stored.read_run(25, memory)
    np.testing.assert_array_equal(memory.view("<u4"), expected[25:55])


def test_arrays_without_elements_or_dimensions(path: Path) -> None:
    assert FileArray(path, 0, (3, 0), np.dtype("f4")).read().shape == (3, 0)
    assert FileArray(path, 1, (), np.dtype("u1")).read() == 1


@pytest.mark.parametrize("left", [0, 100, 255])
def test_a_file_that_was_cut_short_meanwhile_is_one_line(path: Path, left: int) -> None:
    stored = FileArray(path, 16, (60,), np.dtype("<f4"))
    stored.read()
    os.truncate(path, left)
    words = f"float32.60. at byte 16 ends at 256, but the file has {left} bytes: it is cut short, or changed while"
    with pytest.raises(CheckpointError, match=words):
        stored.read()
    with pytest.raises(CheckpointError, match="cut short, or changed while it was read"):
        stored.read_run(0, np.empty(60, "<f4"))


def test_a_file_that_is_gone_is_one_line(path: Path) -> None:
    stored = FileArray(path, 0, (60,), np.dtype("<f4"))
    path.unlink()
    for action in (stored.read, lambda: stored.read_run(0, np.empty(60, "<f4"))):
        with pytest.raises(CheckpointError, match="file: cannot be read: No such file or directory"):
            action()


@pytest.mark.parametrize(("offset", "shape", "dtype"), [(-1, (2,), "f4"), (0, (-2,), "f4"), (0, (2,), "O")])
def test_what_no_file_can_hold_is_damage(path: Path, offset: int, shape: tuple[int, ...], dtype: str) -> None:
    with pytest.raises(CheckpointError, match="can be stored at byte"):
        FileArray(path, offset, shape, np.dtype(dtype))


def test_more_dimensions_than_an_array_can_have_are_one_line(path: Path) -> None:
    with pytest.raises(CheckpointError, match="no array can be"):
        FileArray(path, 0, (1,) * 100, np.dtype("f4")).read()


cuts = st.slices(len(DATA)).filter(lambda cut: cut.step in (None, 1))


@given(st.lists(cuts | st.integers(0, len(DATA) - 1), max_size=20), st.integers(1, 300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, derandomize=True)
def test_a_file_is_indexed_and_cut_as_its_bytes_are(path: Path, asked: list[int | slice], window: int) -> None:
    with pytest.MonkeyPatch.context() as patch, FileBytes(path) as found:
        patch.setattr(_stored, "WINDOW_BYTES", window)
        assert len(found) == len(DATA)
        assert [found[at] for at in asked] == [DATA[at] for at in asked]


def test_bytes_that_are_gone_meanwhile_are_one_line(path: Path) -> None:
    with FileBytes(path) as found:
        os.truncate(path, 100)
        with pytest.raises(CheckpointError, match="changed while it was read: it ends at byte 100"):
            found[50:150]

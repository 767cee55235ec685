"""The fuzzer for a few seconds, and every file that it ever found."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

import fuzz

pytestmark = pytest.mark.xdist_group("hostile")


@pytest.fixture(scope="module")
def readers() -> dict[str, fuzz.Reader]:
    return fuzz.readers()


@pytest.mark.parametrize("name", fuzz.READERS)
def test_mutants_are_read_or_refused_in_one_line(name: str, readers: dict[str, fuzz.Reader]) -> None:
    findings: list[str] = []
    reader = readers[name]
    fuzz.fuzz([reader], 10, 300, seed=1, keep=lambda _, data, problem: findings.append(problem))
    assert findings == []
    assert reader.runs == 300
    assert 0 < reader.refused < 300, "the mutations touch nothing, or leave nothing"


def test_honest_files_are_read_by_the_reader_that_is_fuzzed(readers: dict[str, fuzz.Reader], tmp_path: Path) -> None:
    fuzz.HONEST["model.safetensors"](tmp_path / "shard.safetensors")
    (tmp_path / "w.bin").write_bytes(bytes(24))
    for reader in readers.values():
        before = reader.refused
        for data in reader.honest:
            assert fuzz.run(reader, data, tmp_path) is None
        assert reader.refused == before, reader.name


def test_a_reader_that_raises_something_else_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(data: bytes) -> None:
        raise [ValueError("no error of ours"), fuzz.Hang()][data == b"slow"]

    monkeypatch.setattr(fuzz, "_interpret", fails)
    reader = fuzz.Reader("pickle", "data.pkl", fuzz.mutations.of_bytes)
    assert "ValueError at " in str(fuzz.run(reader, b"", tmp_path))
    assert fuzz.run(reader, b"slow", tmp_path) == "hang"


def test_what_the_fuzzer_found_stays_fixed(tmp_path: Path, readers: dict[str, fuzz.Reader]) -> None:
    fuzz.HONEST["model.safetensors"](tmp_path / "shard.safetensors")
    (tmp_path / "w.bin").write_bytes(bytes(24))
    by_file = {reader.file: reader for reader in readers.values()}
    found = {path: by_file[path.name.partition("-")[2]] for path in fuzz.REGRESSIONS.iterdir() if path.suffix != ".md"}
    problems = {path.name: fuzz.run(reader, path.read_bytes(), tmp_path) for path, reader in found.items()}
    assert {name: problem for name, problem in problems.items() if problem} == {}


def test_every_way_to_change_a_file_gives_bytes() -> None:
    ways = [way for _, way in fuzz.READERS.values()]
    for way in ways:
        for data in (b"", b"x", bytes(100)):
            for seed in range(50):
                assert isinstance(way(data, Random(seed)), bytes)

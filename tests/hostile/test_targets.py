"""What stands in a target's place, and what a write leaves beside it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import weightport as wp
from attacks import _honest as honest
from faults import external_onnx
from weightport import publishing, staging
from weightport.staging import staged


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source" / "model.safetensors"
    path.parent.mkdir()
    return honest.safetensors(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "targets").mkdir()
    return tmp_path / "targets"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_link_is_replaced_and_what_it_leads_to_stays(source: Path, folder: Path) -> None:
    other = source.with_name("other")
    other.write_text("somebody's")
    (folder / "out.pt").symlink_to(other)
    with pytest.raises(wp.RefusedError, match="exists already; give --overwrite"):
        wp.convert(source, folder / "out.pt")
    wp.convert(source, folder / "out.pt", overwrite=True)
    assert other.read_text() == "somebody's"
    assert not (folder / "out.pt").is_symlink()
    assert set(wp.open(folder / "out.pt").tensors) == set(honest.TORCH)


def test_a_link_that_leads_nowhere_is_something_in_the_way(source: Path, folder: Path) -> None:
    (folder / "out.pt").symlink_to("nowhere")
    with pytest.raises(wp.RefusedError, match="exists already"):
        wp.convert(source, folder / "out.pt")
    assert (folder / "out.pt").readlink() == Path("nowhere")


def test_a_hard_link_keeps_its_other_name(source: Path, folder: Path) -> None:
    (folder / "other").write_text("somebody's")
    (folder / "out.pt").hardlink_to(folder / "other")
    wp.convert(source, folder / "out.pt", overwrite=True)
    assert (folder / "other").read_text() == "somebody's"


@pytest.mark.parametrize("overwrite", [False, True])
def test_folders_devices_and_pipes_are_no_targets(overwrite: bool, source: Path, folder: Path) -> None:
    (folder / "folder.pt").mkdir()
    (folder / "linked.pt").symlink_to(folder / "folder.pt")
    os.mkfifo(folder / "pipe.pt")
    (folder / "device.pt").symlink_to("/dev/null")
    for name, words in [("folder", "is a directory"), ("linked", "is a directory"), ("pipe", "is a device or a pipe"),
                        ("device", "is a device or a pipe")]:  # fmt: skip
        with pytest.raises(wp.UsageError, match=words):
            wp.convert(source, folder / f"{name}.pt", overwrite=overwrite)
    assert names(folder) == ["device.pt", "folder.pt", "linked.pt", "pipe.pt"]


def test_a_folder_that_others_made_in_our_name_is_not_followed(source: Path, folder: Path, tmp_path: Path) -> None:
    """Whoever can write into the folder could have our temporary files written elsewhere, or ours removed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "keep").write_text("keep")
    with staged(folder / "out.pt", overwrite=False) as path:
        hidden = path.parent
        path.write_bytes(b"x")
    (folder / "out.pt").unlink()
    hidden.symlink_to(elsewhere)
    with pytest.raises(wp.WeightportError, match=r"out\.pt: cannot be written"):
        wp.convert(source, folder / "out.pt")
    assert names(elsewhere) == ["keep"]


def test_a_journal_that_others_wrote_removes_nothing_of_theirs(source: Path, folder: Path) -> None:
    with staged(folder / "out.pt", overwrite=False) as path:
        hidden = path.parent
        path.write_bytes(b"x")
    for name in ("letter.txt", "out.pt", "out-of-it"):
        (folder / name).write_text("keep")
    hidden.mkdir(mode=0o700)
    listed = ["letter.txt", "../targets/letter.txt", "/etc/passwd", "out.pt", 7, None, ""]
    for journal in (".journal.json", ".replaced.json"):
        (hidden / journal).write_text(json.dumps(listed))
    wp.convert(source, folder / "out.pt", overwrite=True)
    assert names(folder) == ["letter.txt", "out-of-it", "out.pt"]
    assert (folder / "letter.txt").read_text() == "keep"


def test_what_a_killed_process_left_is_cleared_by_the_next(source: Path, folder: Path) -> None:
    with staged(folder / "out.pt", overwrite=False) as path:
        hidden = path.parent
        path.write_bytes(b"x")
    (folder / "out.pt").unlink()
    hidden.mkdir()
    (hidden / "out.pt").write_bytes(b"half")
    (hidden / "deep").mkdir()
    (hidden / "deep" / "er").write_bytes(b"half")
    wp.convert(source, folder / "out.pt")
    assert names(folder) == ["out.pt"]


def test_a_target_that_is_being_written_is_left_to_whoever_writes_it(source: Path, folder: Path) -> None:
    with staged(folder / "out.pt", overwrite=False) as path:
        path.write_bytes(b"first")
        with pytest.raises(wp.RefusedError, match=r"out\.pt: another process is writing it"):
            wp.convert(source, folder / "out.pt")
        wp.convert(source, folder / "another.pt")
    assert (folder / "out.pt").read_bytes() == b"first"


def test_where_files_cannot_be_locked_a_leftover_is_not_taken_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fcntl", None)
    with staged(folder / "out.pt", overwrite=False) as path:
        path.write_bytes(b"first")
        with pytest.raises(wp.RefusedError, match="another process"), staged(folder / "out.pt", overwrite=True):
            pass
    assert names(folder) == ["out.pt"]


def test_a_file_that_comes_into_being_meanwhile_is_not_replaced_unasked(folder: Path) -> None:
    problem = pytest.raises(wp.RefusedError, match=r"out\.pt: exists already")
    with problem, staged(folder / "out.pt", overwrite=False) as path:
        path.write_bytes(b"ours")
        (folder / "out.pt").write_bytes(b"theirs")
    assert (folder / "out.pt").read_bytes() == b"theirs"
    assert names(folder) == ["out.pt"]


def test_where_there_are_no_hard_links_files_are_moved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*arguments: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(publishing.os, "link", no_links)
    with staged(folder / "out.pt", overwrite=False) as path:
        path.write_bytes(b"ours")
        path.with_name("out.pt.data").write_bytes(b"more")
    assert names(folder) == ["out.pt", "out.pt.data"]
    problem = pytest.raises(wp.RefusedError, match=r"out\.pt\.data: has come into being")
    with problem, staged(folder / "out.pt", overwrite=True) as path:
        path.write_bytes(b"new")
        path.with_name("out.pt.data").write_bytes(b"new")
    assert (folder / "out.pt").read_bytes() == b"ours"
    assert (folder / "out.pt.data").read_bytes() == b"more"


def test_messages_name_the_target_and_not_the_hidden_folder(
    source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(wp.WeightportError) as caught:
        wp.convert(source, folder / "out.pt")
    assert str(caught.value).startswith(f"{folder / 'out.pt'}: cannot write")
    assert names(folder) == []


def test_shards_of_an_old_index_go_when_the_new_one_is_there(source: Path, folder: Path) -> None:
    tensors = {f"l{n}.weight": np.full((4, 4), n, np.float32) for n in range(5)}
    save_file(tensors, source)
    index = folder / "m.safetensors.index.json"
    for size, count in (("64", 5), ("128", 3), ("1KB", 1)):
        wp.convert(source, index, shard_size=size, overwrite=True)
        shards = set(json.loads(index.read_text())["weight_map"].values())
        assert len(shards) == count
        assert {*shards, index.name} == set(names(folder))
    (shard,) = shards
    assert set(load_file(folder / shard)) == set(tensors)
    (folder / "m-00001-of-00002.safetensors").write_text("of another model")
    wp.convert(source, folder / "n.safetensors.index.json", shard_size="1KB")
    assert (folder / "m-00001-of-00002.safetensors").exists()


def test_external_data_of_an_old_graph_goes_when_the_new_one_is_there(source: Path, folder: Path) -> None:
    external_onnx(folder / "template.onnx")
    before = names(folder)
    for _ in range(3):
        wp.convert(source, folder / "out.onnx", into=folder / "template.onnx", overwrite=True)
        added = set(names(folder)) - set(before)
        assert len(added) == 2
        assert all(re.fullmatch(r"out\.onnx(\.2)?(\.data)?", name) for name in added)
        assert wp.open(folder / "out.onnx").tensors["kernel"].read().tolist() == honest.KERNEL.tolist()
    wp.convert(source, folder / "out.onnx", into=folder / "out.onnx", overwrite=True)
    assert wp.open(folder / "out.onnx").tensors["bias"].read().tolist() == honest.BIAS.tolist()


def test_the_longest_name_that_a_file_can_have_is_written(source: Path, folder: Path) -> None:
    target = folder / ("n" * 250 + ".pt")
    wp.convert(source, target)
    assert names(folder) == [target.name]
    assert staging.companion_names(folder / "x", lambda mark: [f"x{mark}"], "x") == ["x"]


def test_a_command_that_is_asked_to_end_clears_what_it_has_begun(source: Path, folder: Path) -> None:
    code = """
import sys, time
from weightport import staging
from weightport.cli import main

def never(*arguments, **options):
    print("writing", flush=True)
    time.sleep(60)

staging.publish = never
sys.argv = ["weightport", "convert", *sys.argv[1:]]
main()
"""
    command = [sys.executable, "-c", code, str(source), str(folder / "out.pt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        assert len(names(folder)) == 1
        process.terminate()
        assert process.wait() == 128 + signal.SIGTERM
    assert names(folder) == []

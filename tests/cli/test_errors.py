"""Bad input gets one clear line that says what, where and what to do; the target stays as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file


def line_of(result):
    """The one line on standard error."""
    assert result.out == ""
    lines = result.err.strip().splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("weightport: ")
    assert "Traceback" not in lines[0]
    return lines[0]


def encrypted_zip(path):
    """An archive whose only member says that it is encrypted."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"secret")
    raw = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(signature) + offset] |= 1
    path.write_bytes(raw)


def pickle_with_code(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"cposix\nsystem\n(S'touch pwned'\ntR.")
        archive.writestr("archive/version", b"3\n")


BAD_FILES = {
    "missing.pt": (None, "no such file", 2),
    "folder.pt": (lambda path: path.mkdir(), "is a directory", 1),
    "empty.pt": (lambda path: path.write_bytes(b""), "is empty", 1),
    "text.pt": (lambda path: path.write_text("not a checkpoint"), "not a checkpoint", 1),
    "encrypted.pt": (encrypted_zip, "encrypted", 1),
    "code.pt": (pickle_with_code, "posix.system", 1),
}


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("command", ["inspect", "convert"])
def test_a_bad_source_is_one_line(name, command, tmp_path, weightport):
    make, words, status = BAD_FILES[name]
    if make:
        make(tmp_path / name)
    before = sorted(tmp_path.iterdir())
    target = (tmp_path / "out.safetensors",) if command == "convert" else ()
    result = weightport(command, tmp_path / name, *target)
    assert words in line_of(result)
    assert name in line_of(result)
    assert result.status == status
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_one_line(share, keras_file, tmp_path, weightport):
    content = keras_file.read_bytes()
    (tmp_path / "cut.keras").write_bytes(content[: int(len(content) * share)])
    result = weightport("convert", tmp_path / "cut.keras", tmp_path / "out.pt")
    assert result.status == 1
    assert "cut.keras" in line_of(result)
    assert not (tmp_path / "out.pt").exists()


def test_a_suffix_that_names_no_format_lists_those_that_do(torch_file, tmp_path, weightport):
    result = weightport("convert", torch_file, tmp_path / "model.bin")
    assert result.status == 2
    assert ".safetensors" in line_of(result)


def test_an_existing_target_is_not_replaced_unasked(torch_file, tmp_path, weightport):
    target = tmp_path / "out.pt"
    target.write_text("precious")
    result = weightport("convert", torch_file, target)
    assert result.status == 1
    assert "--overwrite" in line_of(result)
    assert target.read_text() == "precious"
    assert weightport("convert", torch_file, target, "--overwrite").status == 0
    assert target.read_bytes()[:2] == b"PK"


@pytest.mark.parametrize("target", ["out.keras", "out.onnx", "out.h5"])
def test_a_way_that_needs_a_template_says_so_in_one_line(target, torch_file, tmp_path, weightport):
    result = weightport("convert", torch_file, tmp_path / target)
    assert result.status == 1
    assert "--into TEMPLATE" in line_of(result)
    assert not (tmp_path / target).exists()


def test_shapes_that_fit_no_layout_are_named(tmp_path, weightport):
    shapes = {"weight_ih_l0": (24, 4), "weight_hh_l0": (24, 6), "bias_ih_l0": (20,), "bias_hh_l0": (24,)}
    save_file({f"rnn.{name}": np.ones(shape, np.float32) for name, shape in shapes.items()}, tmp_path / "m.safetensors")
    result = weightport(
        "convert", tmp_path / "m.safetensors", tmp_path / "out.pt", "--into", tmp_path / "m.safetensors"
    )
    assert result.status == 1
    for word in ("bias_ih_l0", "20", "24", "'rnn'"):
        assert word in line_of(result)


def test_unused_and_unfilled_tensors_are_listed_together(torch_file, tmp_path, weightport):
    save_file({"extra.weight": np.ones((3, 3), np.float32)}, tmp_path / "twin.safetensors")
    result = weightport("convert", torch_file, tmp_path / "out.pt", "--into", tmp_path / "twin.safetensors")
    assert result.status == 1
    for name in ("unused: lstm.weight_ih_l0", "unused: head.bias", "unfilled: extra.weight", "--allow-missing"):
        assert name in result.err
    assert not (tmp_path / "out.pt").exists()


def test_nan_is_carried_and_counted(tmp_path, weightport):
    values = np.float32([[1, np.nan], [-0.0, np.inf]])
    values.view(np.uint32)[0, 1] = 0x7FC01234
    save_file({"head.weight": values}, tmp_path / "m.safetensors")
    result = weightport("convert", tmp_path / "m.safetensors", tmp_path / "out.safetensors")
    assert result.status == 0
    assert "head.weight has 1 NaN" in result.out
    from safetensors.numpy import load_file

    assert load_file(tmp_path / "out.safetensors")["head.weight"].tobytes() == values.tobytes()


def test_errors_as_json(tmp_path, weightport):
    result = weightport("inspect", tmp_path / "missing.pt", "--json")
    document = json.loads(result.out)
    assert "no such file" in document["error"]
    assert document["exit_status"] == result.status == 2


def test_wrong_usage_exits_with_two(torch_file, weightport):
    assert weightport("convert", torch_file).status == 2
    assert weightport("layouts", "nonesuch").status == 2
    assert weightport("explain", "keras.lstm", "torch.gru").status == 2
    assert weightport("edit", torch_file, "out.safetensors", "--set", "nonsense").status == 2


def test_debug_shows_the_traceback(tmp_path):
    command = [sys.executable, "-m", "weightport", "inspect", str(tmp_path / "missing.pt")]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (plain.returncode, plain.stdout) == (2, "")
    assert "Traceback" not in plain.stderr
    shown = subprocess.run([*command, "--debug"], capture_output=True, text=True, check=False)
    assert "Traceback" in shown.stderr


def test_a_reader_that_goes_away_is_no_error(torch_file):
    command = f"{sys.executable} -m weightport layouts | head -1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=os.environ, check=False)
    assert "Traceback" not in result.stderr
    assert "Error" not in result.stderr


def test_a_target_in_a_folder_that_is_not_there(torch_file, tmp_path, weightport):
    result = weightport("convert", torch_file, tmp_path / "no" / "where" / "out.pt")
    assert result.status == 2
    assert "does not exist" in line_of(result)


def test_a_refused_conversion_leaves_nothing_behind(keras_file, torch_file, tmp_path, weightport):
    assert weightport("convert", keras_file, tmp_path / "out.pt", "--into", torch_file).status == 1
    assert list(tmp_path.iterdir()) == [torch_file]

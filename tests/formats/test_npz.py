"""NumPy's .npz: what NumPy and MLX write is read bit for bit; NumPy loads what we write."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from torch_files import stored
from weightport.checkpoint import Contents
from weightport.errors import CheckpointError, RefusedError
from weightport.formats import format_of_file, format_of_suffix
from weightport.formats import npz as fmt

MLX = Path(__file__).parents[2] / "fixtures" / "mlx" / "types.npz"
TYPES = [
    "?",
    "i1",
    "<i2",
    ">i2",
    "<i4",
    ">i4",
    "i8",
    "u1",
    "<u2",
    "<u4",
    ">u8",
    "<f2",
    "<f4",
    ">f4",
    "<f8",
    ">f8",
    "<c8",
]


def values(contents: Contents) -> dict[str, np.ndarray]:
    return {name: tensor.read() for name, tensor in contents.tensors.items()}


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        fmt.read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def archive(path: Path, **arrays: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in arrays.items():
            file.writestr(f"{name}.npy", data)
    return path


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H" if version[0] == 1 else "<I", len(text)) + text + data


def plain(descr: str = "'<f4'", shape: str = "(2,)", fortran: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


# Reading


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", TYPES)
def test_an_array_of_every_type_and_order_is_read_as_numpy_reads_it(save: Any, dtype: str, tmp_path: Path) -> None:
    square = (np.arange(9).reshape(3, 3) * 1.5).astype(dtype)
    arrays = {
        "plain": square,
        "turned": np.asfortranarray(square),
        "deep": np.asfortranarray(np.ones((2, 3, 4), dtype)),
    }
    arrays |= {"scalar": np.array(3, dtype), "empty": np.zeros((0, 3), dtype), "params/d/kernel": square[:2]}
    save(tmp_path / "m.npz", **arrays)
    contents = fmt.read(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as expected:
        assert list(contents.tensors) == expected.files
        for name, array in values(contents).items():
            assert array.dtype == np.dtype(dtype).newbyteorder("<") == contents.tensors[name].dtype
            assert array.flags.c_contiguous
            assert array.tobytes() == expected[name].astype(array.dtype).tobytes()
    assert (contents.format, contents.framework, contents.ordered) == ("npz", "", False)


def test_what_mlx_wrote_is_read_and_bfloat16_is_itself() -> None:
    found = values(fmt.read(MLX))
    assert found["bfloat16"].dtype == ml_dtypes.bfloat16
    assert found["bfloat16"].astype(np.float32).tolist() == [[-2.0, -1.0, 0.0], [1.0, 2.0, 3.0]]
    assert found["float32"].tolist() == [[-2.0, -1.0, 0.0], [1.0, 2.0, 3.0]]
    assert found["float16"].dtype == np.float16
    assert found["scalar"].tolist() == 2.5
    assert format_of_file(MLX) is format_of_suffix(Path("x.npz")) is fmt


def test_large_arrays_are_mapped(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", w=np.ones((300, 300)))
    assert not fmt.read(tmp_path / "m.npz").tensors["w"].read().flags.owndata


def test_texts_beside_the_weights_are_no_tensors(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", w=np.ones(3), note="made by hand", when=np.datetime64("2026-01-01"))
    contents = fmt.read(tmp_path / "m.npz")
    assert list(contents.tensors) == ["w"]
    assert sorted(contents.description["skipped"]) == ["note", "when"]


# Writing


@pytest.mark.parametrize("dtype", TYPES)
def test_numpy_loads_what_is_written(dtype: str, tmp_path: Path) -> None:
    arrays = {"params/d/kernel": (np.arange(12).reshape(3, 4) * 1.5).astype(dtype), "ü": np.ones((), dtype)}
    arrays["empty"] = np.zeros((0, 2), dtype)
    tensors = [stored(array, name) for name, array in arrays.items()]
    fmt.write(tmp_path / "m.npz", tensors, template=None, metadata={"kept": "nowhere"})
    with np.load(tmp_path / "m.npz") as found:
        assert found.files == list(arrays)
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype.newbyteorder("<")
            assert np.array_equal(found[name], array)
    assert zipfile.ZipFile(tmp_path / "m.npz").testzip() is None


def test_bfloat16_is_written_as_numpy_and_mlx_write_it(tmp_path: Path) -> None:
    array = np.linspace(-1, 1, 6).reshape(2, 3).astype(ml_dtypes.bfloat16)
    fmt.write(tmp_path / "m.npz", [stored(array, "w")], template=None, metadata={})
    memory = io.BytesIO()
    np.save(memory, array)
    with zipfile.ZipFile(tmp_path / "m.npz") as file:
        assert file.read("w.npy") == memory.getvalue()
    assert fmt.read(tmp_path / "m.npz").tensors["w"].read().tobytes() == array.tobytes()


def test_a_templates_other_arrays_are_kept(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", a=np.ones(3), b=np.arange(3))
    fmt.write(tmp_path / "m.npz", [stored(np.zeros(3), "a")], template=fmt.read(tmp_path / "t.npz"), metadata={})
    found = {name: array.tolist() for name, array in values(fmt.read(tmp_path / "m.npz")).items()}
    assert found == {"a": [0, 0, 0], "b": [0, 1, 2]}


@pytest.mark.parametrize("name", ["../w", "/w", "a//b", "a\\b", "a\nb", "c:w"])
def test_a_name_that_leaves_the_archive_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"is no plain path, as \.npz needs it: rename the layer"):
        fmt.write(tmp_path / "m.npz", [stored(np.ones(3), name)], template=None, metadata={})


def test_a_type_that_the_format_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"'w' is float8_e4m3fn, which \.npz does not have; --dtype float32"):
        fmt.write(tmp_path / "m.npz", [stored(np.ones(3, ml_dtypes.float8_e4m3fn))], template=None, metadata={})


# Damaged and unsafe files

NO_HEADER, NOT_NUMPYS = "no header of a NumPy array", "a header that is not as NumPy writes it"
BAD = {
    "objects": (npy(plain("'|O'", "(1,)")), "array 'w' is an array of Python objects, which is a pickle and a program"),
    "fields": (npy(plain("[('a', '<f4'), ('b', '<f4')]")), "elements of several fields"),
    "an array in each element": (npy(plain("('<f4', (2,))")), "elements of several fields"),
    "bytes of an unknown type": (npy(plain("'|V1'", "(8,)"), bytes(8)), "elements of 1 bytes of which NumPy does not"),
    "fields in UTF-8": (npy(plain("[('\xc3\xa9', '<f4')]"), bytes(8), b"\x03\x00"), "elements of several fields"),
    "a version that is none": (npy(plain(), bytes(8), b"\x09\x00"), NO_HEADER),
    "a call in the header": (npy("__import__('os').system('true')"), NOT_NUMPYS),
    "a call for a shape": (npy(plain(shape="(exit(),)")), "elements of several fields|" + NOT_NUMPYS),
    "a header of brackets": (npy("(" * 9000), NOT_NUMPYS),
    "a shape of signs": (npy(plain(shape="(" + "-" * 9000 + "1,)")), "elements of several fields|" + NOT_NUMPYS),
    "a key twice": (npy("{'shape': (2,), 'shape': (2,), 'descr': '<f4'}"), NOT_NUMPYS),
    "a key too many": (npy(plain()[:-1] + "'more': 1, }"), NOT_NUMPYS),
    "a key too few": (npy("{'descr': '<f4', 'shape': (2,)}"), NOT_NUMPYS),
    "an end that is missing": (npy(plain()[:-2]), NOT_NUMPYS),
    "more after the end": (npy(plain() + "()"), NOT_NUMPYS),
    "a header beyond NumPy's bound": (npy(plain() + " " * 20_000, bytes(8)), NO_HEADER),
    "a length of a terabyte": (npy(plain(shape="(1099511627776,)")), "says that it is float32.*but it has"),
    "a length beyond all bounds": (npy(plain(shape=f"({10**19},)")), "says that it is .*damaged"),
    "a length of many digits": (npy(plain(shape=f"({10**30},)")), "a shape that is none"),
    "a length below zero": (npy(plain(shape="(-2,)"), bytes(8)), "several fields|" + NOT_NUMPYS),
    "a number for a shape": (npy(plain(shape="(2)"), bytes(8)), "a shape that is none"),
    "a text for a shape": (npy(plain(shape="'12'"), bytes(8)), "a shape that is none"),
    "an element too few": (npy(plain(), bytes(4)), r"float32\[2\], which with its header is .* bytes, but it has"),
    "an element too many": (npy(plain(), bytes(12)), "the file is damaged"),
    "a type that is none": (npy(plain("'<q9'"), bytes(8)), "elements of the type '<q9', which no tensor has"),
    "two types": (npy(plain("'f4,f4'"), bytes(8)), "elements of the type 'f4,f4', which no tensor has"),
    "nothing": (b"", NO_HEADER),
    "a magic that is cut": (b"\x93NUM", NO_HEADER),
}
OTHER_WRITERS = {
    "MLX": "{'descr': '<f4', 'fortran_order': False, 'shape': (2, )}    ",
    "Python 2": "{'descr': '<f4', 'fortran_order': False, 'shape': (2L,), }    ",
    "another order": "{ 'shape':(2,),'fortran_order':False , 'descr' :'<f4'}",
    "other quotes": '{"descr": "<f4", "fortran_order": True, "shape": (1, 2)}',
}


@pytest.mark.parametrize("header", OTHER_WRITERS.values(), ids=list(OTHER_WRITERS))
@pytest.mark.parametrize("version", [b"\x01\x00", b"\x02\x00", b"\x03\x00"], ids=["1.0", "2.0", "3.0"])
def test_what_other_writers_make_of_the_header_is_read_too(header: str, version: bytes, tmp_path: Path) -> None:
    data = np.float32([1.5, -2]).tobytes()
    tensor = fmt.read(archive(tmp_path / "m.npz", w=npy(header, data, version))).tensors["w"]
    assert tensor.read().ravel().tolist() == [1.5, -2]


@pytest.mark.parametrize("name", BAD)
def test_an_array_that_is_damaged_or_a_program_is_one_line(name: str, tmp_path: Path) -> None:
    data, words = BAD[name]
    assert re.search(words, refusal(archive(tmp_path / "m.npz", good=npy(plain(), bytes(8)), w=data)))


def test_a_changed_byte_is_found_by_its_checksum(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", w=np.arange(1000.0))
    data = bytearray((tmp_path / "m.npz").read_bytes())
    data[5000] ^= 1
    (tmp_path / "m.npz").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"member 'w\.npy' has checksum .*the file is damaged"):
        fmt.read(tmp_path / "m.npz").tensors["w"].read()


def test_archives_of_other_things_are_not_taken_for_arrays(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("w.npy", npy(plain(), bytes(8)))
        file.writestr("readme.txt", b"x")
    for path in (tmp_path / "x.zip", archive(tmp_path / "empty.npz")):
        assert not fmt.recognises(path, path.read_bytes()[:64])

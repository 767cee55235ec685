"""PyTorch's ``.pt`` and ``.pth``: the state dict that ``torch.save`` writes, read without running its pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..checkpoint import Contents, Output
from ..errors import CheckpointError
from ._template import with_template
from ._torch_archive import is_archive, read_archive
from ._torch_legacy import is_legacy, read_legacy
from ._torch_pickle_write import state_dict_pickle
from ._torch_tensors import tied_names
from ._zip import SIGNATURE, open_directory
from ._zip_write import Content, write_archive

NAME = "pt"
FRAMEWORK = "torch"
SUFFIXES: tuple[str, ...] = (".pt", ".pth")

_ROOT = "archive"
_FORMAT_VERSION = b"3\n"
_HEAD_BYTES = 512
_TAR, _TAR_OFFSET = b"ustar", 257
_PICKLE_PROTOCOLS = range(2, 6)


def recognises(path: Path, head: bytes) -> bool:
    """A zip archive with PyTorch's members, a damaged zip archive, a pickle, or a tar archive.

    The last two are recognised so that reading them can say what they are."""
    if head.startswith(SIGNATURE):
        try:
            return is_archive(open_directory(path).members)
        except CheckpointError:
            return True
    return _is_pickle(head) or _is_tar(path)


def read(path: Path) -> Contents:
    """The tensors of the state dict in the file, which may be nested one level, as training scripts save it.

    What else was saved is left out; ``description["skipped"]`` has what it was, by name."""
    head = _head(path)
    if head.startswith(SIGNATURE):
        state, tensors = read_archive(path)
    elif is_legacy(head):
        state, tensors = read_legacy(path)
    else:
        raise CheckpointError(f"{path}: {_foreign(path, head)}")
    return Contents(
        origin=str(path),
        format=NAME,
        framework=FRAMEWORK,
        tensors=tensors,
        description={"key": state.key, "skipped": dict(state.skipped), "tied": tied_names(state.tensors)},
    )


def write(path: Path, tensors: Sequence[Output], *, template: Contents | None, metadata: Mapping[str, str]) -> None:
    """Write a plain state dict, with the template's other tensors where there is a template.

    What a template has beside its state dict (an epoch, an optimizer) is not written, and a state dict that is nested
    in the template is not nested in ``path``."""
    del metadata  # the format has no place for text
    outputs = with_template(tensors, template)
    members: list[tuple[str, Content]] = [
        (f"{_ROOT}/data.pkl", state_dict_pickle(outputs)),
        (f"{_ROOT}/byteorder", b"little"),
        *((f"{_ROOT}/data/{number}", output) for number, output in enumerate(outputs)),
        (f"{_ROOT}/version", _FORMAT_VERSION),
    ]
    write_archive(path, members)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error


def _foreign(path: Path, head: bytes) -> str:
    if _is_tar(path):
        return (
            "a tar archive; unpack it, or if PyTorch before 0.2 wrote it, load it there and save the state dict again"
        )
    if _is_pickle(head):
        return "a plain pickle and no PyTorch file: weightport does not unpickle; save the state dict with torch.save"
    return "not a PyTorch file" if head else "the file is empty"


def _is_pickle(head: bytes) -> bool:
    return len(head) > 2 and head[0] == 0x80 and head[1] in _PICKLE_PROTOCOLS


def _is_tar(path: Path) -> bool:
    head = _head(path)
    return head[_TAR_OFFSET : _TAR_OFFSET + len(_TAR)] == _TAR

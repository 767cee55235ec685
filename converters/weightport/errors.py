"""The errors that weightport raises: one root, and a text that is one line saying what, where and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class WeightportError(Exception):
    """The root of every error that weightport raises on purpose. Its text is for the user.

    The text is one line of printable characters, whatever the names in a file are made of. ``exit_status`` is what the
    command line exits with: 1 for a refusal, 2 for wrong usage.
    """

    exit_status = 1

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class UsageError(WeightportError):
    """The call itself is wrong: an unknown framework, a suffix that names no format, options that contradict."""

    exit_status = 2


class LayoutError(WeightportError):
    """A mistake in a layout file, a kind or the axes notation, or tensors that do not fit their layout."""


class UnknownSizeError(LayoutError):
    """Tensors that fit their layout, but do not tell the size of ``axis``: the other side of a conversion may."""

    def __init__(self, message: str, axis: str = "") -> None:
        super().__init__(message)
        self.axis = axis


class CheckpointError(WeightportError):
    """A file that cannot be read as the checkpoint it claims to be: damaged, foreign, encrypted or unsafe."""


class RefusedError(WeightportError):
    """A conversion that would be wrong or incomplete. ``problems`` has every reason, one line each."""

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(map(printable, problems))

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *(f"  - {problem}" for problem in self.problems)])


def printable(text: str) -> str:
    """The text with everything that is no printable character as its escape: a name in a file may hold line ends,
    commands to a terminal, and marks that turn the direction of writing."""
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in text)

"""The errors that weightport raises: one root, and a text that is one line saying what, where and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class WeightportError(Exception):
    """The root of every error that weightport raises on purpose. Its text is for the user.

    ``exit_status`` is what the command line exits with: 1 for a refusal, 2 for wrong usage.
    """

    exit_status = 1


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
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *(f"  - {problem}" for problem in self.problems)])

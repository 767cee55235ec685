"""``assert_parity``: the check for a test, whose failure shows the table and the causes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..mapping import NameMap
from ..opening import PathLike
from .inputs import LENGTHS
from .result import Parity
from .verification import verify


def assert_parity(
    a: Any,
    b: Any,
    inputs: Any = None,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    lengths: Sequence[int] = LENGTHS,
    layers: bool = True,
    mapping: PathLike | Mapping[str, str] | NameMap | None = None,
    allow: Iterable[str] = (),
    depth: str = "model",
) -> Parity:
    """Raise AssertionError unless ``a`` and ``b`` compute the same; parameters as of :func:`weightport.verify`.

    ``depth`` is what has to be reached: by default both whole models must have run, so that a test cannot pass because
    a framework is missing. ``"weights"`` asks for no framework."""
    __tracebackhide__ = True
    parity = verify(
        a, b, inputs, rtol=rtol, atol=atol, seed=seed, lengths=lengths, layers=layers, mapping=mapping, allow=allow
    )
    wanted = next((found for found in parity.depths if found.name == depth), None)
    if wanted is None:
        raise ValueError(f"no depth {depth!r}; there are {', '.join(found.name for found in parity.depths)}")
    if not parity.passed or wanted.verdict == "not reached":
        raise AssertionError(failure_text(parity, depth))
    return parity


def failure_text(parity: Parity, depth: str) -> str:
    """The verdict, the table and the causes as text of 110 columns."""
    from io import StringIO

    from rich.console import Console

    from .terminal import show_parity

    out = StringIO()
    show_parity(Console(file=out, width=110, color_system=None, highlight=False), parity)
    missed = [found for found in parity.depths if found.name == depth and found.verdict == "not reached"]
    lines = [f"the {found.name} depth was not reached: {found.reason}" for found in missed]
    return "\n".join([*lines, out.getvalue().rstrip()])

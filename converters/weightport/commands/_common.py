"""What every command has: --json, --debug, errors as one line and an exit status, progress."""

from __future__ import annotations

import functools
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from ..errors import WeightportError

Command = TypeVar("Command", bound=Callable[..., Any])
INTERRUPTED = 130
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\n]")
"""What may steer a terminal; of this, what is printable all the same stays as it is."""


def with_json(function: Command) -> Command:
    """Give a command --json and --debug, and end it with an exit status and one line where it fails."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(function)
    def wrapped(*args: Any, as_json: bool, debug: bool, **options: Any) -> None:
        try:
            function(*args, as_json=as_json, **options)
        except WeightportError as error:
            if debug:
                raise
            _fail(str(error), error.exit_status, as_json, list(getattr(error, "problems", ())))
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(1)
        except KeyboardInterrupt:
            _fail("interrupted; nothing was written", INTERRUPTED, as_json)
        except Exception as error:
            if debug:
                raise
            text = " ".join(str(error).split())
            _fail(f"internal error, please report it: {type(error).__name__}: {text} (--debug shows more)", 1, as_json)

    return wrapped  # type: ignore[return-value]


with_architecture = click.option(
    "--architecture",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What model.to_json() gave, for Keras weights without it.",
)
"""Give a command --architecture."""


@contextmanager
def progress_bar(*, quiet: bool, task: str = "converting") -> Iterator[Callable[[str, int, int], None] | None]:
    """A bar on standard error for long work; none where nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        running = bar.add_task(task, total=None)
        yield lambda name, done, total: bar.update(running, description=name, completed=done, total=total)


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    click.echo(_UNPRINTABLE.sub(_escape, json.dumps(_plain(document), indent=2, ensure_ascii=False)))


def _fail(message: str, status: int, as_json: bool, problems: list[str] | None = None) -> None:
    click.echo(f"weightport: {message}", err=True)
    if as_json:
        first = message.split("\n", maxsplit=1)[0]
        print_json({"error": first, "problems": problems or [], "exit_status": status})
    sys.exit(status)


def _escape(found: re.Match[str]) -> str:
    return found.group() if found.group().isprintable() else json.dumps(found.group())[1:-1]


def _plain(value: Any) -> Any:
    """Values that JSON has: no NaN or infinity, no tuples, no mapping proxies."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value

"""The command line: each command parses, calls the library function of the same job, and shows what it returns."""

from __future__ import annotations

import functools
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click

from . import __version__
from .errors import UsageError, WeightportError

Command = TypeVar("Command", bound=Callable[..., Any])
INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="weightport")
def cli() -> None:
    """Move trained weights between Keras, PyTorch and ONNX, exactly, without running either framework.

    \b
    Examples:
      weightport convert model.keras model.safetensors
      weightport convert model.pt out.keras --into untrained.keras
      weightport inspect model.keras
      weightport inspect model.keras lstm
      weightport explain keras.lstm torch.lstm
    """


def _command(function: Command) -> Command:
    """What every command has: --json, --debug, and errors as one line and an exit status."""

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


def _fail(message: str, status: int, as_json: bool, problems: list[str] | None = None) -> None:
    click.echo(f"weightport: {message}", err=True)
    if as_json:
        first = message.split("\n", maxsplit=1)[0]
        _print_json({"error": first, "problems": problems or [], "exit_status": status})
    sys.exit(status)


@cli.command(short_help="Convert a checkpoint.")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--into", type=click.Path(path_type=Path), metavar="TEMPLATE", help="A file with the target's structure.")
@click.option(
    "--map", "mapping", type=click.Path(path_type=Path), metavar="FILE", help="Pairs of layer names, as TOML."
)
@click.option("--from", "from_framework", metavar="FRAMEWORK", help="Whose layouts the source follows.")
@click.option("--to", "to_framework", metavar="FRAMEWORK", help="Whose layouts the target follows.")
@click.option("--dtype", help="What floating-point tensors become (float16, bfloat16, float32 ...).")
@click.option("--allow", multiple=True, metavar="SETTING", help="Carry weights that need a setting the target lacks.")
@click.option("--allow-unused", multiple=True, metavar="GLOB", help="Source tensors that may stay behind.")
@click.option("--allow-missing", multiple=True, metavar="GLOB", help="Target tensors that may keep their values.")
@click.option("--dry-run", is_flag=True, help="Print the plan and write nothing.")
@click.option("--overwrite", is_flag=True, help="Replace an existing target.")
@_command
def convert(source: Path, target: Path, *, as_json: bool, dry_run: bool, **options: Any) -> None:
    """Convert the checkpoint SOURCE into TARGET, whose suffix says its format.

    \b
    .keras .weights.h5 .h5           Keras      (needs --into, unless the source is Keras)
    .pt .pth .safetensors            PyTorch
    .onnx                            ONNX       (needs --into)

    \b
    Examples:
      weightport convert model.keras model.safetensors
      weightport convert model.onnx model.pt
      weightport convert model.pt trained.keras --into untrained.keras
      weightport convert model.keras model.safetensors --dry-run
    """
    from .conversion import convert as run

    with _progress(quiet=as_json or dry_run) as progress:
        report = run(source, target, dry_run=dry_run, progress=progress, **options)
    if as_json:
        _print_json({**report.to_json(), **({"plan": report.plan.to_json()} if dry_run else {})})
        return
    from .show import console, show_plan, show_report

    if dry_run:
        show_plan(console(), report.plan)
    show_report(console(), report)


@cli.command(short_help="Show what a checkpoint holds.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("layer", required=False)
@click.option("--from", "framework", metavar="FRAMEWORK", help="Whose layouts the file follows.")
@_command
def inspect(file: Path, layer: str | None, *, framework: str | None, as_json: bool) -> None:
    """Show the layers of FILE: kinds, shapes, dtypes, roles and gate order. With LAYER, its gates apart.

    \b
    Examples:
      weightport inspect model.keras
      weightport inspect model.keras lstm
      weightport inspect model.pt --json
    """
    from .inspection import inspect_gates, inspect_layers
    from .opening import open_checkpoint

    checkpoint = open_checkpoint(file, framework)
    if layer is not None:
        blocks = inspect_gates(checkpoint, layer)
        if as_json:
            _print_json({"layer": layer, "blocks": [asdict(block) for block in blocks]})
            return
        from .show import console, show_gates

        show_gates(console(), layer, blocks)
        return
    layers = inspect_layers(checkpoint)
    if as_json:
        contents, structure = checkpoint.contents, checkpoint.structure
        facts = {"file": contents.origin, "format": contents.format, "framework": checkpoint.framework}
        listed = {"skipped": dict(structure.skipped), "unknown": dict(structure.unknown)}
        _print_json({**facts, "layers": [asdict(info) for info in layers], **listed})
        return
    from .show import console, show_layers

    show_layers(console(), checkpoint, layers)


@cli.command(short_help="Set one gate's weights to a value.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "assignments",
    multiple=True,
    required=True,
    metavar="'LAYER.ROLE[LABEL]=VALUE'",
    help="Which block becomes which value; may be given several times.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing OUT.")
@_command
def edit(file: Path, out: Path, *, assignments: tuple[str, ...], overwrite: bool, as_json: bool) -> None:
    """Write FILE to OUT with blocks of weights set to a value; everything else is carried bit for bit.

    \b
    Examples:
      weightport edit model.keras patient.keras --set 'lstm.bias[forget]=5.0'
      weightport edit model.pt out.pt --set 'rnn.bias[forget, layer 0]=1' --set 'rnn.bias[forget, layer 1]=1'
    """
    from .editing import edit as run

    done = run(file, out, assignments, overwrite=overwrite)
    if as_json:
        _print_json({"file": str(file), "out": str(out), "set": done})
        return
    for line in done:
        click.echo(line)


@cli.command(short_help="List or describe layouts.")
@click.argument("name", required=False, metavar="[FRAMEWORK[.KIND]]")
@_command
def layouts(name: str | None, *, as_json: bool) -> None:
    """List how each framework stores each kind of layer; with FRAMEWORK.KIND, one of them in full.

    \b
    Examples:
      weightport layouts
      weightport layouts torch
      weightport layouts onnx.lstm
    """
    from .layouts import all_layouts, framework_files, layout_named, layouts_of

    if name and "." in name:
        chosen = [layout_named(name)]
    else:
        chosen = list((layouts_of(name) if name else all_layouts()).values())
        if not chosen:
            raise UsageError(f"no framework {name!r} has layouts; known are {', '.join(framework_files())}")
    if as_json:
        _print_json({"layouts": [layout.to_json() for layout in chosen]})
        return
    from .show import console, show_layout, show_layouts

    if name and "." in name:
        show_layout(console(), chosen[0])
    else:
        show_layouts(console(), chosen)


@cli.command(short_help="Show how one layout becomes another.")
@click.argument("source", metavar="SOURCE.KIND")
@click.argument("target", metavar="TARGET.KIND")
@click.option("--with", "settings", multiple=True, metavar="SETTING=VALUE", help="Of a layer that has this setting.")
@click.option("--svg", type=click.Path(path_type=Path), metavar="FILE", help="Draw it into an SVG file, too.")
@click.option("--overwrite", is_flag=True, help="Replace an existing FILE.")
@_command
def explain(
    source: str, target: str, *, settings: tuple[str, ...], svg: Path | None, overwrite: bool, as_json: bool
) -> None:
    """Show how SOURCE becomes TARGET on a small layer: blocks, order, transposition, what folds, what is refused.

    \b
    Examples:
      weightport explain keras.lstm torch.lstm
      weightport explain keras.gru torch.gru --with reset=before
      weightport explain keras.lstm onnx.lstm --svg lstm.svg
    """
    from .explain import explain as run

    explanation = run(source, target, **dict(map(_setting, settings)))
    if svg is not None:
        from .picture import explanation_svg
        from .staging import staged

        with staged(svg, overwrite=overwrite) as path:
            path.write_text(explanation_svg(explanation), encoding="utf-8")
    if as_json:
        _print_json(explanation.to_json())
        return
    from .show import console, show_explanation

    show_explanation(console(), explanation)


def main() -> None:
    """The entry point."""
    cli()


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--with {text!r}: write SETTING=VALUE, as in reset=before")
    return name.strip(), {"true": True, "false": False}.get(value.strip(), value.strip())


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None] | None]:
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
        task = bar.add_task("converting", total=None)
        yield lambda name, done, total: bar.update(task, description=name, completed=done, total=total)


def _print_json(document: Any) -> None:
    click.echo(json.dumps(_plain(document), indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    """Values that JSON has: no NaN or infinity, no tuples, no mapping proxies."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value

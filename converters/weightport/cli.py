"""The command line: each command parses, calls the library function of the same job, and shows what it returns."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from . import __version__
from .commands import command_named, command_names


class _Commands(click.Group):
    """The commands of the folder ``commands``; one is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return command_names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return command_named(cmd_name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
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


def main() -> None:
    """The entry point. A request to end is followed like Ctrl-C: what is half written is cleared away."""
    signal.signal(signal.SIGTERM, _terminated)
    cli(prog_name="weightport")


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    sys.exit(128 + number)

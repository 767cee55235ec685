"""The command line in this process."""

from __future__ import annotations

import pytest
from click.testing import CliRunner


@pytest.fixture
def weightport():
    """Runs a command line; fails the test where it does not exit with the expected status. Returns stdout and all."""
    from weightport.cli import cli

    def run(*arguments, status=0):
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
        assert result.exit_code == status, result.output
        return result

    return run

"""Live tests run the real frameworks on both ends of a conversion that the command line made."""

from __future__ import annotations

import pytest
from click.testing import CliRunner


@pytest.fixture
def weightport():
    """Runs a command line in this process; fails the test where it does not exit with the expected status."""
    from weightport.cli import cli

    def run(*arguments, status=0):
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
        assert result.exit_code == status, result.output
        return result.output

    return run

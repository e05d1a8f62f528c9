"""The command line as tests of its commands call it."""

import pytest

from flows import cli


@pytest.fixture
def run(capsys):
    """Run the command line; gives status, output and errors."""

    def call(*arguments):
        status = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call

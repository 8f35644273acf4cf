"""Output whose reader has had enough, as under `| head -1`, ends a command without a word."""

import os
import subprocess
import sys

import pytest

COMMAND = (sys.executable, "-c", "from hfpipe.cli import main; main()")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_had_enough_ends_a_command_quietly(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    ending = subprocess.run([*COMMAND, "recipes"], stdout=writing, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(writing)
    assert (ending.returncode, ending.stderr) == (141, b"")

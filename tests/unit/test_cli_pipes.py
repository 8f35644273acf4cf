"""Output that cannot be written: to a reader that has had enough, as under `| head -1`, or to a full disk."""

import csv
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import classifier_run, hfpipe, write_csv  # noqa: F401

COMMAND = (sys.executable, "-c", "from hfpipe.cli import main; main()")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_had_enough_ends_a_command_quietly(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    ending = subprocess.run([*COMMAND, "recipes"], stdout=writing, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(writing)
    assert (ending.returncode, ending.stderr) == (141, b"")


def test_predict_quotes_every_line_end_and_tells_a_file_that_cannot_grow(
    classifier_run: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [("1", "good\rbad"), ("2", "good\nbad"), ("3", "good\r\nbad")]
    file, output = write_csv(tmp_path / "in.csv", ("id", "review"), rows), tmp_path / "out.csv"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    code = hfpipe("predict", classifier_run, file, "--output", output)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 2
    assert f"--output {output}: cannot be written (File too large); make room" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]
    assert hfpipe("predict", classifier_run, file, "--output", output) == 0
    with output.open(newline="", encoding="utf-8") as scored:
        assert [(row["id"], row["review"]) for row in csv.DictReader(scored)] == rows
    assert output.read_bytes().splitlines(keepends=True)[0].endswith(b"probability_pos\n")

"""What only the first process writes before the first step: where it cannot, the others hear of it and do not wait."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from test_resume import classifier_settings
from trials import run_trial


def refuse_writing(name: str, time: int) -> None:
    """In a trial: fill the disk for the first process at the n-th time it writes `name`; the second hears of nothing.

    It has no connection by which it would be told that another process leaves.
    """
    left = [time]

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if event == "socket.connect" and os.environ["RANK"] == "1":
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        if event == "os.rename" and os.environ["RANK"] == "0" and str(arguments[1]).endswith(name):
            left[0] -= 1
            if left[0] == 0:
                raise OSError(errno.ENOSPC, "No space left on device")

    sys.addaudithook(refuse)


# The record: as it begins, with examples of labels, with texts that were cut, with the model, with the rows.
@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("run/inference.json", 1),
        *(pytest.param("run/run.json", time, marks=pytest.mark.slow) for time in (1, 2, 3, 4)),
        ("run/run.json", 5),
    ],
)
def test_a_full_disk_of_the_first_process_ends_both(
    name: str, time: int, checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = {**classifier_settings(reviews_csv(44), checkpoints("bert")), "output_dir": tmp_path / "run"}
    ending = run_trial(
        "finetune_classifier", settings, processes=2, prepare=refuse_writing, prepare_arguments=(name, time)
    )
    assert ending.codes == (2, 2), ending.output
    assert not ending.traceback
    assert "the loss of a process will be noticed late" in ending.output
    assert f"{tmp_path}/{name}: " in ending.output
    assert "the disk is full" in ending.output

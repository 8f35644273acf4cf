"""What a run at work keeps for the next start: a second checkpoint to go on from, and its directory to itself."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import run_recipe_here
from interruption import interrupted_after, killed_before_writing
from test_resume import classifier_settings

from hfpipe.errors import CheckpointError, Stopped
from hfpipe.records import run_lock
from hfpipe.records.run_directory import read_json

HOLD = "import sys; from pathlib import Path; from hfpipe.records.run_lock import RunLock\n"
HOLD += "lock = RunLock(Path(sys.argv[1])); lock.hold(); print('held', flush=True); sys.stdin.read()"


def test_a_checkpoint_is_kept_together_with_its_best(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = {**classifier_settings(reviews_csv(44), checkpoints("bert")), "learning_rate": 1e-2}
    settings |= {"output_dir": tmp_path / "run", "save_total_limit": 2}
    with interrupted_after(6), pytest.raises(Stopped) as stop:
        run_recipe_here("finetune_classifier", settings)
    assert stop.value.step == 5, "a stop between two evaluations"
    # step 6 is the best by then, and step 5 would need the best before
    with killed_before_writing("checkpoint-8"), pytest.raises(KeyboardInterrupt):
        run_recipe_here("finetune_classifier", settings)
    kept = {
        path: read_json(path / "trainer_state.json") for path in (tmp_path / "run/checkpoints").glob("checkpoint-*")
    }
    assert {path.name: state["best_global_step"] for path, state in kept.items()} == {
        "checkpoint-4": 4,
        "checkpoint-6": 6,
    }


@pytest.mark.parametrize("changed", [{}, {"fresh_start": "true"}])
def test_a_run_at_work_is_neither_gone_on_with_nor_moved_aside(
    changed: dict[str, str],
    checkpoints: Callable[[str], Path],
    reviews_csv: Callable[[int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_lock, "SECONDS_FOR_THE_DEAD", 0.0)
    run = tmp_path / "run"
    settings = {**classifier_settings(reviews_csv(44), checkpoints("bert")), "output_dir": run}
    with interrupted_after(1), pytest.raises(Stopped):
        run_recipe_here("finetune_classifier", settings)
    before = sorted(tmp_path.rglob("*"))
    command = [sys.executable, "-c", HOLD, str(run)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(CheckpointError, match=f"process {other.pid} on .* is at work in this run"):
            run_recipe_here("finetune_classifier", settings | changed)
        assert sorted(tmp_path.rglob("*")) == before
        other.kill()
    run_recipe_here("finetune_classifier", settings | changed)

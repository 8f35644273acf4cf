"""Whole runs without pickle: nothing is unpickled in any of their processes, and no file they leave is one.

What multiprocessing itself does to hand work to data loader workers (`dataloader_num_workers`) is between processes of
one run and is not counted, nor is what launchers tell each other.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, run_recipe_here
from hub_server import WRITE_TOKEN, HubServer
from pickle_watch import watch_to_file, watching
from test_resume import classifier_settings, language_model_settings
from trials import run_trial
from typer.testing import CliRunner

from hfpipe.cli import app
from hfpipe.pickles import begins_so, is_named_so
from hfpipe.records.run_directory import read_json

RUN_FOLDERS = (ROOT / "tests" / "recipes" / "watched", ROOT / "tests" / "unit")


def watched(folder: Path) -> dict[str, str]:
    """Return the environment under which every Python that a run starts watches itself."""
    return {"PICKLE_WATCH": str(folder / "seen.txt"), "PYTHONPATH": os.pathsep.join(map(str, RUN_FOLDERS))}


def run_watched(recipe: str, settings: Mapping[str, Any], folder: Path, *, processes: int) -> list[str]:
    """Run a recipe to its end and return what its processes did with pickle; it is sure that all of them watched."""
    seen = folder / "seen.txt"
    seen.unlink(missing_ok=True)
    ending = run_trial(
        recipe,
        settings,
        processes=processes,
        prepare=watch_to_file,
        prepare_arguments=(str(seen),),
        environment=watched(folder),
    )
    assert ending.codes == (0,) * processes, ending.output
    lines = seen.read_text().splitlines()
    assert sum(line.endswith(" watches") for line in lines) >= processes
    return [line for line in lines if not line.endswith(" watches")]


def check_files(folder: Path) -> int:
    """Assert that no file below `folder` is a pickle by name or content; return how many there are."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if is_named_so(path.name) or begins_so(path.read_bytes()[:8])] == []
    return len(files)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_classifier_is_trained_and_gone_on_with_without_pickle(
    processes: int, checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = {**classifier_settings(reviews_csv(44), checkpoints("bert")), "output_dir": tmp_path / "run"}
    settings |= {"num_train_epochs": 1, "lr_scheduler_type": "constant", "use_cpu": "true"}
    settings |= {"load_best_model_at_end": "true", "test_file": reviews_csv(20)}
    assert run_watched("finetune_classifier", settings, tmp_path, processes=processes) == []
    longer = {**settings, "num_train_epochs": 2}
    assert run_watched("finetune_classifier", longer, tmp_path, processes=processes) == []
    assert len(read_json(tmp_path / "run" / "run.json")["sessions"]) == 2
    assert check_files(tmp_path / "run") > 20


def test_a_language_model_is_trained_without_pickle(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"line {index} of a corpus of words, {index * index}\n" for index in range(60)))
    settings = {**language_model_settings(corpus), "output_dir": tmp_path / "run"}
    assert run_watched("pretrain_causal_lm", settings, tmp_path, processes=1) == []
    assert check_files(tmp_path / "run") > 10


def test_a_run_is_pushed_fetched_and_used_without_pickle(
    hub: HubServer,
    checkpoints: Callable[[str], Path],
    reviews_csv: Callable[[int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    for name, value in watched(tmp_path).items():
        monkeypatch.setenv(name, value)
    run = tmp_path / "run"
    settings = {**classifier_settings(reviews_csv(44), checkpoints("bert")), "output_dir": run, "num_train_epochs": 1}
    settings |= {"push_to_hub": "true", "hub_model_id": "tester/reviews", "hub_strategy": "checkpoint"}
    fetched = {**settings, "output_dir": tmp_path / "fetched", "resume_from_checkpoint": "tester/reviews@main"}
    commands = (
        ["predict", str(run), str(reviews_csv(20)), "--output", str(tmp_path / "scored.csv")],
        ["evaluate", str(run), str(reviews_csv(20))],
        ["push", str(run)],
    )
    with watching() as seen:
        run_recipe_here("finetune_classifier", settings)
        run_recipe_here("finetune_classifier", fetched)
        for words in commands:
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, result.output
    assert seen == []
    assert {line.partition(" ")[2] for line in (tmp_path / "seen.txt").read_text().splitlines()} == {"watches"}
    assert check_files(tmp_path) > 40

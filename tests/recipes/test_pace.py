"""The history and metrics of a run have its pace, which is that of its steps alone."""

from collections.abc import Callable
from pathlib import Path

from conftest import run_recipe_here
from test_resume import classifier_settings

from hfpipe.records.run_directory import read_history, read_json


def test_a_run_tells_its_pace(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    # an evaluation and a checkpoint every second step take longer than the steps
    settings = {**classifier_settings(reviews_csv(44), checkpoints("bert")), "num_train_epochs": 1}
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "run"})
    events = [event for event in read_history(tmp_path / "run" / "history.jsonl") if "loss" in event]
    assert len(events) == 6
    for event in events:
        assert event["tokens_per_second"] > 0
        assert "padded_tokens_per_second" not in event  # layers leave it out
        assert event["peak_memory_mb"] > 100
        assert "mfu" not in event  # the run is over before it is worth a probe
    metrics = read_json(tmp_path / "run" / "metrics.json")
    paces = [event["tokens_per_second"] for event in events]
    assert min(paces) < metrics["train_tokens_per_second"] < max(paces)
    assert metrics["train_peak_memory_mb"] >= events[-1]["peak_memory_mb"]
    state = read_json(tmp_path / "run" / "checkpoints" / "checkpoint-6" / "trainer_state.json")
    assert not [event for event in state["log_history"] if "tokens_per_second" in event]

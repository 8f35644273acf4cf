"""The same rows in every step, however a run is stopped, cut and gone on with: by what real processes ask for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import run_recipe_here
from interruption import interrupted_after
from order_audit import asked_for, audit
from test_resume import classifier_settings, outcome
from trials import run_trial

from hfpipe.errors import CheckpointError, Stopped
from hfpipe.records.run_directory import read_history, read_json

FILLER = -1
CLOSE = 1e-6
PACES = ("_second", "runtime", "mfu", "memory_mb")
"""Ends of names of what is a fact of a session, as whether its layers compute padding."""


@dataclass(frozen=True)
class Launch:
    """One session: processes x rows x micro-batches, ended by a signal after so many log events (0: never)."""

    processes: int
    rows: int
    micro_batches: int
    events: int = 0


@dataclass(frozen=True)
class Job:
    """A recipe, its settings, and the rows of a step."""

    recipe: str
    settings: Mapping[str, Any]
    rows_per_step: int

    def run(self, output_dir: Path, launches: Sequence[Launch]) -> tuple[list[list[int]], list[str]]:
        """Go through all launches; return the row ids of each step, sorted, and what each launch printed."""
        steps: list[list[int]] = []
        outputs = []
        for number, launch in enumerate(launches):
            folder = output_dir.with_name(f"{output_dir.name}_asked_{number}")
            cut = {"per_device_train_batch_size": launch.rows, "gradient_accumulation_steps": launch.micro_batches}
            ending = run_trial(
                self.recipe,
                {**self.settings, **cut, "output_dir": output_dir},
                processes=launch.processes,
                prepare=audit,
                prepare_arguments=(str(folder), launch.events),
            )
            assert set(ending.codes) == {130 if launch.events else 0}, ending.output
            outputs.append(ending.output)
            train_rows = read_json(output_dir / "run.json")["rows_per_epoch"]
            steps += self._cut_into_steps(asked_for(folder, train_rows), train_rows, begun=len(steps))
        return steps, outputs

    def _cut_into_steps(self, micro_batches: list[list[int]], train_rows: int, *, begun: int) -> Iterator[list[int]]:
        """Yield the rows of each step: `rows_per_step`, or what is left at the end of an epoch."""
        rows = [row for batch in micro_batches for row in batch if row != FILLER]
        steps_per_epoch = -(-train_rows // self.rows_per_step)
        while rows:
            is_last = (begun + 1) % steps_per_epoch == 0
            size = train_rows - (steps_per_epoch - 1) * self.rows_per_step if is_last else self.rows_per_step
            assert len(rows) >= size, "a session ends with a whole step"
            yield sorted(rows[:size])
            rows, begun = rows[size:], begun + 1


def classifier(csv: Path, checkpoint: Path, **settings: Any) -> Job:
    """33 rows in windows of 6: the last of an epoch has 3."""
    given = classifier_settings(csv, checkpoint) | {"learning_rate": 1e-3, "config_overrides": "hidden_dropout_prob=0"}
    return Job("finetune_classifier", {**given, **settings}, rows_per_step=6)


def language_model(**settings: Any) -> Job:
    given = {
        "model_size": "tiny",
        "vocab_size": 300,
        "block_size": 16,
        "config_overrides": "hidden_size=32,intermediate_size=48,num_hidden_layers=2",
        "num_train_epochs": 3,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "bf16": "false",
        "disable_tqdm": "true",
    }
    return Job("pretrain_causal_lm", {**given, **settings}, rows_per_step=8)


def write_corpus(file: Path, lines: int = 40) -> Path:
    file.write_text("".join(f"line {each} of {file.stem}, plain words, {each * each}\n" for each in range(lines)))
    return file


def check_alike(output_dir: Path, straight: Path) -> None:
    """Compare history and scores: steps and epochs exactly, losses to 1e-6, of a loss above 1 to 1e-6 of it.

    In float32 two neighbours of 5.8 are 5e-7 apart.
    """
    events, expected = (read_history(folder / "history.jsonl") for folder in (output_dir, straight))
    assert len(events) == len(expected) > 6
    for found, wanted in zip(events, expected, strict=True):
        timeless = {name for name in wanted if not name.endswith(PACES)}
        assert timeless == {name for name in found if not name.endswith(PACES)}
        assert (found["step"], found["epoch"]) == (wanted["step"], wanted["epoch"])
        assert [found[name] for name in timeless] == pytest.approx([wanted[name] for name in timeless], rel=1e-4)
        for name in {"loss", "eval_loss"} & wanted.keys():
            assert found[name] == pytest.approx(wanted[name], rel=CLOSE, abs=CLOSE)
    records = [read_json(folder / "run.json") for folder in (output_dir, straight)]
    assert [records[0][name] for name in ("steps", "best_step")] == [
        records[1][name] for name in ("steps", "best_step")
    ]
    scores = [read_json(folder / "metrics.json") for folder in (output_dir, straight)]
    for name in ("eval_loss", "train_loss"):
        assert scores[0][name] == pytest.approx(scores[1][name], rel=CLOSE, abs=CLOSE)


def check_epochs(steps: Sequence[Sequence[int]], output_dir: Path) -> None:
    """Check that every whole epoch has each row once."""
    train_rows = read_json(output_dir / "run.json")["rows_per_epoch"]
    seen = [row for step in steps for row in step]
    assert len(seen) >= 2 * train_rows
    for start in range(0, len(seen) - train_rows + 1, train_rows):
        assert sorted(seen[start : start + train_rows]) == list(range(train_rows))


def test_one_process_two_and_one_again_have_the_same_steps(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    # no evaluation is better by 10: patience is used up at the 8th, which is not the end
    patience: dict[str, Any] = {"early_stopping_patience": 7, "early_stopping_threshold": 10.0, "num_train_epochs": 3}
    # a session ends between two log events, with losses that the next one has to take over
    patience |= {"metric_for_best_model": "loss", "logging_steps": 3}
    job = classifier(reviews_csv(44), checkpoints("bert"), **patience)
    straight, _ = job.run(tmp_path / "straight", [Launch(1, 6, 1)])
    # stopped within the first epoch of 6 steps, and within the second
    launches = [Launch(1, 3, 2, events=3), Launch(2, 3, 1, events=5), Launch(1, 2, 3)]
    steps, outputs = job.run(tmp_path / "cut", launches)
    assert steps == straight
    assert len(steps) == 16
    check_epochs(steps, tmp_path / "cut")
    check_alike(tmp_path / "cut", tmp_path / "straight")
    told = [
        "going on with 2 processes x 3 rows x 1 micro-batch = 6 rows a step, as before 1 x 3 x 2",
        "going on with 1 process x 2 rows x 3 micro-batches = 6 rows a step, as before 2 x 3 x 1",
    ]
    assert [output.count("going on with") for output in outputs] == [0, 1, 1]
    assert [line in output for line, output in zip(told, outputs[1:], strict=True)] == [True, True]
    told_once = "1 of 2 processes did not exist: seed and step decide the random numbers of their dropout"
    assert [output.count(told_once) for output in outputs] == [0, 1, 0]
    sessions = read_json(tmp_path / "cut" / "run.json")["sessions"]
    assert [list(each["cut"].values()) for each in sessions] == [[1, 3, 2], [2, 3, 1], [1, 2, 3]]
    assert [(each["to_step"] % 6 != 0, each["to_step"] % 3 != 0) for each in sessions[:2]] == [(True, True)] * 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["packed", "mixture", "windows", "adapter"])
def test_every_kind_of_rows_keeps_its_steps(
    kind: str, checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "corpus.txt")
    more = write_corpus(tmp_path / "more.txt", 20)
    sources = f"[{{train_file: {corpus}, weight: 2}}, {{train_file: {more}, weight: 1}}]"
    reviews, bert = reviews_csv(44), checkpoints("bert")
    job = {
        "packed": lambda: language_model(train_file=corpus, document_per="line"),
        "mixture": lambda: language_model(dataset_mixture=sources, document_per="line"),
        "windows": lambda: classifier(reviews, bert, max_seq_length=10, long_texts="windows", doc_stride=2),
        "adapter": lambda: classifier(reviews, bert, use_peft="true", lora_r=4, lora_dropout=0.0),
    }[kind]()
    straight, _ = job.run(tmp_path / "straight", [Launch(1, job.rows_per_step, 1)])
    half, third = job.rows_per_step // 2, job.rows_per_step // 3 or 1
    assert half * 2 == job.rows_per_step
    last = Launch(1, third, 3) if third * 3 == job.rows_per_step else Launch(1, 1, job.rows_per_step)
    launches = [Launch(1, half, 2, events=4), Launch(2, half, 1, events=4), last]
    steps, _ = job.run(tmp_path / "cut", launches)
    assert steps == straight
    check_epochs(steps, tmp_path / "cut")
    check_alike(tmp_path / "cut", tmp_path / "straight")


@pytest.mark.slow
def test_workers_keep_the_steps(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = dict(classifier(reviews_csv(44), checkpoints("bert")).settings)
    run_recipe_here("finetune_classifier", {**settings, "output_dir": tmp_path / "straight"})
    settings |= {"dataloader_num_workers": 2, "output_dir": tmp_path / "cut"}
    with interrupted_after(4), pytest.raises(Stopped):
        run_recipe_here("finetune_classifier", settings)
    cut = {"per_device_train_batch_size": 6, "gradient_accumulation_steps": 1}
    run_recipe_here("finetune_classifier", {**settings, **cut})
    check_alike(tmp_path / "cut", tmp_path / "straight")


def test_a_stream_keeps_its_processes_and_may_be_cut_otherwise(
    checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    for name in "ab":
        lines = (f'{{"text": "line {each} of file {name}, {each * each}"}}\n' for each in range(30))
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    given = language_model(
        train_file=tmp_path / "*.jsonl", streaming="true", tokenizer_name=checkpoints("llama"), max_steps=12
    )
    settings = {key: value for key, value in given.settings.items() if key not in ("num_train_epochs", "vocab_size")}
    settings |= {"eval_strategy": "steps", "eval_steps": 4, "max_eval_samples": 6}
    cuts = [{"per_device_train_batch_size": rows, "gradient_accumulation_steps": 8 // rows} for rows in (8, 4, 2)]
    run_recipe_here("pretrain_causal_lm", {**settings, **cuts[0], "output_dir": tmp_path / "straight"})
    cut = {**settings, "output_dir": tmp_path / "cut"}
    with interrupted_after(6), pytest.raises(Stopped) as stop:
        run_recipe_here("pretrain_causal_lm", {**cut, **cuts[1]})
    assert 4 < stop.value.step < 12
    ending = run_trial("pretrain_causal_lm", {**cut, **cuts[1], "gradient_accumulation_steps": 1}, processes=2)
    assert set(ending.codes) == {2}
    assert "processes: 2: the run began with 1, and each of them has its own place in the stream" in ending.output
    run_recipe_here("pretrain_causal_lm", {**cut, **cuts[2]})
    check_alike(tmp_path / "cut", tmp_path / "straight")


@pytest.mark.slow
def test_dropout_after_another_cut_is_another_and_the_same_each_time(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = classifier_settings(reviews_csv(44), checkpoints("bert"))
    other = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 3}
    for name in ("once", "again"):
        given = {**settings, "output_dir": tmp_path / name}
        with interrupted_after(5), pytest.raises(Stopped):
            run_recipe_here("finetune_classifier", given)
        run_recipe_here("finetune_classifier", {**given, **other})
    assert outcome(tmp_path / "once") == outcome(tmp_path / "again")


def test_other_rows_a_step_are_refused_before_data_is_read(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], tmp_path: Path
) -> None:
    settings = {**classifier_settings(reviews_csv(44), checkpoints("bert")), "output_dir": tmp_path / "run"}
    with interrupted_after(3), pytest.raises(Stopped):
        run_recipe_here("finetune_classifier", settings)
    with pytest.raises(CheckpointError) as raised:
        run_recipe_here("finetune_classifier", {**settings, "gradient_accumulation_steps": 1})
    assert [str(problem).partition(";")[0] for problem in raised.value.problems] == [
        "rows_per_step: 3 = 1 process x 3 rows x 1 micro-batch: another value than the run began with, 6 = 1 x 3 x 2"
    ]

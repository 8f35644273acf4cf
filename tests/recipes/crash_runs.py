"""The runs that are killed: small ones with everything a checkpoint has to hold, and what is the same in their ends.

The classifier has dropout, two micro-batches a step, a best checkpoint to keep, rotation, and ends by early stopping;
the language model is packed, has dropout, and logs between two saves. One or two processes see the same rows a step.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kill_points import Event, Kill, Part, Window, kill_at, list_points, read_events, record_events
from test_resume import classifier_settings, language_model_settings
from trials import KILLED, Ending, run_trial

from hfpipe.records.run_directory import read_history, read_json

TIMES = ("_runtime", "_per_second", "train_seconds", "mfu", "memory_mb")
# What changes with the clock, or says how often the run was started.
UNLIKE = (
    *(".lock", "run.json", "history.jsonl", "metrics.json", "evaluation.json", "README.md", "report.html"),
    *("trainer_state.json", "manifest.json"),
)
OTHERS_AFTER_S = 0.5
CASES = ("classifier-1", "language_model-1", "classifier-2", "language_model-2")


@dataclass(frozen=True)
class Run:
    """A command, the step in whose save a checkpoint is removed and the best one kept, and the last step.

    It saves every second step. `straight` is where it went through without a kill.
    """

    recipe: str
    settings: Mapping[str, Any]
    processes: int
    middle: int
    last: int
    straight: Path

    def start_options(self, folder: Path, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the arguments of a trial in `folder`."""
        own = {**self.settings, **(settings or {}), "output_dir": folder}
        return {"recipe": self.recipe, "settings": own, "processes": self.processes}

    def window(self, folder: Path, part: Part) -> Window:
        """Return the save in the middle, or what comes before the first save or after the last."""
        step = {"start": 2, "save": self.middle, "end": self.last}[part]
        return Window(folder, part, step, step - 2)


@dataclass(frozen=True)
class Point:
    """Where and how a run is killed; `event` is the one met there when it was counted."""

    part: Part
    kill: Kill
    event: Event

    def __str__(self) -> str:
        """Return it as a line."""
        kill = self.kill
        who = f"process {kill.watcher}, killed {kill.victims}"
        return f"{self.part} event {kill.number}, {kill.mode}, {who}: {self.event}"


def build_classifier(csv: Path, checkpoint: Path, *, processes: int, straight: Path) -> Run:
    settings = {
        **classifier_settings(csv, checkpoint),
        "per_device_train_batch_size": 4 // processes,
        "num_train_epochs": 3,
        "metric_for_best_model": "loss",
        "early_stopping_patience": 2,
        # dropout draws by processes and by shapes; with these rates, and whole layers, the best step lies in the middle
        "padding_free": "false",
        "pooled_last_layer": "false",
        "learning_rate": {1: 0.13, 2: 0.35}[processes],
    }
    middle, last = {1: (8, 10), 2: (6, 8)}[processes]
    return Run("finetune_classifier", settings, processes, middle, last, straight)


def build_language_model(corpus: Path, *, processes: int, straight: Path) -> Run:
    lines = [f"line {index} of a corpus of plain words, {index * index}\n" for index in range(40)]
    corpus.write_text("".join(lines), encoding="utf-8")
    stages = {"save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2}
    settings = {
        **language_model_settings(corpus),
        **stages,
        "per_device_train_batch_size": 4 // processes,
        "save_total_limit": 1,
    }
    return Run("pretrain_causal_lm", settings, processes, 4, 6, straight)


def go_straight(case: str, csv: Path, checkpoint: Path, *, folder: Path) -> Run:
    """Return the run of a name and a number of processes, `classifier-1`, gone through once below `folder`."""
    name, processes = case.split("-")[0], int(case[-1])
    if name == "classifier":
        run = build_classifier(csv, checkpoint, processes=processes, straight=folder / case)
    else:
        run = build_language_model(folder / f"{case}.txt", processes=processes, straight=folder / case)
    ending = run_trial(**run.start_options(run.straight))
    assert ending.codes == (0,) * processes, ending.output
    return run


def count_events(run: Run, part: Part, folder: Path) -> list[list[Event]]:
    """Return the events of a part of the run by rank; `folder` is for it alone."""
    log, target = folder / "events.log", folder / "counted"
    arguments = (run.window(target, part), log)
    ending = run_trial(**run.start_options(target), prepare=record_events, prepare_arguments=arguments)
    assert ending.codes == (0,) * run.processes, ending.output
    shutil.rmtree(target)
    logs = [log.with_suffix(f".{rank}") for rank in range(run.processes)]
    return [read_events(each) if each.exists() else [] for each in logs]


def list_kills(run: Run, part: Part, events: Sequence[Sequence[Event]]) -> list[Point]:
    """Return every event with every way to leave the file, and to kill: each process alone, and all at once."""
    ranks = tuple(range(run.processes))
    killed = [ranks] if len(ranks) == 1 else [*((rank,) for rank in ranks), ranks]
    return [
        Point(part, Kill(number, mode, watcher, victims), events[watcher][number - 1])
        for watcher in ranks
        for number, mode in list_points(events[watcher])
        for victims in killed
        # a file that is left torn is that of a process that died
        if mode == "whole" or watcher in victims
    ]


def kill_and_go_on(run: Run, point: Point, folder: Path, wanted: Mapping[str, Any]) -> str:
    """Kill a new run as told and give the same command again; return what is wrong with its end, or nothing.

    `folder` is for this alone, and removed when nothing is wrong.
    """
    target, meeting = folder / "run", folder / "meeting"
    meeting.mkdir(parents=True)
    arguments = (run.window(target, point.part), point.kill, meeting)
    options = {**run.start_options(target), "others_after_s": OTHERS_AFTER_S}
    killed = run_trial(**options, prepare=kill_at, prepare_arguments=arguments)
    if not was_killed(point.kill, killed):
        return f"{point}: was not killed but ended with {killed.codes}: {tell_end(killed)}"
    wrong = go_on(run, target, wanted)
    if not wrong:
        shutil.rmtree(folder)
    return f"{point}: {wrong}" if wrong else ""


def was_killed(kill: Kill, ending: Ending) -> bool:
    """Tell whether all were killed that should be; another process than the one at the event may have been done."""
    return all(
        code == KILLED or (code == 0 and rank != kill.watcher)
        for rank, code in enumerate(ending.codes)
        if rank in kill.victims
    )


def go_on(run: Run, target: Path, wanted: Mapping[str, Any]) -> str:
    """Give the command to its end; return what is wrong with that."""
    ending = run_trial(**run.start_options(target))
    if ending.codes != (0,) * run.processes:
        return f"the same command again ended with {ending.codes}: {tell_end(ending)}"
    return find_unlike(target, wanted)


def find_unlike(folder: Path, wanted: Mapping[str, Any]) -> str:
    """Return in what the finished run in `folder` is another than the one `wanted` was taken from."""
    found = describe_outcome(folder)
    unlike = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    told = (f"{name} ({_shorten(found.get(name))}, not {_shorten(wanted.get(name))})" for name in unlike)
    return f"other than straight through: {', '.join(told)}" if unlike else ""


def _shorten(value: Any) -> str:
    return repr(value)[:200]


def tell_end(ending: Ending) -> str:
    """Return the last lines of what a trial printed."""
    return " | ".join(ending.output.strip().splitlines()[-4:])


def describe_outcome(folder: Path) -> dict[str, Any]:
    """Return everything of a finished run that kills may not change, by name: each file, and what the record says."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found: dict[str, Any] = {path.relative_to(folder).as_posix(): _content(path) for path in files}
    run = read_json(folder / "run.json")
    return found | {f"run.json:{name}": run[name] for name in ("status", "steps", "best_step", "rows_per_step")}


def _content(path: Path) -> Any:
    if path.name not in UNLIKE:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    if path.name == "history.jsonl":
        return timeless(read_history(path))
    if path.name in ("metrics.json", "evaluation.json", "trainer_state.json"):
        return timeless(read_json(path))
    return sorted(read_json(path)["files"]) if path.name == "manifest.json" else ""


def timeless(value: Any) -> Any:
    """Return a value read from JSON without times and rates."""
    if isinstance(value, dict):
        return {name: timeless(each) for name, each in value.items() if not name.endswith(TIMES)}
    return [timeless(each) for each in value] if isinstance(value, list) else value

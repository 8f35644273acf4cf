"""The runs of a study, and what each of them is started with; everything is checked before the first one starts.

All runs use the same rows: the split and the samples are drawn by one `split_seed`, the file's seed where nothing else
is said, so that what lies between the scores is training's own randomness - new weights, the order of rows, dropout -
and nothing of the data. None of them meets the test part.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hfpipe.config import RunConfig, find_accelerate_config, find_named_run, load_config
from hfpipe.config.accelerate_file import read_accelerate_file
from hfpipe.config.resolve import without_settings
from hfpipe.config.settled import show_value
from hfpipe.errors import ConfigError, Problem
from hfpipe.launch import Launch, find_opening, prepare_launch
from hfpipe.studies.record import StudyRecord

LARGEST_SEED = 2**32 - 1
# what a run of a study is given in place of what the user wrote
_OURS = ("output_dir", "split_seed", "score_test")


@dataclass(frozen=True)
class Launching:
    """How runs are started: as under `hfpipe run`."""

    accelerate: str | None = None
    max_restarts: int = 0


@dataclass(frozen=True)
class Study:
    """Runs of `file` that differ in their seeds alone.

    `overrides` are the user's settings without those that differ or are the study's; `config` is what they came to.
    """

    file: str
    overrides: tuple[str, ...]
    config: RunConfig
    directory: Path
    seeds: tuple[int, ...]
    launching: Launching = Launching()

    @property
    def begun(self) -> StudyRecord:
        """The record of the study when it begins."""
        arguments = self.config.trainer_arguments
        metric, greater = str(arguments["metric_for_best_model"]), bool(arguments["greater_is_better"])
        return StudyRecord(self.config.recipe, self.seeds, self.config.split_seed, metric, greater)

    @property
    def scores_test(self) -> bool:
        """Whether the kept run is to be scored on its test part, where it has one."""
        return self.config.evaluation.score_test

    def directory_of(self, seed: int) -> Path:
        """Return the run directory of a seed."""
        return self.directory / f"seed-{seed}"

    def overrides_of(self, seed: int, *, score_test: bool = False) -> tuple[str, ...]:
        """Return the settings of the run of a seed, as typed."""
        own = {
            "seed": str(seed),
            "split_seed": str(self.config.split_seed),
            "output_dir": str(self.directory_of(seed)),
            "score_test": str(score_test).lower(),
        }
        return (*self.overrides, *(word for key, value in own.items() for word in (f"--{key}", value)))

    def prepare(self, seed: int, *, score_test: bool = False, reads_data: bool = False) -> Launch:
        """Return the launch of the run of a seed, checked.

        Raises:
            HfpipeError: As `prepare_launch`.
        """
        return prepare_launch(
            self.file,
            self.overrides_of(seed, score_test=score_test),
            accelerate=self.launching.accelerate,
            max_restarts=self.launching.max_restarts,
            reads_data=reads_data,
        )

    def config_of(self, seed: int, *, score_test: bool = False) -> RunConfig:
        """Return the configuration of the run of a seed."""
        words = self.overrides_of(seed, score_test=score_test)
        return load_config(["--config", str(find_named_run(self.file)), *words])


def plan_repeat(file: str, overrides: Sequence[str], *, seeds: str, launching: Launching | None = None) -> Study:
    """Return the study of `file` over the seeds named in `seeds` ('1,2,3'); nothing is read but the configuration.

    It lies in the `output_dir` of the command line, else in that of the file, or its default, with '-repeat' behind.

    Raises:
        ConfigError: If the configuration is wrong, or has a setting that does not go with several runs.
    """
    config = load_config(["--config", str(find_named_run(file)), *overrides])
    launching = launching or Launching()
    problems = [*_find_seed_problems(seeds), *_find_conflicts(config), *_find_machines(launching)]
    if problems:
        raise ConfigError(problems)
    directory = config.output_dir
    if config.origins["output_dir"].kind != "command line":
        directory = directory.with_name(f"{directory.name}-repeat")
    words = tuple(without_settings(overrides, _OURS))
    return Study(file, words, config, directory, parse_seeds(seeds), launching)


def check_runs(study: Study) -> None:
    """Check every run against what lies in its directory, and the data, which are the same for all, once.

    Raises:
        HfpipeError: As `prepare_launch`.
    """
    waiting = [seed for seed in study.seeds if find_opening(study.config_of(seed)).kind != "done"]
    for number, seed in enumerate(waiting):
        study.prepare(seed, reads_data=number == 0)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds named in `text`, as in '1,2,3', in their order.

    Raises:
        ConfigError: With everything that is wrong with them.
    """
    problems = _find_seed_problems(text)
    if problems:
        raise ConfigError(problems)
    return tuple(int(word) for word in text.split(","))


def _find_seed_problems(text: str) -> list[Problem]:
    words = [word.strip() for word in text.split(",")]
    numbers = [int(word) for word in words if word.isascii() and word.isdigit()]
    told = [
        (f"{word!r} is no whole number from 0 to {LARGEST_SEED:,}", "write --seeds 1,2,3")
        for word in dict.fromkeys(words)
        if not (word.isascii() and word.isdigit() and int(word) <= LARGEST_SEED)
    ]
    told += [
        (f"{number} stands {numbers.count(number)} times, and the runs would be equal", "name it once")
        for number in dict.fromkeys(number for number in numbers if numbers.count(number) > 1)
    ]
    if not told and len(numbers) < 2:
        told = [("one run has no spread", "name two or more, or start it by hfpipe run")]
    return [Problem(f"--seeds {text}", rule=rule, remedy=remedy) for rule, remedy in told]


@dataclass(frozen=True)
class _Conflict:
    """A setting that does not go with several runs, `when` this holds."""

    key: str
    when: Callable[[RunConfig], bool]
    rule: str
    remedy: str = "remove it"


def _is_typed(key: str) -> Callable[[RunConfig], bool]:
    return lambda config: config.origins[key].kind == "command line"


def _has_test_without_checkpoint(config: RunConfig) -> bool:
    may_test = bool(config.data.test_file or config.data.dataset_name) and config.evaluation.score_test
    return may_test and config.training.save_strategy == "no"


_CONFLICTS = (
    _Conflict("seed", _is_typed("seed"), "--seeds names the seeds"),
    _Conflict(
        "fresh_start",
        lambda config: config.training.fresh_start,
        "would throw away the runs that are done each time the study goes on",
        "remove it, or choose another output_dir",
    ),
    _Conflict(
        "resume_from_checkpoint",
        lambda config: config.training.resume_from_checkpoint is not None,
        "is a checkpoint of one run; each run of a study goes on from its own",
    ),
    _Conflict(
        "push_to_hub",
        lambda config: config.hub.push_to_hub,
        "every seed would push to the same repository",
        "write push_to_hub=false, and push the run that is kept: hfpipe push",
    ),
    _Conflict(
        "save_strategy",
        _has_test_without_checkpoint,
        "the kept run is scored on its test part from its last checkpoint, and there would be none",
        "write save_strategy: epoch, or score_test: false",
    ),
)


def _find_machines(launching: Launching) -> list[Problem]:
    if launching.accelerate is None:
        return []
    file = read_accelerate_file(find_accelerate_config(launching.accelerate))
    if file.num_machines == 1:
        return []
    rule = "the runs of a study follow one another on one machine, and nobody tells the others which is next"
    return [Problem(f"{file.path}: num_machines", f"{file.num_machines:,}", rule, "start each seed by hfpipe run")]


def _find_conflicts(config: RunConfig) -> list[Problem]:
    values = {key: value for section in config.sections().values() for key, value in section.items()}
    found = [conflict for conflict in _CONFLICTS if conflict.when(config)]
    return [Problem(config.place(each.key), show_value(values[each.key]), each.rule, each.remedy) for each in found]

"""What the cleaning steps of a run, or those named for files, change in the texts as they stand in the files.

Rows of all parts are looked at before anything is split, sampled or left out; of a mixture those of every source. A run
that streams is refused, as everywhere in `hfpipe inspect`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from hfpipe.config import RunConfig
from hfpipe.config.cleaning import KEY, check_cleaning
from hfpipe.config.cleaning_names import select_text_steps
from hfpipe.config.keys import read_keys
from hfpipe.config.mixture import read_mixture
from hfpipe.config.resolve import load_config
from hfpipe.config.sections import FINETUNE, DataSettings
from hfpipe.config.settled import Settled
from hfpipe.config.shipped import find_named_run
from hfpipe.config.values import Scalar, Unfit, parse_value
from hfpipe.data.cleaning_diff import CleaningDiff, diff_texts
from hfpipe.data.commits import pin_commits
from hfpipe.errors import ConfigError, Problem
from hfpipe.inspection.inspected import Inspected
from hfpipe.inspection.reading import read_files
from hfpipe.inspection.requests import Request, check_request

OPTION = "--cleaning-steps"
ALL_SHOWN = 1_000_000


def read_steps(written: str | None) -> tuple[str, ...]:
    """Return the steps that the option names, divided by commas.

    Raises:
        ConfigError: If there is no such step, or one would do nothing where it stands.
    """
    if written is None:
        return ()
    key = read_keys()[KEY]
    try:
        steps = parse_value(Scalar(written), key.value_type, key.bounds)
    except Unfit as unfit:
        raise ConfigError(Problem(f"{OPTION} {written}", rule=unfit.rule, remedy=unfit.remedy)) from unfit
    assert isinstance(steps, tuple), "its type is a list"
    problems = check_cleaning(Settled(FINETUNE, {KEY: steps}, {}))
    told = [Problem(f"{OPTION} {written}", rule=problem.rule, remedy=problem.remedy) for problem in problems]
    if told:
        raise ConfigError(told)
    return steps


def check_alone(output: Path | None) -> None:
    """Check that no findings are to be written beside the differences.

    Raises:
        ConfigError: If they are.
    """
    if output is not None:
        raise ConfigError(Problem(f"--output {output}", rule="holds findings, and --diff looks for none"))


def diff_request(request: Request, *, rows: int | None) -> CleaningDiff:
    """Return what the steps change in the files or the data of the run; `rows` changed ones are kept, None for all.

    Raises:
        ConfigError: If no step is named, options do not go together, or settings of the run are wrong.
        DataError: With all problems of all files, if any cannot be read.
    """
    check_request(request)
    limit = ALL_SHOWN if rows is None else rows
    if not request.is_run:
        steps = _choose(request.data, f"{OPTION} strip_html,...")
        inspected = _read(replace(request.data, train_file=request.words), labelled=request.labelled)
        return diff_texts(_rows([inspected]), steps, examples=limit)
    config = load_config(["--config", str(find_named_run(request.words[0])), *request.words[1:]])
    return diff_texts(_rows(_read_run(config)), _choose(config.data, "cleaning_steps=strip_html,..."), examples=limit)


def _choose(data: DataSettings, example: str) -> tuple[str, ...]:
    steps = select_text_steps(data.cleaning_steps)
    if not steps:
        raise ConfigError(Problem("--diff", rule="no step that changes a text is named", remedy=f"add {example}"))
    return steps


def _read_run(config: RunConfig) -> Iterator[Inspected]:
    if config.data.streaming:
        rule = "rows of a stream are never held"
        raise ConfigError(Problem("streaming: true", "", rule, "give it streaming=false, or name some of its files"))
    data = pin_commits(config)
    of_sources = [source.settings for source in read_mixture(data)] or [data]
    for settings in of_sources:
        yield _read(settings, labelled=config.recipe == FINETUNE, cache_dir=config.model.cache_dir)


def _read(settings: DataSettings, *, labelled: bool, cache_dir: str | None = None) -> Inspected:
    return read_files(replace(settings, cleaning_steps=()), labelled=labelled, cache_dir=cache_dir)


def _rows(inspected: Iterable[Inspected]) -> Iterator[tuple[str, str]]:
    for part in (part for each in inspected for part in each.parts):
        texts = [part.texts, *([part.text_pairs] if part.text_pairs is not None else [])]
        for row in range(len(part)):
            yield from ((part.places.place(row), column[row]) for column in texts)

"""The options of `hfpipe inspect` as settings; what they cannot be is told by the names of the options."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hfpipe.config.option_names import INSPECT_OPTIONS
from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL, DataSettings
from hfpipe.errors import ConfigError, Problem

ALL_ROWS = "all"
_CHOICES: Mapping[str, Sequence[str]] = {
    "problem_type": (SINGLE_LABEL, MULTI_LABEL, REGRESSION),
    "document_per": ("file", "paragraph", "line"),
}


def read_data_options(given: Mapping[str, Sequence[str] | str | None]) -> DataSettings:
    """Return the settings that options stand for; a delimiter of labels makes several labels a row.

    Raises:
        ConfigError: If a value is none of an option's choices, or a delimiter divides what is one label.
    """
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    values = {key: value for key, value in values.items() if value is not None}
    problems = [
        Problem(f"{INSPECT_OPTIONS[key]} {values[key]}", rule=f"must be one of {', '.join(choices)}")
        for key, choices in _CHOICES.items()
        if key in values and values[key] not in choices
    ]
    if "label_delimiter" in values and values.setdefault("problem_type", MULTI_LABEL) != MULTI_LABEL:
        rule = f"without effect beside --problem-type {values['problem_type']}"
        problems.append(Problem(f"--label-delimiter {values['label_delimiter']!r}", "", rule, "leave it out"))
    if problems:
        raise ConfigError(problems)
    return replace(DataSettings(), **values)  # type: ignore[arg-type]


def read_row_limit(rows: str) -> int | None:
    """Return how many rows are shown of a finding, None for all.

    Raises:
        ConfigError: If it is neither a number nor 'all'.
    """
    if rows == ALL_ROWS:
        return None
    if not rows.isascii() or not rows.isdigit():
        raise ConfigError(Problem(f"--rows {rows}", rule=f"must be a whole number or {ALL_ROWS!r}"))
    return int(rows)

"""Reads the command line: `--key value`, `--key=value`, bare `--flag`, and `key=value`.

Dashes and underscores are the same. There are no abbreviations, no short options and no arguments by position;
a key given twice is refused, because which one counts is a guess.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from hfpipe.config.given import Given, Origin
from hfpipe.config.values import Raw, Scalar, join_surrogates
from hfpipe.errors import Problem

CONFIG_KEY = "config"
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*=")


@dataclass(frozen=True)
class CommandLine:
    """What was given: the file of `--config`, settings in their order, and what could not be read."""

    config_file: Path | None
    settings: tuple[Given, ...]
    problems: tuple[Problem, ...]


def read_argv(argv: Sequence[str], is_switch: Callable[[str], bool | None]) -> CommandLine:
    """Return the settings of `argv`.

    `is_switch` tells keys that may stand without a value; None is for unknown keys, which are answered as such.
    """
    settings: dict[str, Given] = {}
    problems: list[Problem] = []
    words = list(argv)
    while words:
        found = _take(words, is_switch)
        if isinstance(found, Problem):
            problems.append(found)
        elif found.key in settings:
            problems.append(found.problem("given twice", "keep one of them"))
        else:
            settings[found.key] = found
    config = settings.pop(CONFIG_KEY, None)
    path = Path(config.raw.text) if config is not None and isinstance(config.raw, Scalar) else None
    return CommandLine(path, tuple(settings.values()), tuple(problems))


def leave_out(argv: Sequence[str], keys: Collection[str], is_switch: Callable[[str], bool | None]) -> list[str]:
    """Return the words of `argv` without those of the settings `keys`."""
    words, kept = list(argv), list[str]()
    while words:
        before = list(words)
        found = _take(words, is_switch)
        if isinstance(found, Problem) or found.key not in keys:
            kept += before[: len(before) - len(words)]
    return kept


def _take(words: list[str], is_switch: Callable[[str], bool | None]) -> Given | Problem:
    """Return the next setting, and remove its words from `words`."""
    word = words.pop(0)
    if not _begins_setting(word):
        return Problem(word, "", "belongs to no setting", "write --key value or key=value, and lists as '[a, b]'")
    if any(join_surrogates(text) is None for text in (word, *words[:1])):
        del words[: not words[:1] or not _begins_setting(words[0])]
        return Problem(word, "", "is not UTF-8", "use a UTF-8 terminal")
    name, equals, value = word.partition("=")
    key, origin = name.removeprefix("--").replace("-", "_"), Origin("command line", name)
    if equals:
        return Given(key, _raw(value), origin)
    switch, is_last = is_switch(key), not words or words[0].startswith("--")
    if switch and (is_last or _begins_setting(words[0])):
        return Given(key, Scalar("true"), origin)
    if is_last:
        return Given(key, Scalar("true"), origin) if switch is None else Problem(name, "", "needs a value")
    return Given(key, _raw(words.pop(0)), origin)


def _begins_setting(word: str) -> bool:
    return word.startswith("--") or _ASSIGNMENT.match(word) is not None


def _raw(text: str) -> Raw:
    return None if text == "null" else Scalar(text)

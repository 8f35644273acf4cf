"""The sources of a `dataset_mixture`: what each entry of the list says, checked as every other setting is.

An entry names one source and may say how it is read; what it leaves out is read as the settings beside the list say.
Names of sources become names of metrics (`eval_loss_<name>`), so they are short, made of plain characters, and differ.
"""

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from hfpipe.config.data_settings import DataSettings
from hfpipe.config.setting import FINETUNE
from hfpipe.config.settled import Settled, show_value
from hfpipe.errors import Problem

_KEY = "dataset_mixture"
_TEXT_KEYS = (
    *("dataset_name", "dataset_config_name", "dataset_revision", "train_split_name"),
    *("label_column_name", "field_delimiter", "encoding", "document_per"),
)
_LIST_KEYS = ("train_file", "text_column_names")
_OWN_KEYS = ("name", "weight", "repeat")
KEYS = (*_OWN_KEYS, *_TEXT_KEYS, *_LIST_KEYS)
_HUB_KEYS = ("dataset_config_name", "dataset_revision", "train_split_name")
_FILE_KEYS = ("field_delimiter", "encoding", "document_per")
_REPLACED = ("train_file", "dataset_name", "validation_file", "test_file")
_DOCUMENTS = ("file", "line", "paragraph")
_DEMO = "demo:"
_PLAIN_NAME = re.compile(r"\w[\w-]*", re.ASCII)


@dataclass(frozen=True)
class MixtureSource:
    """A source of a mixture: its share is `weight` over the sum of all, a row is used `repeat` times an epoch at most.

    `settings` are those of a run that would train on this source alone.
    """

    name: str
    weight: float
    repeat: int
    settings: DataSettings


def read_mixture(settings: DataSettings) -> tuple[MixtureSource, ...]:
    """Return the sources of a mixture whose entries were checked; none where there is no mixture."""
    sources = []
    for entry in settings.dataset_mixture or ():
        own: dict[str, Any] = {key: str(entry[key]) for key in _TEXT_KEYS if entry.get(key) is not None}
        own |= {key: _list(entry[key]) for key in _LIST_KEYS if entry.get(key) is not None}
        alone = replace(settings, dataset_mixture=None, **own)
        weight, repeat = entry.get("weight") or 1, entry.get("repeat") or 1
        assert isinstance(weight, int | float) and isinstance(repeat, int | float), "the entries were checked"
        sources.append(MixtureSource(_name_of(entry), float(weight), int(repeat), alone))
    return tuple(sources)


def check_mixture(settled: Settled) -> Iterator[Problem]:
    """Yield what is wrong with the entries of a mixture, and what stands beside it without effect."""
    entries = settled.get(_KEY)
    if not isinstance(entries, tuple) or not entries:
        return
    for key in _REPLACED:
        if settled.has(key):
            yield settled.problem(key, f"has no effect beside {_KEY}, whose sources bring the data", "remove it")
    for number, entry in enumerate(entries, start=1):
        for key, value, rule, remedy in _entry_problems(entry, settled.recipe):
            yield _problem(settled, number, (key, value), rule, remedy)
    names = [_name_of(entry) for entry in entries]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        rule = f"{names.count(name)} sources have this name"
        yield _problem(settled, names.index(name) + 1, ("name", name), rule, "give each a name of its own")


def _problem(settled: Settled, number: int, found: tuple[str, object], rule: str, remedy: str) -> Problem:
    place = settled.origin(_KEY).place
    where = f"{place}: {_KEY}" if settled.origin(_KEY).kind == "file" else place or _KEY
    key, value = found
    return Problem(f"{where}: source {number}: {key}", show_value(value), rule, remedy)


def _entry_problems(entry: Mapping[str, object], recipe: str) -> Iterator[tuple[str, object, str, str]]:
    for key, value in entry.items():
        yield from _value_problems(key, value, recipe)
    given = [key for key in ("dataset_name", "train_file") if entry.get(key) is not None]
    if len(given) != 1:
        rule = "names no data" if not given else "names dataset_name and train_file"
        yield ("source", None, rule, "write one of dataset_name and train_file")
        return
    is_on_hub = given == ["dataset_name"] and not str(entry["dataset_name"]).startswith(_DEMO)
    for key in _HUB_KEYS if not is_on_hub else _FILE_KEYS:
        if entry.get(key) is not None and not (key in _FILE_KEYS and given == ["train_file"]):
            rule = "has no effect on a data set of the Hub" if is_on_hub else "has no effect without one on the Hub"
            yield (key, entry[key], rule, "remove it")
    name = _name_of(entry)
    if not _PLAIN_NAME.fullmatch(name):
        rule = "a name has letters, digits, '_' and '-' only, for metrics are named by it"
        yield ("name", name, rule, "give it a name")


def _value_problems(key: str, value: object, recipe: str) -> Iterator[tuple[str, object, str, str]]:
    if key not in KEYS:
        close = difflib.get_close_matches(key, KEYS, n=1)
        remedy = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(KEYS)}"
        yield (key, value, "no such key of a source", remedy)
    elif value is None:
        return
    elif key == "weight" and not (_is_number(value) and float(str(value)) > 0):
        yield (key, value, "must be a number above 0", "leave a source out that is not to be used")
    elif key == "repeat" and not (_is_number(value) and float(str(value)) >= 1 and float(str(value)).is_integer()):
        yield (key, value, "must be a whole number of at least 1", "1 uses each row once an epoch at most")
    elif key == "document_per" and value not in _DOCUMENTS:
        yield (key, value, f"must be one of {', '.join(_DOCUMENTS)}", "")
    elif key in ("label_column_name", "document_per") and (key == "document_per") == (recipe == FINETUNE):
        yield (key, value, f"is no setting of {recipe}", "remove it")
    elif key not in ("weight", "repeat") and not _is_text(key, value):
        forms = "a text or a list of texts" if key in _LIST_KEYS else "a text"
        yield (key, value, f"must be {forms}", "")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(key: str, value: object) -> bool:
    if key in _LIST_KEYS and isinstance(value, list | tuple):
        return bool(value) and all(isinstance(item, str | int) for item in value)
    # 'name: 2024' is read as a number where nothing says that it is a text
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _list(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)


def _name_of(entry: Mapping[str, object]) -> str:
    """Return the name given, else the last part of the data set's name, else that of the first file."""
    if entry.get("name") is not None:
        return str(entry["name"])
    if entry.get("dataset_name") is not None:
        return re.split(r"[/:]", str(entry["dataset_name"]))[-1].replace(".", "_")
    files = _list(entry.get("train_file") or "source")
    return re.sub(r"[^\w-]+", "_", PurePath(files[0]).name.partition(".")[0]) or "source"

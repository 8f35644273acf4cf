"""Bad and odd files as data: what stands in a file, and the rows it gives or the problems it is answered by.

A case is read by what recipes and `hfpipe predict` read with. Rows are compared cell by cell with their places, and
what was left out by its count; problems by place and words, and each must say what to do.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from hfpipe.config.sections import DataSettings
from hfpipe.data.parts import load_document_parts, load_labelled_parts
from hfpipe.errors import DataError
from hfpipe.inference.tables import find_text_columns, survey_table
from hfpipe.records.inference_settings import InferenceSettings

Row = tuple[object, ...]
Content = bytes | Callable[[], None]

FILLERS = (("a fine film", "pos"), ("a dull film", "neg"))
"""Rows that labelled files end with, so that there are two classes to tell apart."""
LONGEST_MESSAGE = 700
_SEVERAL = ("train_file", "text_column_names")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f]")


@dataclass(frozen=True)
class Case:
    """A file, how it is read, and its oracle: `rows` (line or row, then cells) or `problems` (place, words).

    `content` is the bytes of the file or what makes it. `left_out` counts rows by reason.
    """

    content: Content
    rows: tuple[Row, ...] | None = None
    problems: tuple[tuple[str, str], ...] = ()
    name: str = "a.csv"
    left_out: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    beside: tuple[tuple[object, object], ...] = (("warm", "pos"), ("cold", "neg"))

    def named(self, name: str) -> "Case":
        """Return the case in a file of another name."""
        return replace(self, name=name)

    def with_settings(self, beside: tuple[tuple[object, object], ...], **settings: object) -> "Case":
        """Return the case read by more settings, beside a validation file of these rows."""
        return replace(self, beside=beside, settings={**self.settings, **settings})

    def within(self, name: str, content: bytes) -> "Case":
        """Return the case with this file, whose name stands before the places of its problems."""
        problems = tuple((f"{name}:{place}".rstrip(":"), words) for place, words in self.problems)
        return replace(self, name=name, content=content, problems=problems)


def csv_text(body: str, header: str = "text,label", sign: str = ",") -> bytes:
    """Return a labelled table with `body` between its header and the fillers."""
    fillers = "".join(f"{text}{sign}{label}\n" for text, label in FILLERS)
    return f"{header}\n{body}{fillers}".encode()


def good(
    content: Content, *rows: Row, name: str = "a.csv", left_out: Mapping[str, int] | None = None, **settings: object
) -> Case:
    """Return a case that is read: these rows, beside the fillers."""
    return Case(content, rows, (), name, left_out or {}, settings)


def bad(content: Content, *problems: tuple[str, str], name: str = "a.csv", **settings: object) -> Case:
    """Return a case that is refused with exactly these problems, in order."""
    return Case(content, None, problems, name, {}, settings)


def check_labelled(case: Case) -> None:
    """Read a case as the training part of a classifier, beside a sound validation file."""
    _check(case, _read_labelled)


def check_documents(case: Case) -> None:
    """Read a case as the training part of a language model."""
    _check(case, _read_documents)


def check_predicted(case: Case) -> None:
    """Read a case as a table to predict: every row counts, whether it has a text or not."""
    _check(case, _read_predicted)


def write_case(case: Case) -> None:
    """Write the file of a case, and what stands beside it, into the current folder."""
    texts, labels = zip(*case.beside, strict=True)
    columns = list(case.settings.get("columns", ("text", "label")))  # type: ignore[call-overload]
    cells = [*[texts] * (len(columns) - 1), labels]
    pyarrow.parquet.write_table(pyarrow.table(cells, names=columns), "validation.parquet")
    if isinstance(case.content, bytes):
        Path(case.name).write_bytes(case.content)
    else:
        case.content()


def _check(case: Case, read: Callable[[Case], tuple[list[Row], dict[str, int]]]) -> None:
    write_case(case)
    if case.rows is not None:
        assert read(case) == (list(case.rows), dict(case.left_out))
        return
    with pytest.raises(DataError) as caught:
        read(case)
    found = [str(problem) for problem in caught.value.problems]
    assert len(found) == len(case.problems), found
    for message, (place, words) in zip(found, case.problems, strict=True):
        assert message.startswith(f"{place}: "), message
        assert words in message
    for problem in caught.value.problems:
        assert problem.remedy or problem.value.startswith("and "), f"says not what to do: {problem}"
        assert len(str(problem)) <= LONGEST_MESSAGE
        assert not _CONTROL.search(str(problem)), repr(str(problem))


def _settings(case: Case) -> DataSettings:
    given = {"train_file": case.name, **case.settings}
    given.pop("columns", None)
    values = {key: (value,) if key in _SEVERAL and isinstance(value, str) else value for key, value in given.items()}
    return DataSettings(validation_file=("validation.parquet",), **values)  # type: ignore[arg-type]


def _read_labelled(case: Case) -> tuple[list[Row], dict[str, int]]:
    parts = load_labelled_parts(_settings(case), seed=1)
    train = parts.train
    targets = [_answer(target, parts.label_names, parts.problem_type) for target in train.targets.tolist()]
    texts = train.texts if train.text_pairs is None else list(zip(train.texts, train.text_pairs, strict=True))
    rows: list[Row] = list(zip(map(int, train.places.lines), texts, targets, strict=True))
    kept = [row for row in rows if row[1:] not in FILLERS]
    assert len(rows) - len(kept) in (0, len(FILLERS))
    return kept, {reason: found.count for reason, found in parts.summary.parts["train"].left_out.items()}


def _answer(target: object, names: tuple[str, ...], problem_type: str) -> object:
    if isinstance(target, list):
        return tuple(name for name, has in zip(names, target, strict=True) if has)
    return target if problem_type == "regression" else names[int(str(target))]


def _read_documents(case: Case) -> tuple[list[Row], dict[str, int]]:
    settings = _settings(case)
    parts = load_document_parts(settings, seed=1)
    rows: list[Row] = list(zip(map(int, parts.train.places.lines), parts.train.texts, strict=True))
    return rows, {reason: found.count for reason, found in parts.summary.parts["train"].left_out.items()}


def _read_predicted(case: Case) -> tuple[list[Row], dict[str, int]]:
    delimiter, encoding = case.settings.get("field_delimiter"), case.settings.get("encoding")
    table = survey_table(Path(case.name), delimiter=delimiter, encoding=encoding)  # type: ignore[arg-type]
    columns = find_text_columns(table, None, InferenceSettings(("text",)))
    rows: list[Row] = [(record.line, columns.text_of(record.values)) for record in table.stream().records]
    assert table.row_count == len(rows)
    return rows, {}

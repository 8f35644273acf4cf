"""Tables scored row by row: what is read, and the file that is written beside it.

Refuses, before any model is loaded, a table that cannot be read to its end, and an output that exists or has no known
format. Output appears under its name only when it is complete. Nothing here imports torch.
"""

import csv
import errno
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from hfpipe.data.cleaning_steps import apply_steps
from hfpipe.data.columns import find_text_columns as choose_text_columns
from hfpipe.data.columns import join_texts
from hfpipe.data.record_stream import place_of_header
from hfpipe.data.records import RecordStream, check_records, stream_records
from hfpipe.errors import ConfigError, DataError, Problem
from hfpipe.inference.texts import Text
from hfpipe.records.inference_settings import InferenceSettings

OUTPUT_SUFFIXES = (".csv", ".tsv", ".jsonl")
STDOUT = Path("-")

_NOT_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)

WriteRow = Callable[[Mapping[str, object]], None]


@dataclass(frozen=True)
class InputTable:
    """A file that can be read to its end; `delimiter` None means by suffix, `encoding` None means UTF-8."""

    path: Path
    header: tuple[str, ...]
    row_count: int
    delimiter: str | None = None
    encoding: str | None = None

    def stream(self) -> RecordStream:
        """Return the rows from the first."""
        return stream_records(self.path, delimiter=self.delimiter, encoding=self.encoding)


@dataclass(frozen=True)
class TextColumns:
    """The columns of a file that hold the text, joined by `delimiter`, and that of a second text.

    `cleaning` are the steps of the training that a text goes through before it is scored.
    """

    texts: tuple[str, ...]
    delimiter: str = " "
    pair: str | None = None
    cleaning: tuple[str, ...] = ()

    def text_of(self, values: Mapping[str, object]) -> Text | None:
        """Return what a row says, joined and cleaned as in training; None where there is nothing to score."""
        text = self._clean(join_texts([values[name] for name in self.texts], self.delimiter))
        if self.pair is None:
            return text or None
        pair = self._clean(join_texts([values[self.pair]], ""))
        return (text, pair) if text and pair else None

    def _clean(self, text: str) -> str:
        return join_texts([apply_steps(text, self.cleaning)], "") if self.cleaning else text

    def __str__(self) -> str:
        return " + ".join(map(repr, self.texts)) + (f" and {self.pair!r}" if self.pair is not None else "")


def find_text_columns(table: InputTable, given: TextColumns | None, trained: InferenceSettings) -> TextColumns:
    """Return the columns of the texts: as given, else those of the training, else the one found by name.

    Raises:
        DataError: If a column given is not there or is both texts, no column, or several, may be the text, a model of
            single texts is told of two, or a column is missing that the training joined: the rest is another text.
    """
    pair = given.pair if given is not None and given.pair is not None else trained.text_pair_column_name
    named = given.texts if given is not None else ()
    place, there = place_of_header(str(table.path)), f"the columns are {', '.join(map(repr, table.header))}"
    options = {**dict.fromkeys(named, "--text-column"), **({} if pair is None else {pair: "--text-pair-column"})}
    problems = [
        Problem(place, f"no column {name!r}", there, f"change {option}")
        for name, option in options.items()
        if name not in table.header
    ]
    if trained.text_pair_column_name is None and pair is not None:
        problems.append(Problem("--text-pair-column", pair, "this model was trained on single texts", "leave it out"))
    joined = trained.text_column_names if len(trained.text_column_names) > 1 and not named else ()
    remedy = f"the training joined {' + '.join(map(repr, joined))}: add it, or name other columns by --text-column"
    problems += [Problem(place, f"no column {name!r}", there, remedy) for name in joined if name not in table.header]
    if problems:
        raise DataError(problems)
    wanted = trained.text_column_names
    texts = named or choose_text_columns(table.header, wanted=wanted, name=str(table.path), apart=pair)
    if pair in texts:
        rule = "is text and second text at once"
        raise DataError(Problem(place, f"column {pair!r}", rule, "change --text-pair-column"))
    return TextColumns(tuple(texts), trained.text_column_delimiter, pair, trained.cleaning_steps)


def survey_table(path: Path, *, delimiter: str | None = None, encoding: str | None = None) -> InputTable:
    """Return the table in `path`, read once to its end.

    Raises:
        DataError: With all problems of the file.
    """
    row_count = check_records(path, delimiter=delimiter, encoding=encoding)
    header = stream_records(path, delimiter=delimiter, encoding=encoding).header
    return InputTable(path, header, row_count, delimiter, encoding)


def check_output(
    output: Path, *, suffixes: Sequence[str] = OUTPUT_SUFFIXES, overwrite: bool = False, option: str = "--output"
) -> None:
    """Check that `output`, given as `option`, can be written; '-' is standard output.

    Raises:
        ConfigError: If its suffix is not among `suffixes`, its folder is missing, or it exists and is not to be
            replaced.
    """
    problems = []
    if output == STDOUT:
        return
    if output.suffix.lower() not in suffixes:
        rule = f"the format is told by the suffix: {' '.join(suffixes)}"
        problems.append(Problem(f"{option} {output}", rule=rule, remedy="choose another name"))
    if not output.absolute().parent.is_dir():
        problems.append(Problem(f"{option} {output}", rule="its folder does not exist", remedy="make it first"))
    elif output.is_dir():
        problems.append(Problem(f"{option} {output}", rule="is a folder", remedy="name a file"))
    elif output.exists() and not overwrite:
        problems.append(Problem(f"{option} {output}", rule="the file exists", remedy="add --overwrite to replace it"))
    if problems:
        raise ConfigError(problems)


@contextmanager
def write_table(output: Path, header: Sequence[str]) -> Iterator[WriteRow]:
    """Yield a function that writes one row; the file stands under its name once the block ends without an error.

    Raises:
        ConfigError: If it cannot be written, as on a full disk.
    """
    if output == STDOUT:
        yield _row_writer(sys.stdout, header, ".csv")
        return
    # in the same folder, so that the last step is a rename; TemporaryDirectory also goes when Ctrl-C ends the block
    where = output.absolute().parent
    with (
        _told_as_output(output),
        tempfile.TemporaryDirectory(prefix=f".{output.name}.", suffix=".partial", dir=where) as folder,
    ):
        unfinished = Path(folder) / output.name
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            yield _row_writer(file, header, output.suffix.lower())
        unfinished.replace(output)


@contextmanager
def _told_as_output(output: Path) -> Iterator[None]:
    """Raise a ConfigError that names `output` where the system refuses to write it, as a full disk does."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_WRITTEN:
            raise  # of what is read and scored meanwhile
        remedy = "make room, or choose another file"
        problem = Problem(f"--output {output}", rule=f"cannot be written ({error.strerror})", remedy=remedy)
        raise ConfigError(problem) from error


def _row_writer(file: TextIO, header: Sequence[str], suffix: str) -> WriteRow:
    if suffix == ".jsonl":
        return lambda row: print(_json_line(row), file=file)
    # csv quotes what holds a sign of its line end: "\r\n" has it quote both, and the file gets "\n" all the same
    lines = _UnixLines(file)
    writer = csv.DictWriter(lines, header, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\r\n")
    writer.writeheader()
    return lambda row: _write_fields(writer, row)


@dataclass(frozen=True)
class _UnixLines:
    """Takes rows that end in CR LF, and writes them to `file` with LF alone."""

    file: TextIO

    def write(self, row: str) -> int:
        """Write a row, and return how many characters."""
        return self.file.write(row.removesuffix("\r\n") + "\n")


def _write_fields(writer: "csv.DictWriter[str]", row: Mapping[str, object]) -> None:
    # a list or mapping of a JSON-lines file stays JSON, not Python's way of writing it
    writer.writerow({k: _json_line(v) if isinstance(v, list | dict) else v for k, v in row.items()})


def _json_line(value: object) -> str:
    return json.dumps(_without_nan(value), ensure_ascii=False, allow_nan=False, default=str)


def _without_nan(value: object) -> object:
    """Return the value with null for numbers that JSON has not, and Parquet has."""
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

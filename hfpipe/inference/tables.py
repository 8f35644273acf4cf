"""Tables scored row by row: what is read, and the file that is written beside it.

Refuses, before any model is loaded, a table that cannot be read to its end, and an output that exists or has no known
format. Output appears under its name only when it is complete. Nothing here imports torch.
"""

import csv
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from hfpipe.data.columns import find_text_column
from hfpipe.data.records import RecordStream, check_records, stream_records
from hfpipe.errors import ConfigError, DataError, Problem

OUTPUT_SUFFIXES = (".csv", ".tsv", ".jsonl")
STDOUT = Path("-")

WriteRow = Callable[[Mapping[str, object]], None]


@dataclass(frozen=True)
class InputTable:
    """A file that can be read to its end; `delimiter` None means by suffix."""

    path: Path
    header: tuple[str, ...]
    row_count: int
    delimiter: str | None = None

    def stream(self) -> RecordStream:
        """Return the rows from the first."""
        return stream_records(self.path, delimiter=self.delimiter)

    def find_text_column(self, given: str | None, trained: str | None) -> str:
        """Return the column of the texts: as given, else that of the training, else found by name.

        Raises:
            DataError: If the column given is not there, or no column, or several, may be the text.
        """
        if given is not None and given not in self.header:
            there = f"the columns are {', '.join(map(repr, self.header))}"
            raise DataError(Problem(f"{self.path}:1", f"no column {given!r}", there, "change --text-column"))
        return find_text_column(self.header, wanted=given or trained, name=str(self.path))


def survey_table(path: Path, *, delimiter: str | None = None) -> InputTable:
    """Return the table in `path`, read once to its end.

    Raises:
        DataError: With all problems of the file.
    """
    row_count = check_records(path, delimiter=delimiter)
    return InputTable(path, stream_records(path, delimiter=delimiter).header, row_count, delimiter)


def check_output(output: Path, *, suffixes: Sequence[str] = OUTPUT_SUFFIXES, overwrite: bool = False) -> None:
    """Check that `output` can be written; '-' is standard output.

    Raises:
        ConfigError: If its suffix is not among `suffixes`, its folder is missing, or it exists and is not to be
            replaced.
    """
    problems = []
    if output == STDOUT:
        return
    if output.suffix.lower() not in suffixes:
        rule = f"the format is told by the suffix: {' '.join(suffixes)}"
        problems.append(Problem(f"--output {output}", rule=rule, remedy="choose another name"))
    if not output.absolute().parent.is_dir():
        problems.append(Problem(f"--output {output}", rule="its folder does not exist", remedy="make it first"))
    elif output.is_dir():
        problems.append(Problem(f"--output {output}", rule="is a folder", remedy="name a file"))
    elif output.exists() and not overwrite:
        problems.append(Problem(f"--output {output}", rule="the file exists", remedy="add --overwrite to replace it"))
    if problems:
        raise ConfigError(problems)


@contextmanager
def write_table(output: Path, header: Sequence[str]) -> Iterator[WriteRow]:
    """Yield a function that writes one row; the file stands under its name once the block ends without an error."""
    if output == STDOUT:
        yield _row_writer(sys.stdout, header, ".csv")
        return
    # in the same folder, so that the last step is a rename; TemporaryDirectory also goes when Ctrl-C ends the block
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.absolute().parent) as folder:
        unfinished = Path(folder) / output.name
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            yield _row_writer(file, header, output.suffix.lower())
        unfinished.replace(output)


def _row_writer(file: TextIO, header: Sequence[str], suffix: str) -> WriteRow:
    if suffix == ".jsonl":
        return lambda row: print(_json_line(row), file=file)
    writer = csv.DictWriter(file, header, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n")
    writer.writeheader()
    return lambda row: _write_fields(writer, row)


def _write_fields(writer: "csv.DictWriter[str]", row: Mapping[str, object]) -> None:
    # a list or mapping of a JSON-lines file stays JSON, not Python's way of writing it
    writer.writerow({k: _json_line(v) if isinstance(v, list | dict) else v for k, v in row.items()})


def _json_line(value: object) -> str:
    if isinstance(value, Mapping):
        # Parquet has numbers JSON has not
        value = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in value.items()}
    return json.dumps(value, ensure_ascii=False, default=str)

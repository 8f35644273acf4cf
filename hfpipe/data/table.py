"""The rows of one part in memory: texts, labels as the file has them, and where each row stands.

Labels of CSV files are texts; JSON-lines and Parquet bring types, and a part that mixes them is
refused: 1 and "1" look alike in a table and are two labels to a program.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tqdm.auto import tqdm

from hfpipe.data.accounting import PartAccount, Rows
from hfpipe.data.columns import ColumnChoice, ColumnRequest, choose_columns
from hfpipe.data.findings import Findings
from hfpipe.data.places import Places, PlacesBuilder
from hfpipe.data.progress import progress_options
from hfpipe.data.record_stream import Record, RecordStream, SourceFile, place_of, shorten
from hfpipe.data.records import Reading, open_records
from hfpipe.data.sources import PartSource
from hfpipe.errors import Problem


@dataclass(frozen=True)
class Table:
    """The rows of a part that have a text and, in a labelled part, a label; `labels` is empty otherwise."""

    texts: list[str]
    labels: list[str]
    places: Places
    account: PartAccount
    columns: ColumnChoice | None


@dataclass(frozen=True)
class TableRequest:
    """What to read from files, and how."""

    columns: ColumnRequest
    reading: Reading


@dataclass
class _Rows:
    """Rows as they come in; becomes a `Table` when the last file is read."""

    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    places: PlacesBuilder = field(default_factory=PlacesBuilder)
    read: int = 0
    empty: Rows = field(default_factory=lambda: Rows(0))
    unlabelled: Rows = field(default_factory=lambda: Rows(0))
    label_types: dict[str, Rows] = field(default_factory=dict)


def read_table(source: PartSource, request: TableRequest, findings: Findings) -> Table:
    """Return all rows of a part; rows without text or label are counted, what is wrong goes to `findings`."""
    rows = _Rows()
    columns: ColumnChoice | None = None
    with tqdm(desc="reading", unit=" rows", **progress_options()) as bar:
        for file in source.files:
            opened = _open(file, request, columns, findings)
            if opened is None:
                continue
            stream, columns = opened
            records = stream.only(stream.header if source.keep else columns.in_use)
            kept = records if source.keep is None else filter(source.keep, records)
            for record in _counted(kept, bar):
                _take(rows, record, (file, columns), findings)
    _check_one_type(source, rows, findings)
    account = PartAccount(_source_name(source), rows.read)
    account = account.without("empty", rows.empty).without("unlabelled", rows.unlabelled)
    return Table(rows.texts, rows.labels, rows.places.build(), account, columns)


def _open(
    file: SourceFile, request: TableRequest, columns: ColumnChoice | None, findings: Findings
) -> tuple[RecordStream, ColumnChoice] | None:
    if request.columns.labelled and file.suffix == ".txt":
        remedy = "use .csv, .tsv, .jsonl or .parquet, or name the files with a glob such as data/*.csv"
        findings.add("files without labels", file.name, Problem(file.name, "plain text", "it has no labels", remedy))
        return None
    stream = open_records(file, findings, reading=request.reading)
    if stream is None:
        return None
    wanted = request.columns if columns is None else columns.repeated()
    chosen = choose_columns(stream.header, wanted, findings=findings, name=file.name)
    return None if chosen is None else (stream, columns or chosen)


def _counted(records: Iterator[Record], bar: "tqdm[None]") -> Iterator[Record]:
    for number, record in enumerate(records, start=1):
        if number % 1000 == 0:
            bar.update(1000)
        yield record


def _take(rows: _Rows, record: Record, origin: tuple[SourceFile, ColumnChoice], findings: Findings) -> None:
    file, columns = origin
    rows.read += 1
    text = record.values[columns.text]
    if not (text is None or isinstance(text, str)):
        problem = _type_problem(place_of(file.name, record.line), columns.text, text)
        findings.add("texts of another type", file.name, problem)
        return
    if text is None or not text.strip():
        rows.empty = rows.empty.also(place_of(file.name, record.line))
        return
    if columns.label is not None:
        label = _label(rows, record, (file, columns.label), findings)
        if label is None:
            return
        rows.labels.append(label)
    rows.texts.append(text)
    rows.places.add(file.name, record.line)


def _label(rows: _Rows, record: Record, origin: tuple[SourceFile, str], findings: Findings) -> str | None:
    file, column = origin
    value = record.values[column]
    if value is None or (isinstance(value, str) and not value.strip()):
        rows.unlabelled = rows.unlabelled.also(place_of(file.name, record.line))
        return None
    if file.suffix in (".csv", ".tsv"):
        return str(value)
    if not isinstance(value, str | int):
        problem = _type_problem(place_of(file.name, record.line), column, value, "a label is a text or a whole number")
        findings.add("labels of another type", file.name, problem)
        return None
    kind = "truth values" if isinstance(value, bool) else "numbers" if isinstance(value, int) else "texts"
    rows.label_types[kind] = rows.label_types.get(kind, Rows(0)).also(place_of(file.name, record.line))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type_problem(place: str, column: str, value: object, rule: str = "a text is expected") -> Problem:
    name = {"int": "a number", "float": "a number with decimals", "bool": "a truth value", "list": "a list"}
    kind = name.get(type(value).__name__, f"a value of type {type(value).__name__}")
    return Problem(place, f"column {column!r} holds {kind}, {shorten(str(value))}", rule)


def _check_one_type(source: PartSource, rows: _Rows, findings: Findings) -> None:
    if len(rows.label_types) > 1:
        kinds = ", ".join(f"{kind} ({r.count:,}, as {r.examples[0]})" for kind, r in rows.label_types.items())
        problem = Problem(_source_name(source), f"labels are {kinds}", "labels are of one type", "write all as texts")
        findings.add("mixed labels", source.key, problem)


def _source_name(source: PartSource) -> str:
    first = source.files[0].name if source.files else source.key
    return first if len(source.files) <= 1 else f"{first} and {len(source.files) - 1:,} more"

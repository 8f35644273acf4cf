"""The rows of one part in memory: texts, labels as the file has them, and where each row stands.

Labels of CSV files are texts; other formats bring types, and a part that mixes them is refused: 1 and
"1" look alike in a table and are two labels to a program. The text of several columns is joined from
those that are not empty; a row is empty where all are, or where its second text is.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from tqdm.auto import tqdm

from hfpipe.config.sections import MULTI_LABEL
from hfpipe.data.accounting import PartAccount, Rows
from hfpipe.data.columns import ColumnChoice, ColumnRequest, choose_columns, is_empty, join_texts
from hfpipe.data.encoding import UnreadableTextError
from hfpipe.data.findings import Findings
from hfpipe.data.label_column import ONE_LABEL, LabelColumn, LabelShape, describe_value
from hfpipe.data.places import Places, PlacesBuilder
from hfpipe.data.progress import progress_options
from hfpipe.data.record_stream import Record, RecordStream, SourceFile, place_of
from hfpipe.data.records import Reading, open_records
from hfpipe.data.slices import SliceColumns, find_slice_problems
from hfpipe.data.sources import PartSource
from hfpipe.data.text_cleaner import TextCleaner
from hfpipe.data.text_store import TextWriter
from hfpipe.errors import Problem


@dataclass(frozen=True)
class Table:
    """The rows of a part that have a text and, in a labelled part, a label.

    By the shape of the labels one of `labels`, `label_sets` (sorted, possibly empty) and `numbers` is filled, none in
    a part without labels. `text_pairs` are the second texts, None where there are none; `slices` the values of further
    columns by name, '' where a row has none.
    """

    texts: Sequence[str]
    labels: list[str]
    places: Places
    account: PartAccount
    columns: ColumnChoice | None
    text_pairs: list[str] | None = None
    label_sets: list[tuple[str, ...]] = field(default_factory=list)
    numbers: list[float] = field(default_factory=list)
    slices: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def answers(self) -> Sequence[Hashable]:
        """What a model is to say of each row, whatever its shape; empty without labels."""
        return self.labels or self.label_sets or self.numbers

    @property
    def inputs(self) -> Sequence[Hashable]:
        """What a model sees of each row: its text, or its two texts."""
        return self.texts if self.text_pairs is None else list(zip(self.texts, self.text_pairs, strict=True))


@dataclass(frozen=True)
class TableRequest:
    """What to read from files, how, and the steps that clean the texts of a row.

    Texts are kept in memory, or in a file of the folder `spools`.
    """

    columns: ColumnRequest
    reading: Reading
    shape: LabelShape = ONE_LABEL
    cleaning: tuple[str, ...] = ()
    spools: Path | None = None


@dataclass
class _Rows:
    """Rows as they come in; becomes a `Table` when the last file is read."""

    labels: LabelColumn
    cleaner: TextCleaner
    texts: list[str] | TextWriter = field(default_factory=list)
    text_pairs: list[str] = field(default_factory=list)
    places: PlacesBuilder = field(default_factory=PlacesBuilder)
    slices: SliceColumns = field(default_factory=SliceColumns)
    read: int = 0
    empty: Rows = field(default_factory=lambda: Rows(0))
    emptied: Rows = field(default_factory=lambda: Rows(0))
    partly_empty: Rows = field(default_factory=lambda: Rows(0))


def read_table(source: PartSource, request: TableRequest, findings: Findings) -> Table:
    """Return all rows of a part; rows without text or label are counted, what is wrong goes to `findings`."""
    texts: list[str] | TextWriter = [] if request.spools is None else TextWriter(request.spools)
    rows = _Rows(LabelColumn(request.shape), TextCleaner(request.cleaning), texts)
    columns: ColumnChoice | None = None
    with tqdm(desc="reading", unit=" rows", **progress_options()) as bar:
        for file in source.files:
            before = _state(file)
            opened = _open(file, request, columns, findings)
            if opened is None:
                continue
            stream, columns = opened
            if stream.parts is not None and isinstance(rows.texts, TextWriter) and not request.cleaning:
                _take_parts(rows, rows.texts, file, stream.parts)
            else:
                records = stream.only(stream.header if source.keep else columns.in_use)
                kept = records if source.keep is None else filter(source.keep, records)
                for record in _counted(kept, bar):
                    _take(rows, record, (file, columns), findings)
            if _state(file) != before:
                value, rule = "changed while it was read", "rows may be missing or cut"
                problem = Problem(file.name, value, rule, "begin again when the file is complete")
                findings.add("files that change", file.name, problem)
    _check_one_type(source, rows, findings)
    _note_parts(source, rows, columns, findings)
    return _table(source, rows, columns)


def _state(file: SourceFile) -> tuple[int, int]:
    status = file.path.stat()
    return status.st_size, status.st_mtime_ns


def _table(source: PartSource, rows: _Rows, columns: ColumnChoice | None) -> Table:
    account = PartAccount(_source_name(source), rows.read, cleaned=rows.cleaner.changed)
    account = account.without("empty", rows.empty).without("emptied", rows.emptied)
    account = account.without("unlabelled", rows.labels.unlabelled)
    pairs = rows.text_pairs if columns is not None and columns.text_pair is not None else None
    found = rows.labels
    places, slices = rows.places.build(), rows.slices.values
    texts = rows.texts.build() if isinstance(rows.texts, TextWriter) else rows.texts
    return Table(texts, found.labels, places, account, columns, pairs, found.label_sets, found.numbers, slices)


def _open(
    file: SourceFile, request: TableRequest, columns: ColumnChoice | None, findings: Findings
) -> tuple[RecordStream, ColumnChoice] | None:
    if request.columns.labelled and not _may_have_labels(file, request.shape, findings):
        return None
    stream = open_records(file, findings, reading=request.reading)
    if stream is None:
        return None
    wanted = request.columns if columns is None else columns.repeated()
    chosen = choose_columns(stream.header, wanted, findings=findings, name=file.name)
    return None if chosen is None else (stream, columns or chosen)


def _may_have_labels(file: SourceFile, shape: LabelShape, findings: Findings) -> bool:
    if file.suffix == ".txt":
        remedy = "use .csv, .tsv, .jsonl or .parquet, or name the files with a glob such as data/*.csv"
        findings.add("files without labels", file.name, Problem(file.name, "plain text", "it has no labels", remedy))
        return False
    if shape.problem_type == MULTI_LABEL and shape.delimiter is None and file.suffix in (".csv", ".tsv"):
        rule = f"its cells are texts, and problem_type: {MULTI_LABEL} needs to know where one label ends"
        remedy = "set label_delimiter, as in label_delimiter: ';'"
        problem = Problem(file.name, "several labels in a cell", rule, remedy)
        findings.add("files without a label delimiter", file.name, problem)
        return False
    return True


def _counted(records: Iterator[Record], bar: "tqdm[None]") -> Iterator[Record]:
    for number, record in enumerate(records, start=1):
        if number % 1000 == 0:
            bar.update(1000)
        yield record


def _take(rows: _Rows, record: Record, origin: tuple[SourceFile, ColumnChoice], findings: Findings) -> None:
    file, columns = origin
    rows.read += 1
    wanted = columns.texts if columns.text_pair is None else (*columns.texts, columns.text_pair)
    others = [problem for column in wanted if (problem := find_type_problem(record, column, file.name))]
    for problem in others:
        findings.add("texts of another type", file.name, problem)
    ungrouped = list(find_slice_problems(record, columns, file.name))
    for problem in ungrouped:
        findings.add("values that make no slice", file.name, problem)
    if others or ungrouped:
        return
    parts = [record.values[column] for column in columns.texts]
    text = join_texts(parts, columns.text_delimiter)
    pairs = [str(record.values[columns.text_pair] or "")] if columns.text_pair is not None else []
    place = place_of(file.name, record.line)
    if any(map(is_empty, (text, *pairs))):
        rows.empty = rows.empty.also(place)
        return
    text, *pairs = rows.cleaner.clean((text, *pairs), place)
    if any(map(is_empty, (text, *pairs))):
        rows.emptied = rows.emptied.also(place)
        return
    if columns.label is not None:
        label = record.values[columns.label]
        if not rows.labels.take(label, (file, record.line, columns.label), findings):
            return
    if len(parts) > 1 and any(map(is_empty, parts)):
        rows.partly_empty = rows.partly_empty.also(place)
    rows.texts.append(text)
    rows.text_pairs.extend(pairs)
    rows.places.add(file.name, record.line)
    rows.slices.take(record, columns)


def _take_parts(rows: _Rows, texts: TextWriter, file: SourceFile, parts: Iterator[str]) -> None:
    """Take a file that is one text, part by part; what keeps it from being read to its end is in the findings."""
    begun: list[str] = []
    try:
        for part in parts:
            begun.append(part)
            if not is_empty(part):
                texts.extend(chain(begun, parts))
                rows.places.add(file.name, 1)
                break
        else:
            rows.empty = rows.empty.also(place_of(file.name, 1))
    except UnreadableTextError:
        return
    rows.read += 1


def find_type_problem(record: Record, column: str, name: str) -> Problem | None:
    """Return what is wrong where `column` of a record of the file `name` holds neither a text nor nothing."""
    value = record.values[column]
    if value is None or isinstance(value, str):
        return None
    held = f"column {column!r} holds {describe_value(value)}"
    remedy = "write it as a text, or name another column"
    return Problem(place_of(name, record.line), held, "a text is expected", remedy)


def _check_one_type(source: PartSource, rows: _Rows, findings: Findings) -> None:
    if len(rows.labels.types) > 1:
        kinds = ", ".join(f"{kind} ({r.count:,}, as {r.examples[0]})" for kind, r in rows.labels.types.items())
        problem = Problem(_source_name(source), f"labels are {kinds}", "labels are of one type", "write all as texts")
        findings.add("mixed labels", source.key, problem)


def _note_parts(source: PartSource, rows: _Rows, columns: ColumnChoice | None, findings: Findings) -> None:
    name, partly = _source_name(source), rows.partly_empty
    if partly.count and columns is not None:
        noun = "row lacks" if partly.count == 1 else "rows lack"
        names = ", ".join(map(repr, columns.texts))
        findings.note(f"{name}: {partly.count:,} {noun} one of {names}, {partly.examples[0]} first: joined without it")


def _source_name(source: PartSource) -> str:
    first = source.files[0].name if source.files else source.key
    return first if len(source.files) <= 1 else f"{first} and {len(source.files) - 1:,} more"

"""Files as `hfpipe inspect` reads them: all rows that have a text, with whatever label stands there.

The readers are a run's own, and what they cannot read is refused as a run refuses it. Labels that a run would refuse
are looked at as they are, and what it would say is a finding.
"""

from collections.abc import Iterator, Mapping, Sequence

from hfpipe.config.cleaning_names import select_text_steps
from hfpipe.config.sections import REGRESSION, DataSettings
from hfpipe.data.columns import request_columns
from hfpipe.data.findings import Findings
from hfpipe.data.label_column import LabelShape
from hfpipe.data.record_stream import Record
from hfpipe.data.records import Reading, open_records
from hfpipe.data.sources import PartSource, Sources, find_sources
from hfpipe.data.table import Table, TableRequest, read_table
from hfpipe.data.targets import find_targets
from hfpipe.errors import DataError, Problem
from hfpipe.inspection.inspected import TRAIN, Inspected, of_table

MOST_COLUMNS = 100


def read_files(settings: DataSettings, *, labelled: bool, cache_dir: str | None = None) -> Inspected:
    """Return the rows of the files that `settings` name, part by part; without `labelled` no label is looked for.

    Raises:
        DataError: With all problems of all files, if any cannot be read.
    """
    findings = Findings()
    sources = find_sources(settings, findings, labelled=labelled, cache_dir=cache_dir)
    findings.raise_if_any()
    reading = Reading(settings.field_delimiter, settings.document_per, settings.encoding)
    tables = _read_tables(sources, settings, findings, labelled=labelled)
    findings.raise_if_any()
    train = tables[TRAIN]
    assert train.columns is not None, "a file that was read has columns"
    if not train.texts:
        rule = f"{train.account.read:,} rows were read, and none has a text{' and a label' if labelled else ''}"
        raise DataError(Problem(train.account.source, "nothing to look at", rule, "name other columns"))
    parts = tuple(of_table(name, table) for name, table in tables.items())
    others = _read_other_columns(sources.train, reading, train) if labelled else {}
    return Inspected(
        parts,
        settings.problem_type if labelled else None,
        train.columns,
        other_columns=others,
        refusals=tuple(_find_refusals(tables, settings, dict(sources.label_names))) if labelled else (),
    )


def _read_tables(sources: Sources, settings: DataSettings, findings: Findings, *, labelled: bool) -> dict[str, Table]:
    reading = Reading(settings.field_delimiter, settings.document_per, settings.encoding)
    shape = LabelShape(settings.problem_type, settings.label_delimiter)
    columns = request_columns(settings, labelled=labelled)
    steps = select_text_steps(settings.cleaning_steps)
    train = read_table(sources.train, TableRequest(columns, reading, shape, steps), findings)
    repeated = columns if train.columns is None else train.columns.repeated()
    request = TableRequest(repeated, reading, shape, steps)
    others = {"validation": sources.validation, "test": sources.test}
    tables = {name: read_table(source, request, findings) for name, source in others.items() if source is not None}
    return {TRAIN: train, **tables}


def _find_refusals(tables: Mapping[str, Table], settings: DataSettings, brought: Mapping[str, str]) -> Iterator[str]:
    findings = Findings()
    targets = find_targets(tables, settings, brought=brought, findings=findings)
    if not findings and settings.problem_type != REGRESSION:
        targets.check_train(tables[TRAIN], findings, is_split="validation" not in tables)
    yield from map(str, findings.problems())


def _read_other_columns(source: PartSource, reading: Reading, train: Table) -> dict[str, Sequence[str]]:
    """Return the values of the columns that are neither text nor label, a value for each row of the table.

    The file is read once more, and only where there are such columns.
    """
    assert train.columns is not None
    names = train.columns.unread[:MOST_COLUMNS]
    found: dict[str, list[str]] = {name: [] for name in names}
    if not names:
        return {}
    rows = zip(train.places.file_ids.tolist(), train.places.lines.tolist(), strict=True)
    awaited = next(rows, None)
    known: dict[str, str] = {}
    for file_id, record in _records(source, reading, train):
        if awaited != (file_id, record.line):
            continue
        for name in names:
            value = str(record.values.get(name))
            # values of a category share one string
            found[name].append(known.setdefault(value, value) if len(known) < MOST_COLUMNS * 100 else value)
        awaited = next(rows, None)
    return {name: values for name, values in found.items() if len(values) == len(train.texts)}


def _records(source: PartSource, reading: Reading, train: Table) -> Iterator[tuple[int, Record]]:
    ids = {name: index for index, name in enumerate(train.places.files)}
    for file in source.files:
        stream = open_records(file, Findings(), reading=reading)
        if stream is not None and file.name in ids:
            for record in stream.records if source.keep is None else filter(source.keep, stream.records):
                yield ids[file.name], record

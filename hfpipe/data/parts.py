"""The parts of a run - training, validation, test - with every row accounted for.

Refuses input that cannot be used as it stands, all problems of all files in one message. The
validation part is its own file or a stratified share of the training part, never the test file.
Validation and test rows are scored as they are; it is the training part that gives way: rows whose
text stands in another part, repeats and contradictions are left out of it, and counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hfpipe.config.sections import DataSettings
from hfpipe.data.accounting import DataSummary, fingerprint
from hfpipe.data.cleaning import clean_tables
from hfpipe.data.columns import ColumnChoice, ColumnRequest
from hfpipe.data.findings import Findings
from hfpipe.data.labels import Labels, check_class_sizes, check_known, find_labels
from hfpipe.data.places import Places
from hfpipe.data.records import Reading
from hfpipe.data.selection import select_rows
from hfpipe.data.sources import PartSource, Sources, find_sources
from hfpipe.data.table import Table, TableRequest, read_table
from hfpipe.errors import Problem

__all__ = [
    "DocumentPart",
    "DocumentParts",
    "LabelledPart",
    "LabelledParts",
    "Places",
    "load_document_parts",
    "load_labelled_parts",
]


@dataclass(frozen=True)
class LabelledPart:
    """Texts with label ids (int64, one a row), in the order of the files."""

    texts: list[str]
    label_ids: np.ndarray
    places: Places


@dataclass(frozen=True)
class LabelledParts:
    """What a classifier trains on and is judged by; `label_names` in the order of the label ids."""

    train: LabelledPart
    validation: LabelledPart
    test: LabelledPart | None
    label_names: tuple[str, ...]
    columns: ColumnChoice
    summary: DataSummary


@dataclass(frozen=True)
class DocumentPart:
    """Documents, in the order of the files."""

    texts: list[str]
    places: Places


@dataclass(frozen=True)
class DocumentParts:
    """What a language model trains on and is judged by."""

    train: DocumentPart
    validation: DocumentPart
    test: DocumentPart | None
    summary: DataSummary


def load_labelled_parts(settings: DataSettings, *, seed: int) -> LabelledParts:
    """Return the parts of a classification run; the same settings, files and seed give the same rows.

    Raises:
        DataError: With all problems of all files, if any cannot be used.
    """
    findings = Findings()
    sources = find_sources(settings, findings)
    raw = _read_tables(settings, sources, findings, labelled=True)
    labels = _check_labels(raw, settings.label_names or dict(sources.label_names) or None, findings)
    tables = clean_tables(raw)
    _check_rows(tables, findings)
    if not findings:
        check_class_sizes(tables["train"], labels, findings=findings, is_split="validation" not in tables)
        _check_sample_size(settings.max_train_samples, labels, findings)
    findings.raise_if_any()
    classes = {name: labels.encode(table.labels) for name, table in tables.items()}
    selected = select_rows(tables, classes, settings=settings, seed=seed)
    parts = {name: _labelled_part(table, labels) for name, table in selected.items()}
    summary = _summary(selected, sources, findings, _label_counts(parts, labels))
    test = parts.get("test")
    return LabelledParts(parts["train"], parts["validation"], test, labels.names, summary.columns, summary)


def load_document_parts(settings: DataSettings, *, seed: int) -> DocumentParts:
    """Return the parts of a language-model run; the same settings, files and seed give the same documents.

    Raises:
        DataError: With all problems of all files, if any cannot be used.
    """
    findings = Findings()
    sources = find_sources(settings, findings)
    tables = clean_tables(_read_tables(settings, sources, findings, labelled=False))
    _check_rows(tables, findings)
    if not findings and "validation" not in tables:
        _check_document_count(tables["train"], findings)
    findings.raise_if_any()
    classes = {name: np.zeros(len(table.texts), dtype=np.int64) for name, table in tables.items()}
    selected = select_rows(tables, classes, settings=settings, seed=seed)
    parts = {name: DocumentPart(table.texts, table.places) for name, table in selected.items()}
    summary = _summary(selected, sources, findings, {})
    return DocumentParts(parts["train"], parts["validation"], parts.get("test"), summary)


def _read_tables(settings: DataSettings, sources: Sources, findings: Findings, *, labelled: bool) -> dict[str, Table]:
    reading = Reading(settings.field_delimiter, settings.document_per)
    columns = ColumnRequest(settings.text_column_names, settings.label_column_name, labelled)
    train = read_table(sources.train, TableRequest(columns, reading), findings)
    request = TableRequest(columns if train.columns is None else train.columns.repeated(), reading)
    others = {"validation": sources.validation, "test": sources.test}
    tables = {name: read_table(source, request, findings) for name, source in others.items() if source is not None}
    return {"train": train, **tables}


def _check_labels(tables: Mapping[str, Table], named: Mapping[str, str] | None, findings: Findings) -> Labels:
    labels = find_labels(tables["train"], findings, named=named)
    for name, table in tables.items():
        if name != "train" and tables["train"].labels:
            check_known(name, table, labels, findings)
    return labels


def _check_rows(tables: Mapping[str, Table], findings: Findings) -> None:
    if findings:
        return
    for table in tables.values():
        if not table.texts:
            account = table.account
            reasons = ", ".join(f"{rows.count:,} {reason}" for reason, rows in account.left_out.items())
            rule = f"{account.read:,} rows were read" + (f": {reasons}" if reasons else "")
            problem = Problem(account.source, "no row can be used", rule)
            findings.add("files without rows", account.source, problem)


def _check_sample_size(limit: int | None, labels: Labels, findings: Findings) -> None:
    if limit is not None and limit < len(labels.values):
        rule = f"there are {len(labels.values):,} labels, and each needs a row"
        findings.add("settings", "", Problem(f"max_train_samples: {limit}", "", rule, "raise it"))


def _check_document_count(train: Table, findings: Findings) -> None:
    if len(train.texts) < 2:
        remedy = "set validation_file, or document_per: line where every line is a document"
        rule = "one document cannot be both trained on and held out"
        findings.add("documents", "", Problem(train.account.source, "a single document", rule, remedy))


def _labelled_part(table: Table, labels: Labels) -> LabelledPart:
    return LabelledPart(table.texts, labels.encode(table.labels), table.places)


def _label_counts(parts: Mapping[str, LabelledPart], labels: Labels) -> dict[str, dict[str, int]]:
    counts = {name: np.bincount(part.label_ids, minlength=len(labels.names)) for name, part in parts.items()}
    return {label: {name: int(counts[name][index]) for name in parts} for index, label in enumerate(labels.names)}


def _summary(
    tables: Mapping[str, Table],
    sources: Sources,
    findings: Findings,
    label_counts: Mapping[str, Mapping[str, int]],
) -> DataSummary:
    columns = tables["train"].columns
    assert columns is not None, "a part with rows has columns"
    in_order: list[PartSource] = [part for part in (sources.train, sources.validation, sources.test) if part]
    files = dict.fromkeys(file for part in in_order for file in part.files)
    accounts = {name: table.account for name, table in tables.items()}
    return DataSummary(accounts, tuple(map(fingerprint, files)), columns, label_counts, findings.notes)

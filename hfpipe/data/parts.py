"""The parts of a run - training, validation, test - with every row accounted for.

Refuses input that cannot be used as it stands, all problems of all files in one message. The
validation part is its own file or a stratified share of the training part, never the test file.
Validation and test rows are scored as they are; it is the training part that gives way: rows whose
text stands in another part, repeats and contradictions are left out of it, and counted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hfpipe.config.cleaning_names import select_text_steps
from hfpipe.config.mixture import read_mixture
from hfpipe.config.sections import DataSettings
from hfpipe.data.accounting import DataSummary, PartAccount, fingerprint
from hfpipe.data.cache_places import find_cache
from hfpipe.data.cleaning import clean_tables
from hfpipe.data.columns import ColumnChoice, request_columns
from hfpipe.data.deduplication import deduplicate_tables
from hfpipe.data.findings import Findings
from hfpipe.data.label_column import LabelShape
from hfpipe.data.label_names import list_labels
from hfpipe.data.mixture import (
    SourceShare,
    find_shares,
    find_source_ids,
    join_sources,
    join_tables,
    share_rows,
    split_by_source,
    whole_source,
    with_label_names,
)
from hfpipe.data.places import Places
from hfpipe.data.records import Reading
from hfpipe.data.selection import select_rows
from hfpipe.data.slices import describe_slices
from hfpipe.data.sources import PartSource, Sources, find_sources
from hfpipe.data.splits import Strata
from hfpipe.data.table import Table, TableRequest, read_table
from hfpipe.data.targets import Targets, check_room, check_sample_size, find_targets
from hfpipe.data.text_store import SPOOLS
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
    """Texts, second texts where there are such, and targets, in the order of the files.

    `targets` are label ids, int64 (rows,); of several labels a row float32 (rows, labels) of 0.0 and 1.0; of numbers
    to predict float32 (rows,). `slices` are the values of further columns by name, '' where a row has none; the
    training part has none of them.
    """

    texts: list[str]
    text_pairs: list[str] | None
    targets: np.ndarray
    places: Places
    slices: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelledParts:
    """What a classifier trains on and is judged by.

    `label_names` in the order of the label ids; of numbers to predict the label column's name alone. `renamed` are the
    labels of the files that go by another name. `sources` are those of a mixture.
    """

    train: LabelledPart
    validation: LabelledPart
    test: LabelledPart | None
    problem_type: str
    label_names: tuple[str, ...]
    renamed: Mapping[str, str]
    summary: DataSummary
    sources: tuple[SourceShare, ...] = ()

    @property
    def columns(self) -> ColumnChoice:
        """The columns of the training part's files."""
        return self.summary.columns


@dataclass(frozen=True)
class DocumentPart:
    """Documents, in the order of the files; they are read from disk one by one."""

    texts: Sequence[str]
    places: Places


@dataclass(frozen=True)
class DocumentParts:
    """What a language model trains on and is judged by; `sources` are those of a mixture."""

    train: DocumentPart
    validation: DocumentPart
    test: DocumentPart | None
    summary: DataSummary
    sources: tuple[SourceShare, ...] = ()


def load_labelled_parts(settings: DataSettings, *, seed: int, cache_dir: str | None = None) -> LabelledParts:
    """Return the parts of a classification run; the same settings, files and seed give the same rows.

    `cache_dir` is where data sets of the Hub are kept, None for the usual place.

    Raises:
        DataError: With all problems of all files, if any cannot be used.
    """
    findings = Findings()
    sources, raw, shares = _read(settings, findings, labelled=True, cache_dir=cache_dir)
    targets = find_targets(raw, settings, brought=dict(sources.label_names), findings=findings)
    tables = deduplicate_tables(clean_tables(raw), settings.cleaning_steps)
    _check_rows(tables, findings)
    strata = _find_strata(tables, targets, settings=settings, seed=seed, findings=findings)
    strata = _by_source(strata, tables, shares)
    selected = select_rows(tables, strata, settings=settings, seed=seed)
    selected["train"] = share_rows(selected["train"], shares, findings, seed=seed)
    selected["train"] = replace(selected["train"], slices={})
    parts = {name: _labelled_part(table, targets) for name, table in selected.items()}
    summary = _labelled_summary(_summary(selected, sources, findings), parts, targets)
    of_parts = (parts["train"], parts["validation"], parts.get("test"))
    return LabelledParts(*of_parts, settings.problem_type, targets.names, targets.renamed, summary, shares)


def load_document_parts(settings: DataSettings, *, seed: int, cache_dir: str | None = None) -> DocumentParts:
    """Return the parts of a language-model run; the same settings, files and seed give the same documents.

    `cache_dir` is where data sets of the Hub are kept, None for the usual place.

    Raises:
        DataError: With all problems of all files, if any cannot be used.
    """
    findings = Findings()
    sources, tables, shares = _read(settings, findings, labelled=False, cache_dir=cache_dir)
    tables = deduplicate_tables(clean_tables(tables), settings.cleaning_steps)
    _check_rows(tables, findings)
    if not findings and "validation" not in tables:
        _check_document_count(tables["train"], findings)
    findings.raise_if_any()
    strata = {name: Strata(np.zeros(len(table.texts), dtype=np.uint8)) for name, table in tables.items()}
    selected = select_rows(tables, _by_source(strata, tables, shares), settings=settings, seed=seed)
    if not selected["validation"].texts:
        _report_single_documents(tables["train"], findings)
        findings.raise_if_any()
    parts = {name: DocumentPart(table.texts, table.places) for name, table in selected.items()}
    summary = _summary(selected, sources, findings)
    return DocumentParts(parts["train"], parts["validation"], parts.get("test"), summary, shares)


def _read(
    settings: DataSettings, findings: Findings, *, labelled: bool, cache_dir: str | None
) -> tuple[Sources, dict[str, Table], tuple[SourceShare, ...]]:
    """Return the files and tables of the parts and, of a mixture, what tells its sources."""
    named = read_mixture(settings)
    spools = None if labelled else find_cache(cache_dir) / SPOOLS
    if not named:
        sources = find_sources(settings, findings, labelled=labelled, cache_dir=cache_dir)
        return sources, _read_tables(settings, sources, findings, spools=spools), ()
    found = [find_sources(each.settings, findings, labelled=labelled, cache_dir=cache_dir) for each in named]
    joined = join_sources(named, found, findings)
    tables = [
        with_label_names(
            _read_tables(each.settings, sources, findings, spools=spools)["train"], dict(brought.label_names)
        )
        for each, sources, brought in zip(named, joined, found, strict=True)
    ]
    table = join_tables(named, tables, findings)
    return whole_source(joined), {"train": table}, find_shares(named, joined)


def _by_source(
    strata: Mapping[str, Strata], tables: Mapping[str, Table], shares: Sequence[SourceShare]
) -> dict[str, Strata]:
    if not shares:
        return dict(strata)
    return {name: split_by_source(strata[name], find_source_ids(tables[name].places, shares)) for name in strata}


def _read_tables(
    settings: DataSettings, sources: Sources, findings: Findings, *, spools: Path | None
) -> dict[str, Table]:
    """Return the tables by part; they have labels where their texts are not spooled."""
    reading = Reading(settings.field_delimiter, settings.document_per, settings.encoding)
    shape = LabelShape(settings.problem_type, settings.label_delimiter)
    columns = request_columns(settings, labelled=spools is None)
    slices, steps = settings.slice_column_names, select_text_steps(settings.cleaning_steps)
    # of the training files they are needed where validation rows come from there
    of_train = columns if sources.validation is not None else replace(columns, slices=slices)
    train = read_table(sources.train, TableRequest(of_train, reading, shape, steps, spools), findings)
    wanted = replace(columns if train.columns is None else train.columns.repeated(), slices=slices)
    request = TableRequest(wanted, reading, shape, steps, spools)
    others = {"validation": sources.validation, "test": sources.test}
    tables = {name: read_table(source, request, findings) for name, source in others.items() if source is not None}
    return {"train": train, **tables}


def _check_rows(tables: Mapping[str, Table], findings: Findings) -> None:
    if findings:
        return
    for table in tables.values():
        if not table.texts:
            account = table.account
            reasons = ", ".join(f"{rows.count:,} {reason}" for reason, rows in account.left_out.items())
            rule = f"{account.read:,} rows were read" + (f": {reasons}" if reasons else "")
            problem = Problem(account.source, "no row can be used", rule, _remedy_of_no_rows(account))
            findings.add("files without rows", account.source, problem)


def _remedy_of_no_rows(account: PartAccount) -> str:
    if not account.read:
        return "name a file that holds rows"
    return "set the columns that are filled, or mend the file"


def _find_strata(
    tables: Mapping[str, Table], targets: Targets, *, settings: DataSettings, seed: int, findings: Findings
) -> dict[str, Strata]:
    """Return the classes rows are split by, once nothing speaks against the tables."""
    findings.raise_if_any()
    strata, is_split = targets.strata(tables, seed=seed), "validation" not in tables
    targets.check_train(tables["train"], findings, is_split=is_split)
    check_sample_size(settings.max_train_samples, strata["train"], targets, findings)
    if is_split and not findings:
        check_room(tables["train"], strata["train"], findings)
    findings.raise_if_any()
    return strata


def _check_document_count(train: Table, findings: Findings) -> None:
    if len(train.texts) < 2:
        _report_single_documents(train, findings)


def _report_single_documents(train: Table, findings: Findings) -> None:
    """Record that nothing can be held out: there is one document, or one of each source of a mixture."""
    count = len(train.texts)
    value = "a single document" if count == 1 else f"{count:,} documents, one of each source"
    remedy = "set document_per: line or paragraph where a file has several documents"
    remedy += ", or validation_file" if count == 1 else ""
    rule = "one document cannot be both trained on and held out"
    findings.add("documents", "", Problem(train.account.source, value, rule, remedy))


def _labelled_part(table: Table, targets: Targets) -> LabelledPart:
    return LabelledPart(list(table.texts), table.text_pairs, targets.encode(table), table.places, table.slices)


def _labelled_summary(summary: DataSummary, parts: Mapping[str, LabelledPart], targets: Targets) -> DataSummary:
    """Return the summary with what is known of the targets of each part."""
    counts = {name: targets.count(part.targets) for name, part in parts.items()}
    of_label = [{name: int(counts[name][index]) for name in parts} for index in range(len(counts["train"]))]
    described = {name: targets.describe(part.targets) for name, part in parts.items()}
    statistics = {name: found for name, found in described.items() if found is not None}
    accounts = {name: _noting_unlabelled(account, parts[name]) for name, account in summary.parts.items()}
    label_counts = dict(zip(targets.names, of_label, strict=False))
    notes = (*summary.notes, *_unseen_labels(label_counts)) if statistics else summary.notes
    notes = (*notes, *describe_slices({name: part.slices for name, part in parts.items()}))
    return replace(summary, parts=accounts, label_counts=label_counts, statistics=statistics, notes=notes)


def _unseen_labels(label_counts: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Yield a line for each part that has no row of some labels: rows have several, so a split cannot promise one."""
    for part in dict.fromkeys(part for counts in label_counts.values() for part in counts):
        unseen = [label for label, counts in label_counts.items() if not counts[part]]
        if unseen:
            yield f"no row of the {part} part has {list_labels(unseen)}: it does not tell how well they are found"


def _noting_unlabelled(account: PartAccount, part: LabelledPart) -> PartAccount:
    if part.targets.ndim == 1:
        return account
    return account.noting("without_labels", part.places.rows(np.flatnonzero(~part.targets.any(axis=1))))


def _summary(tables: Mapping[str, Table], sources: Sources, findings: Findings) -> DataSummary:
    columns = tables["train"].columns
    assert columns is not None, "a part with rows has columns"
    in_order: list[PartSource] = [part for part in (sources.train, sources.validation, sources.test) if part]
    files = dict.fromkeys(file for part in in_order for file in part.files)
    accounts = {name: table.account for name, table in tables.items()}
    return DataSummary(accounts, tuple(map(fingerprint, files)), columns, notes=findings.notes)

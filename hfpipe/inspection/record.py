"""`findings.json`: what a look at the data found, in the form that the terminal, the report and programs read.

Refuses a file of another format. A finding counts rows, says where the first ones stand and what can be done about
them; personal data are masked before they get here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hfpipe.errors import CheckpointError, Problem
from hfpipe.records.run_directory import read_json, write_json
from hfpipe.records.typed_json import from_plain, to_plain

FINDINGS_FILE = "findings.json"
FINDINGS_FORMAT = "hfpipe findings 1"
SERIOUS, LOOK, NOTE = "serious", "look", "note"
SEVERITIES = (SERIOUS, LOOK, NOTE)
"""Worst first: scores or labels cannot be trusted; likely to cost something; good to know."""

_BY_EXAMPLE = ("leak_", "imbalance", "rare_label", "refused")
_REMEDY = "use the version that wrote it, or make it again by hfpipe inspect"


@dataclass(frozen=True)
class FoundRow:
    """One row of a finding: where it stands, what is said of it, and how its text begins ('' where that is no help)."""

    place: str
    note: str
    excerpt: str


@dataclass(frozen=True)
class Finding:
    """One thing found: `count` of `of` rows in `part` ('' for all parts together), and the first of them.

    `kind` is a name for programs, `title` words for readers; `detail` says what was looked at and how sure it is.
    `rows` may be fewer than `count`.
    """

    kind: str
    severity: str
    part: str
    title: str
    count: int
    of: int
    detail: str
    remedy: str
    rows: tuple[FoundRow, ...]

    @property
    def share(self) -> float:
        """The share of rows, from 0 to 1."""
        return self.count / self.of if self.of else 0.0


@dataclass(frozen=True)
class NotLookedFor:
    """A kind of finding that was not looked for, and why."""

    kind: str
    reason: str


@dataclass(frozen=True)
class PartOverview:
    """The rows of a part: those read from `source`, and those that are looked at."""

    name: str
    source: str
    read: int
    rows: int


@dataclass(frozen=True)
class LabelCount:
    """The rows of one label, by part."""

    label: str
    counts: Mapping[str, int]


@dataclass(frozen=True)
class NumberRange:
    """The numbers to predict of one part."""

    part: str
    minimum: float
    median: float
    mean: float
    maximum: float


@dataclass(frozen=True)
class Lengths:
    """How long the texts of a part are; `unit` is 'tokens', 'words', 'characters' or 'bytes'."""

    part: str
    unit: str
    minimum: int
    median: int
    p90: int
    p99: int
    maximum: int


@dataclass(frozen=True)
class Cut:
    """The shares of texts and of tokens, from 0 to 1, that go at a `max_seq_length`; `is_chosen` marks the run's."""

    max_seq_length: int
    texts: float
    tokens: float
    is_chosen: bool


@dataclass(frozen=True)
class Overview:
    """What the data are: parts, columns, labels, numbers and lengths; without labels `problem_type` is None."""

    problem_type: str | None
    columns: str
    parts: tuple[PartOverview, ...]
    labels: tuple[LabelCount, ...]
    numbers: tuple[NumberRange, ...]
    lengths: tuple[Lengths, ...]
    cuts: tuple[Cut, ...]


@dataclass(frozen=True)
class FindingsRecord:
    """All that was found, worst first."""

    overview: Overview
    findings: tuple[Finding, ...]
    not_looked_for: tuple[NotLookedFor, ...]

    def with_rows(self, limit: int) -> "FindingsRecord":
        """Return the record with at most `limit` rows a finding; counts stay."""
        return replace(self, findings=tuple(replace(each, rows=each.rows[:limit]) for each in self.findings))

    def to_json(self) -> dict[str, Any]:
        """Return the record for a file."""
        plain = to_plain(self)
        for written, finding in zip(plain["findings"], self.findings, strict=True):
            written["share"] = round(finding.share, 6)
        return {"format": FINDINGS_FORMAT, **plain}


def is_by_example(finding: Finding) -> bool:
    """Return whether `rows` are words, labels or messages with a row beside each, rather than the rows counted."""
    return finding.kind.startswith(_BY_EXAMPLE)


def rank(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return findings worst first: by severity, then by share."""
    return tuple(sorted(findings, key=lambda each: (SEVERITIES.index(each.severity), -each.share, each.kind)))


def write_findings(path: Path, record: FindingsRecord) -> None:
    """Write the record to `path`, whole.

    Raises:
        CheckpointError: If it cannot be written.
    """
    write_json(path, record.to_json())


def read_findings(path: Path) -> FindingsRecord:
    """Return the record in `path`.

    Raises:
        CheckpointError: If it cannot be read, is of another format, or has keys or values of no such record.
    """
    value = read_json(path)
    if not isinstance(value, dict) or value.get("format") != FINDINGS_FORMAT:
        found = repr(value.get("format")) if isinstance(value, dict) else "no mapping"
        raise CheckpointError(Problem(str(path), f"format {found}", f"must be {FINDINGS_FORMAT!r}", _REMEDY))
    plain = {key: each for key, each in value.items() if key != "format"}
    if isinstance(plain.get("findings"), list):
        # a share is computed from its counts
        plain["findings"] = [
            {key: each for key, each in finding.items() if key != "share"} if isinstance(finding, dict) else finding
            for finding in plain["findings"]
        ]
    return from_plain(FindingsRecord, plain, place=str(path), remedy=_REMEDY)

"""What became of every row: used, or left out for a stated reason with places to look at.

The counts add up to the rows read; that is asserted, not hoped for.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from hfpipe.data.columns import ColumnChoice
from hfpipe.data.record_stream import SourceFile

EXAMPLES = 3

REASONS: Mapping[str, str] = {
    "empty": "empty text",
    "emptied": "nothing left of the text after cleaning_steps",
    "unlabelled": "no label",
    "in_validation_or_test": "text stands in the validation or test part",
    "conflicting": "same text with different labels",
    "duplicate": "same text as an earlier row",
    "near_validation_or_test": "text nearly that of a validation or test row",
    "near_duplicate": "text nearly that of an earlier row with the same label",
    "near_conflicting": "text nearly that of an earlier row with another label",
    "held_out_for_validation": "held out for validation",
    "over_max_samples": "beyond the number of samples asked for",
    "beyond_mixture_share": "beyond its source's share of the mixture",
    "repeated_in_mixture": "used more than once an epoch, as repeat allows",
    "over_long": "too long to be kept whole, cut as long_texts says",
    "also_in_test": "text stands in the test part too",
    "without_labels": "no label at all (an empty list or cell)",
}

# by the seed: their places tell nothing
_CHOSEN = ("held_out_for_validation", "over_max_samples", "beyond_mixture_share")


@dataclass(frozen=True)
class Rows:
    """A number of rows and up to three places where such rows stand."""

    count: int
    examples: tuple[str, ...] = ()

    def also(self, place: str) -> "Rows":
        """Return these rows and one more."""
        examples = (*self.examples, place) if len(self.examples) < EXAMPLES else self.examples
        return Rows(self.count + 1, examples)


@dataclass(frozen=True)
class PartAccount:
    """The rows of one part: those read, those left out by reason, and those used that are worth a word.

    `cleaned` are the cleaning steps in their order, each with the rows it changed.
    """

    source: str
    read: int
    left_out: Mapping[str, Rows] = field(default_factory=dict)
    noted: Mapping[str, Rows] = field(default_factory=dict)
    cleaned: tuple[tuple[str, Rows], ...] = ()

    @property
    def used(self) -> int:
        """Rows that are neither left out nor in another part."""
        return self.read - sum(rows.count for rows in self.left_out.values())

    def without(self, reason: str, rows: Rows) -> "PartAccount":
        """Return the account after rows were left out; none change nothing."""
        return replace(self, left_out={**self.left_out, reason: rows}) if rows.count else self

    def noting(self, reason: str, rows: Rows) -> "PartAccount":
        """Return the account with a word on rows that stay in use."""
        return replace(self, noted={**self.noted, reason: rows}) if rows.count else self

    def to_json(self) -> dict[str, Any]:
        """Return the account for a record: every count with its example places."""
        steps = [{"step": step, **_rows_json(rows)} for step, rows in self.cleaned]
        return {
            "source": self.source,
            "read": self.read,
            "used": self.used,
            **({"cleaned": steps} if steps else {}),
            "left_out": {reason: _rows_json(rows) for reason, rows in self.left_out.items()},
            "noted": {reason: _rows_json(rows) for reason, rows in self.noted.items()},
        }

    def lines(self, part: str) -> Iterator[str]:
        """Yield the account as lines for the log: the sum first, then each reason with its places."""
        terms = [f"{self.used:,} used", *(f"{r.count:,} {_words(reason)}" for reason, r in self.left_out.items())]
        yield f"{part}: {self.read:,} rows from {self.source} = {' + '.join(terms)}"
        for reason, rows in self.left_out.items():
            if reason not in _CHOSEN:
                yield f"{part}: left out: {REASONS[reason]}: {rows.count:,} {_places(rows)}"
        for reason, rows in self.noted.items():
            yield f"{part}: kept: {REASONS[reason]}: {rows.count:,} {_places(rows)}"
        with_text = self.read - self.left_out.get("empty", Rows(0)).count
        for step, rows in self.cleaned:
            yield f"{part}: {rows.count:,} of {with_text:,} texts changed by {step} {_places(rows)}".rstrip()


@dataclass(frozen=True)
class FileFingerprint:
    """A file as it was read: name, size and SHA-256 of its bytes; None for a file that is read while training.

    What has an `identity`, such as the revision of a data set, is known by it; `sha256`, where there is one, is then
    that of the identity.
    """

    name: str
    size_bytes: int
    sha256: str | None
    identity: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fingerprint for a record."""
        identity = {} if self.identity is None else {"identity": self.identity}
        size = {"size_bytes": self.size_bytes} if self.identity is None or self.sha256 is None else {}
        return {"name": self.name, **identity, **size, "sha256": self.sha256}

    def line(self) -> str:
        """Return the fingerprint as a line for the log."""
        if self.identity is not None:
            return f"data {self.name}: {self.identity}"
        return f"file {self.name}: {self.size_bytes:,} bytes, sha256 {str(self.sha256)[:16]}"


class Statistics(Protocol):
    """What is said of the targets of a part beside the counts of its labels."""

    def to_json(self) -> dict[str, Any]:
        """Return the statistics for a record."""
        ...

    def line(self) -> str:
        """Return the statistics as words for the log."""
        ...


@dataclass(frozen=True)
class DataSummary:
    """All that is known of the data before anything is tokenized.

    `label_counts` holds, for each label in the order of its id, the rows used by part; `statistics` says by part what
    counts do not say: the range of numbers to predict, or how many labels rows have.
    """

    parts: Mapping[str, PartAccount]
    files: tuple[FileFingerprint, ...]
    columns: ColumnChoice
    label_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    statistics: Mapping[str, Statistics] = field(default_factory=dict)

    def with_over_long(self, over_long: Mapping[str, tuple[int, Sequence[str]]]) -> "DataSummary":
        """Return the summary with the texts of each part that are longer than `max_seq_length` tokens.

        `over_long` maps a part's name to the number of such texts and places where some stand.
        """
        parts = {
            name: account.noting("over_long", Rows(over_long[name][0], tuple(over_long[name][1][:EXAMPLES])))
            if name in over_long
            else account
            for name, account in self.parts.items()
        }
        return replace(self, parts=parts)

    def to_json(self) -> dict[str, Any]:
        """Return the summary for a record, all counts and fingerprints included."""
        return {
            "parts": {name: account.to_json() for name, account in self.parts.items()},
            "labels": {label: dict(counts) for label, counts in self.label_counts.items()},
            "targets": {part: statistics.to_json() for part, statistics in self.statistics.items()},
            "columns": self.columns.to_json(),
            "files": [file.to_json() for file in self.files],
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """Return the summary for the log, one fact a line."""
        lines = [self.columns.line()]
        for name, account in self.parts.items():
            lines.extend(account.lines(name))
        lines.extend(f"label {index}: {line}" for index, line in enumerate(self._label_lines()))
        lines.extend(f"{part}: {statistics.line()}" for part, statistics in self.statistics.items())
        lines.extend(self.notes)
        lines.extend(_file_lines(self.files))
        return lines

    def _label_lines(self) -> Iterator[str]:
        for label, counts in self.label_counts.items():
            yield f"{label!r}: " + ", ".join(f"{count:,} {part}" for part, count in counts.items())


def fingerprint(file: SourceFile) -> FileFingerprint:
    """Return the fingerprint of a file."""
    if file.identity is not None:
        return FileFingerprint(file.name, 0, hashlib.sha256(file.identity.encode()).hexdigest(), file.identity)
    digest = hashlib.sha256()
    size = 0
    with Path(file.path).open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    return FileFingerprint(file.name, size, digest.hexdigest())


def _file_lines(files: Sequence[FileFingerprint]) -> list[str]:
    if any(file.sha256 is None for file in files):
        return []
    if len(files) <= 5:
        return [file.line() for file in files]
    together = hashlib.sha256("".join(str(file.sha256) for file in files).encode()).hexdigest()
    return [f"{len(files):,} files: {sum(f.size_bytes for f in files):,} bytes, sha256 of all {together[:16]}"]


def _words(reason: str) -> str:
    return reason.replace("_", " ")


def _places(rows: Rows) -> str:
    more = ", ..." if rows.count > len(rows.examples) else ""
    return f"({', '.join(rows.examples)}{more})" if rows.examples else ""


def _rows_json(rows: Rows) -> dict[str, Any]:
    return {"count": rows.count, "examples": list(rows.examples)}

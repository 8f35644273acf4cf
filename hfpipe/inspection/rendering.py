"""Findings as lines for a terminal: what the data are, what was found, worst first, and what was not looked for."""

from collections.abc import Iterator, Mapping, Sequence

from hfpipe.inspection.balance import is_hardly_a_label
from hfpipe.inspection.record import LOOK, NOTE, SERIOUS, Finding, FindingsRecord, Overview, is_by_example
from hfpipe.inspection.reporting import percent, plural

_WORDS: Mapping[str, str] = {SERIOUS: "SERIOUS", LOOK: "LOOK", NOTE: "NOTE"}
_COLOURS: Mapping[str, str] = {SERIOUS: "\033[1;31m", LOOK: "\033[1;33m", NOTE: "\033[1;36m"}
_DIM, _BOLD, _PLAIN = "\033[2m", "\033[1m", "\033[0m"
_LABELS_SHOWN = 20


def render(record: FindingsRecord, *, rows: int | None, coloured: bool) -> list[str]:
    """Return the lines of a record; at most so many `rows` a finding, None for all there are."""
    paint = _Paint(coloured)
    lines = [*_overview_lines(record.overview, paint), ""]
    lines += _summary_lines(record.findings, paint)
    for finding in record.findings:
        lines += ["", *_finding_lines(finding, rows, paint)]
    if record.not_looked_for:
        lines += ["", paint("not looked for", _BOLD)]
        lines += [f"  {missed.kind.replace('_', ' ')}: {missed.reason}" for missed in record.not_looked_for]
    return lines


class _Paint:
    """Colours words at a terminal, and nowhere else."""

    def __init__(self, coloured: bool) -> None:
        self._coloured = coloured

    def __call__(self, words: str, style: str) -> str:
        """Return `words` in a style."""
        return f"{style}{words}{_PLAIN}" if self._coloured and words else words


def _overview_lines(overview: Overview, paint: _Paint) -> Iterator[str]:
    for part in overview.parts:
        gone = part.read - part.rows
        left = f"{plural(part.rows, 'row')}" + (
            f" ({part.read:,} read, {gone:,} left out or elsewhere)" if gone else ""
        )
        yield f"{paint(part.name, _BOLD)}: {left} from {part.source}"
    yield overview.columns
    names = [part.name for part in overview.parts]
    if overview.labels:
        yield ""
        yield from _label_table(overview, names, paint)
    if overview.numbers:
        rows = [
            [each.part, *(f"{value:,.4g}" for value in (each.minimum, each.median, each.mean, each.maximum))]
            for each in overview.numbers
        ]
        yield from ["", *_table(["numbers", "min", "median", "mean", "max"], rows, paint)]
    lengths = [
        [f"{each.unit} ({each.part})" if len(names) > 1 else each.unit, *_length_cells(vars(each))]
        for each in overview.lengths
    ]
    if lengths:
        yield from ["", *_table(["length", "min", "median", "p90", "p99", "max"], lengths, paint)]
    if overview.cuts:
        cuts = [
            [f"{cut.max_seq_length:,}{' (chosen)' if cut.is_chosen else ''}", percent(cut.texts), percent(cut.tokens)]
            for cut in overview.cuts
        ]
        of = f"max_seq_length ({', '.join(names)})" if len(names) > 1 else "max_seq_length"
        yield from ["", *_table([of, "texts cut", "tokens cut"], cuts, paint)]


def _length_cells(lengths: Mapping[str, object]) -> list[str]:
    return [f"{lengths[name]:,}" for name in ("minimum", "median", "p90", "p99", "maximum")]


def _label_table(overview: Overview, names: Sequence[str], paint: _Paint) -> Iterator[str]:
    totals = {part.name: part.rows for part in overview.parts}
    if is_hardly_a_label(len(overview.labels), sum(totals.values())):
        count = paint(f"{len(overview.labels):,} labels in {plural(sum(totals.values()), 'row')}", _BOLD)
        yield f"{count}: is this a label column?"
        return
    rows = []
    for label in overview.labels[:_LABELS_SHOWN]:
        cells = [(label.counts.get(name, 0), totals[name]) for name in names]
        rows.append([label.label, *(cell for count, of in cells for cell in (f"{count:,}", _share(count, of)))])
    head = ["label"]
    for name in names:
        head += [name if len(names) > 1 else "rows", "share"]
    yield from _table(head, rows, paint)
    more = len(overview.labels) - _LABELS_SHOWN
    if more > 0:
        yield f"  ... and {more:,} more"


def _share(count: int, of: int) -> str:
    return percent(count / of) if of else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], paint: _Paint) -> Iterator[str]:
    """Yield aligned lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for number, row in enumerate([head, *rows]):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        line = "  ".join(cells).rstrip()
        yield paint(line, _BOLD) if number == 0 else line


def _summary_lines(findings: Sequence[Finding], paint: _Paint) -> Iterator[str]:
    if not findings:
        yield "nothing was found"
        return
    counts = [(word, sum(finding.severity == severity for finding in findings)) for severity, word in _WORDS.items()]
    told = ", ".join(f"{count:,} {word}" for word, count in counts if count)
    yield paint(f"{plural(len(findings), 'finding')}: {told}", _BOLD)


def _finding_lines(finding: Finding, limit: int | None, paint: _Paint) -> Iterator[str]:
    where = f"{finding.part}: " if finding.part else ""
    count = f"{finding.count:,} of {plural(finding.of, 'row')}, {percent(finding.share)}" if finding.of else ""
    count = count or plural(finding.count, "problem")
    word = paint(_WORDS[finding.severity].ljust(len("SERIOUS")), _COLOURS[finding.severity])
    yield f"{word}  {paint(f'{where}{finding.title}', _BOLD)}: {count}"
    yield f"  {finding.detail}"
    shown = finding.rows if limit is None else finding.rows[:limit]
    width = max((len(row.place) for row in shown if row.note), default=0)
    for row in shown:
        line = f"    {row.place.ljust(width)}  {row.note}" if row.note else f"    {row.place}"
        yield line + (f"  {paint(row.excerpt, _DIM)}" if row.excerpt else "")
    left = (len(finding.rows) if is_by_example(finding) else finding.count) - len(shown)
    if left > 0 and shown:
        yield paint(f"    and {left:,} more", _DIM)
    yield f"  what to do: {finding.remedy}"

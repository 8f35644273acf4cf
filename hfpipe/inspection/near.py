"""Texts that are nearly the same, within a part and across train, validation and test.

MinHash (Broder 1997) proposes pairs, and each row told has a true Jaccard similarity of its runs of five characters to
the row named beside it that is at least the threshold.
"""

from collections.abc import Iterator, Sequence

from hfpipe.data.near_duplicates import THRESHOLD, find_near_duplicates, similarity
from hfpipe.inspection.inspected import Inspected, InspectedPart
from hfpipe.inspection.record import Finding
from hfpipe.inspection.reporting import PooledRows, found_row, part_name, severity_by_share

_COMPARED_AT_MOST = 20
_Match = tuple[int, int, float]


def find_near_texts(inspected: Inspected) -> Iterator[Finding]:
    """Yield rows nearly the same as an earlier row of their part, and rows nearly the same as one of an earlier part.

    Raises:
        ConfigError: If the package datasketch is not installed.
    """
    pooled = PooledRows(inspected.parts)
    texts = [text for part in inspected.parts for text in part.whole_texts]
    groups = find_near_duplicates(texts)
    starts = pooled.starts.tolist()
    for index, part in enumerate(inspected.parts):
        own = range(starts[index], starts[index + 1])
        within = [match for group in groups for match in _match(texts, group, own, own)]
        across = [match for group in groups for match in _match(texts, group, own, range(own.start))]
        if across:
            yield _across(inspected, part, pooled, across)
        if within:
            yield _within(inspected, part, pooled, within)


def _match(texts: Sequence[str], group: Sequence[int], own: range, others: range) -> Iterator[_Match]:
    """Yield each row of `own` with the earlier row of `others` that is most alike, where they are alike enough."""
    for row in group:
        if row not in own:
            continue
        earlier = [other for other in group if other in others and other < row][:_COMPARED_AT_MOST]
        best = max(((similarity(texts[row], texts[other]), -other) for other in earlier), default=(0.0, 0))
        if best[0] >= THRESHOLD:
            yield row, -best[1], best[0]


def _across(inspected: Inspected, part: InspectedPart, pooled: PooledRows, matches: Sequence[_Match]) -> Finding:
    names = " or ".join(other.name for other in inspected.parts[: inspected.parts.index(part)])
    title = f"{part.name} texts that are nearly in {names} too"
    severity = severity_by_share(len(matches) / len(part), look=0.0, serious=0.01)
    remedy = "remove them from one of the parts: a model that knows them by heart scores too well"
    return _finding("near_shared_text", part, pooled, matches, shown=(severity, part.name, title, remedy))


def _within(inspected: Inspected, part: InspectedPart, pooled: PooledRows, matches: Sequence[_Match]) -> Finding:
    title = "texts nearly the same as an earlier one"
    severity = severity_by_share(len(matches) / len(part), look=0.02)
    remedy = "read some; what is a copy can be left out, and should not be split over train and test"
    shown = (severity, part_name(inspected, part), title, remedy)
    return _finding("near_duplicate", part, pooled, matches, shown=shown)


def _finding(
    kind: str, part: InspectedPart, pooled: PooledRows, matches: Sequence[_Match], *, shown: tuple[str, str, str, str]
) -> Finding:
    severity, name, title, remedy = shown
    start = int(pooled.starts[list(pooled.parts).index(part)])
    ranked = sorted(matches, key=lambda match: (-match[2], match[0]))
    rows = tuple(
        found_row(part, row - start, f"{alike:.2f} like {pooled.place(other)}{_other_answer(pooled, row, other)}")
        for row, other, alike in ranked
    )
    detail = f"at least {100 * THRESHOLD:.0f} % of their runs of five characters are shared, case and signs aside"
    return Finding(kind, severity, name, title, len(rows), len(part), detail, remedy, rows)


def _other_answer(pooled: PooledRows, row: int, other: int) -> str:
    (part, own), (other_part, other_own) = pooled.locate(row), pooled.locate(other)
    if not part.answers or not other_part.answers or part.answers[own] == other_part.answers[other_own]:
        return ""
    return f", labelled {part.answers[own]!r} here and {other_part.answers[other_own]!r} there"

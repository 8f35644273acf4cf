"""A part cut into groups of rows, by the length of texts and by further columns: the headline score of each.

Groups are small, so each score has its interval: of shares Wilson's (1927), which is no point where all rows are right;
of other metrics that of the bootstrap. The decision worth knowing: lengths are cut where rows are equally many, and at
the length the model reads, beyond which it judges by a part of the text.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hfpipe.config.sections import SINGLE_LABEL
from hfpipe.data.slices import SHOWN_EMPTY
from hfpipe.evaluation.intervals import bootstrap_intervals
from hfpipe.evaluation.predictions import Predictions

LENGTH_GROUPS = 6
ROWS_A_GROUP = 20
"""Of lengths, at least."""
VALUES_A_COLUMN = 12
Z = 1.959963984540054


@dataclass(frozen=True)
class Group:
    """Rows of one kind and the score on them, with its 95 % interval where one is computed."""

    name: str
    rows: int
    value: float | None
    low: float | None
    high: float | None


def group_by_length(predictions: Predictions, metric: str, *, read_tokens: int | None = None) -> list[Group]:
    """Return the score by tokens of a text, shortest first; nothing where rows are too few to be cut.

    `read_tokens` is what the model reads of a text, where it cuts longer ones.
    """
    counts = np.asarray(predictions.token_counts)
    wanted = min(LENGTH_GROUPS, len(counts) // ROWS_A_GROUP)
    if wanted < 2:
        return []
    edges = np.quantile(counts, np.arange(1, wanted) / wanted, method="lower")
    if read_tokens is not None and counts.max() > read_tokens:
        # the nearest edge makes way: a group beside it would hold next to nothing
        edges[np.abs(edges - read_tokens).argmin()] = read_tokens
    places = np.searchsorted(np.unique(edges), counts, side="left")
    groups = []
    for place in np.unique(places):
        rows = np.flatnonzero(places == place)
        own = counts[rows]
        is_cut = read_tokens is not None and own.min() > read_tokens
        name = f"{_span(int(own.min()), int(own.max()))} tokens{', read in part' if is_cut else ''}"
        groups.append(score_group(predictions, rows, metric, name))
    return groups


def group_by_column(predictions: Predictions, values: Sequence[str | None], metric: str) -> list[Group]:
    """Return the score by what a column says, the commonest first; the rarest are one group.

    Nothing where there is one value alone, or nearly as many values as rows.
    """
    rows_of: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        rows_of.setdefault(value or SHOWN_EMPTY, []).append(row)
    if len(rows_of) < 2 or len(rows_of) > max(VALUES_A_COLUMN, len(predictions) // 2):
        return []
    ordered = sorted(rows_of.items(), key=lambda item: (-len(item[1]), item[0]))
    kept, rest = ordered[:VALUES_A_COLUMN], ordered[VALUES_A_COLUMN:]
    groups = [score_group(predictions, np.array(rows), metric, value) for value, rows in kept]
    if rest:
        others = np.array([row for _, rows in rest for row in rows])
        groups.append(score_group(predictions, others, metric, f"{len(rest):,} other values"))
    return groups


def group_by_columns(predictions: Predictions, metric: str) -> Iterator[tuple[str, list[Group]]]:
    """Yield each further column's name and groups; a column that cannot be grouped has none."""
    slices: Mapping[str, Sequence[str | None]] = predictions.slices
    for name, values in slices.items():
        yield name, group_by_column(predictions, values, metric)


def score_group(predictions: Predictions, rows: np.ndarray, metric: str, name: str) -> Group:
    """Return the score of some rows of a part."""
    logits, targets = predictions.logits[rows], predictions.targets[rows]
    if predictions.problem_type == SINGLE_LABEL and metric == "accuracy":
        right = int((logits.argmax(axis=1) == targets).sum())
        return Group(name, len(rows), right / len(rows), *wilson_interval(right, len(rows)))
    found = bootstrap_intervals(predictions.problem_type, logits, targets, names=(metric,), seed=0)
    if metric not in found:
        return Group(name, len(rows), None, None, None)
    return Group(name, len(rows), found[metric].value, found[metric].low, found[metric].high)


def wilson_interval(hits: int, rows: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of `rows` (Wilson 1927)."""
    share, spread = hits / rows, Z**2 / rows
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * np.sqrt(share * (1 - share) / rows + spread / (4 * rows))
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"

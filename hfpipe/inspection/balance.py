"""How labels are spread over the rows: counts by part, and what is too rare or too common to be learnt."""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.data.labels import order_labels
from hfpipe.inspection.inspected import Inspected, InspectedPart
from hfpipe.inspection.record import LOOK, SERIOUS, Finding, FoundRow, LabelCount, NumberRange
from hfpipe.inspection.reporting import part_name, percent

FEWEST_ROWS = 10
_UNEVEN = 10
_LABELS_BEYOND_DOUBT = 20


def count_labels(inspected: Inspected) -> tuple[LabelCount, ...]:
    """Return the rows of each label by part, in the order a run would give the labels."""
    if inspected.problem_type in (None, REGRESSION):
        return ()
    counts = {part.name: _count(part, inspected.problem_type) for part in inspected.parts}
    labels = order_labels(set().union(*counts.values()))
    return tuple(LabelCount(label, {name: found[label] for name, found in counts.items()}) for label in labels)


def is_hardly_a_label(labels: int, rows: int) -> bool:
    """Tell whether there are too many labels for so many rows to be labels: an id has one for each."""
    return labels > _LABELS_BEYOND_DOUBT and 2 * labels > rows


def describe_numbers(inspected: Inspected) -> tuple[NumberRange, ...]:
    """Return the range of the numbers to predict, by part."""
    if inspected.problem_type != REGRESSION:
        return ()
    found = []
    for part in inspected.parts:
        numbers = np.array(part.answers, dtype=np.float64)
        if len(numbers):
            values = (numbers.min(), np.median(numbers), numbers.mean(), numbers.max())
            found.append(NumberRange(part.name, *map(float, values)))
    return tuple(found)


def find_imbalance(inspected: Inspected) -> Iterator[Finding]:
    """Yield labels of the training part that have few rows, by themselves or beside the commonest."""
    train = inspected.train
    if inspected.problem_type in (None, REGRESSION) or not len(train):
        return
    counts = _count(train, inspected.problem_type)
    # what a run says of such a column is a finding of its own
    if not counts or is_hardly_a_label(len(counts), len(train)):
        return
    few = sorted((count, label) for label, count in counts.items() if count < FEWEST_ROWS)
    if few:
        detail = f"under {FEWEST_ROWS} rows in training: neither learnt nor scored with any certainty"
        remedy = "add rows, join the label with another, or leave it out"
        yield _finding(inspected, "rare_label", few, said=(SERIOUS, "labels with next to no rows", detail, remedy))
    commonest = max(counts.values())
    uneven = sorted(
        (count, label) for label, count in counts.items() if count >= FEWEST_ROWS and count * _UNEVEN <= commonest
    )
    if uneven:
        detail = f"the commonest label has {_UNEVEN} times their rows or more ({commonest:,} of {len(train):,})"
        remedy = "class_weights: balanced, and judge by f1_macro or per label: accuracy hides them"
        yield _finding(inspected, "imbalance", uneven, said=(LOOK, "labels that are rare", detail, remedy))


def _finding(
    inspected: Inspected, kind: str, labels: Sequence[tuple[int, str]], *, said: tuple[str, str, str, str]
) -> Finding:
    severity, title, detail, remedy = said
    train = inspected.train
    rows = tuple(
        FoundRow(repr(label), f"{count:,} rows ({percent(count / len(train))})", "") for count, label in labels
    )
    named = {label for _, label in labels}
    # a row of several such labels is one row
    count = sum(not named.isdisjoint(_labels_of(answer, inspected.problem_type)) for answer in train.answers)
    name = part_name(inspected, train)
    return Finding(kind, severity, name, title, count, len(train), detail, remedy, rows)


def _count(part: InspectedPart, problem_type: str | None) -> Counter[str]:
    return Counter(label for answer in part.answers for label in _labels_of(answer, problem_type))


def _labels_of(answer: Hashable, problem_type: str | None) -> tuple[str, ...]:
    if problem_type == MULTI_LABEL:
        return tuple(map(str, answer)) if isinstance(answer, tuple) else ()
    return (str(answer),)

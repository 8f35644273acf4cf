"""All kinds of findings, in one look; a run's own look is a cheap one, whose time is bounded.

A kind that costs too much for the rows there are, or lacks a package, is named with the reason; the others go on.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hfpipe.errors import ConfigError
from hfpipe.inspection.balance import count_labels, describe_numbers, find_imbalance
from hfpipe.inspection.inspected import MOST_BYTES, MOST_BYTES_OF_A_TEXT, Inspected
from hfpipe.inspection.label_errors import find_label_errors
from hfpipe.inspection.leaks import find_leaks
from hfpipe.inspection.lengths import TokenCounts, describe_cuts, describe_lengths, find_truncated
from hfpipe.inspection.markup import find_markup
from hfpipe.inspection.near import find_near_texts
from hfpipe.inspection.personal_data import find_personal_data
from hfpipe.inspection.record import Finding, FindingsRecord, NotLookedFor, Overview, PartOverview, rank
from hfpipe.inspection.repeats import find_equal_texts, find_left_out, find_refusals, find_shared_texts


@dataclass(frozen=True)
class Scope:
    """How much is looked at: kinds over these rows or characters are left out, or look at a sample of so many rows.

    `near_*` bound near-duplicates, `characters` every kind that reads all texts; `seconds` is after how long no
    further kind is begun, None never.
    """

    near_rows: int
    near_characters: int
    label_error_rows: int
    leak_rows: int
    characters: int | None = None
    seconds: float | None = None


WHOLE = Scope(near_rows=2_000_000, near_characters=2_000_000_000, label_error_rows=100_000, leak_rows=200_000)
CHEAP = Scope(20_000, 20_000_000, label_error_rows=10_000, leak_rows=10_000, characters=200_000_000, seconds=60.0)
"""What a run affords before it trains: seconds for tens of thousands of rows."""

Found = Iterable[Finding | NotLookedFor]


@dataclass(frozen=True)
class _Kind:
    name: str
    find: Callable[[], Found]


def inspect_parts(
    inspected: Inspected, *, tokens: TokenCounts | None = None, scope: Scope = WHOLE, seed: int = 42
) -> FindingsRecord:
    """Return all that is found in the parts, worst first; the same rows, scope and seed give the same record.

    Only where `scope` bounds the seconds may a slow machine find less, and then the record says what it left out.
    """
    begun = time.monotonic()
    findings: list[Finding] = []
    missed: list[NotLookedFor] = []
    for kind in _kinds(inspected, tokens, scope=scope, seed=seed):
        if scope.seconds is not None and time.monotonic() - begun > scope.seconds:
            missed.append(
                NotLookedFor(kind.name, f"the {scope.seconds:g} seconds for it were over; hfpipe inspect looks")
            )
            continue
        try:
            for found in kind.find():
                (missed if isinstance(found, NotLookedFor) else findings).append(found)  # type: ignore[arg-type]
        except ConfigError as error:
            missed += [NotLookedFor(kind.name, f"{each.rule}; {each.remedy}") for each in error.problems]
    return FindingsRecord(_overview(inspected, tokens), rank(tuple(findings)), tuple(missed))


def _kinds(inspected: Inspected, tokens: TokenCounts | None, *, scope: Scope, seed: int) -> Sequence[_Kind]:
    """Return the kinds, cheap ones first."""
    texts = "personal data, markup, leaks, label errors"
    kinds = [
        _Kind("refused", lambda: find_refusals(inspected)),
        _Kind("left_out", lambda: find_left_out(inspected)),
        _Kind("equal_texts", lambda: find_equal_texts(inspected)),
        _Kind("shared_texts", lambda: find_shared_texts(inspected)),
        _Kind("imbalance", lambda: find_imbalance(inspected)),
        _Kind("truncation", lambda: find_truncated(inspected, tokens)),
    ]
    vast = [part.name for part in inspected.parts if part.sizes is not None]
    if scope.characters is not None and vast:
        why = f"the {' and '.join(vast)} texts have over {MOST_BYTES:,} bytes, or one over {MOST_BYTES_OF_A_TEXT:,}"
        return [*kinds, _Kind(texts, lambda: [NotLookedFor(texts, f"{why}; hfpipe inspect looks")])]
    characters = inspected.character_count
    if scope.characters is not None and characters > scope.characters:
        too_many = f"the texts have {characters:,} characters, over {scope.characters:,}; hfpipe inspect looks"
        return [*kinds, _Kind(texts, lambda: [NotLookedFor(texts, too_many)])]
    near_is_large = inspected.row_count > scope.near_rows or characters > scope.near_characters
    reason = f"{inspected.row_count:,} rows of {characters:,} characters are many; hfpipe inspect looks at up to"
    reason += f" {WHOLE.near_rows:,} rows of {WHOLE.near_characters:,} characters"
    return [
        *kinds,
        _Kind("markup", lambda: find_markup(inspected)),
        _Kind("leak", lambda: find_leaks(inspected, most_rows=scope.leak_rows, seed=seed)),
        _Kind("personal_data", lambda: find_personal_data(inspected)),
        _Kind("label_error", lambda: find_label_errors(inspected, most_rows=scope.label_error_rows, seed=seed)),
        _Kind(
            "near_duplicate",
            lambda: [NotLookedFor("near_duplicate", reason)] if near_is_large else find_near_texts(inspected),
        ),
    ]


def _overview(inspected: Inspected, tokens: TokenCounts | None) -> Overview:
    parts = [PartOverview(part.name, part.account.source, part.account.read, len(part)) for part in inspected.parts]
    return Overview(
        problem_type=inspected.problem_type,
        columns=inspected.columns.line(),
        parts=tuple(parts),
        labels=count_labels(inspected),
        numbers=describe_numbers(inspected),
        lengths=describe_lengths(inspected, tokens),
        cuts=describe_cuts(tokens),
    )

"""Which words spoke for an answer: each is left out once, and the change of the answer's probability is its effect.

Of a text of many words, neighbours are left out together, 40 pieces at most, and of one that is cut only what the model
reads. Method: Zeiler and Fergus 2014 for pictures, Li, Monroe and Jurafsky 2016 for words. The decision worth knowing:
an effect is what the model does without the word, in a text that may then no longer be one; it is no reason.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hfpipe.errors import CheckpointError, DataError, Problem
from hfpipe.inference.texts import Text
from hfpipe.records.run_directory import read_json, write_json
from hfpipe.records.typed_json import from_plain, to_plain
from hfpipe.report.told_rows import ToldRow

ATTRIBUTIONS_FILE = "attributions.json"
ATTRIBUTIONS_FORMAT = "hfpipe attributions 1"

MAX_PIECES = 40
SECONDS = 10.0
"""For all rows of a report together; a row that would not fit is left out, and the report says so."""

Scorer = Callable[[Sequence[Text]], np.ndarray]
"""Returns of texts the probabilities, or numbers, (texts, labels)."""


@dataclass(frozen=True)
class Piece:
    """Words left out together, with the space after them, and what of the score they make up."""

    text: str
    effect: float


@dataclass(frozen=True)
class RowAttribution:
    """The pieces of a row's text, those of its second text, and how much of the end was not looked at."""

    kind: str
    row: int
    label: int
    pieces: tuple[Piece, ...]
    pair_pieces: tuple[Piece, ...]
    words_unread: int


@dataclass(frozen=True)
class Attributions:
    """What was found for the rows of a part; `rows_left_out` did not fit into the time allowed."""

    part: str
    rows: tuple[RowAttribution, ...]
    rows_left_out: int


def explain_rows(
    told: Sequence[ToldRow],
    texts: Sequence[Text],
    scorer: Scorer,
    *,
    part: str,
    find_end: Callable[[str], int] = len,
    seconds: float = SECONDS,
) -> Attributions:
    """Return what each piece of `texts`, those of the rows `told`, does to the score the row is told for.

    A text of one word, and one that without a word is none, is left out. `find_end` says how many signs of a text the
    model reads. The rows share `seconds`: each is timed on its whole text, and left out where its pieces would not fit
    into what remains.
    """
    found, late, until = [], 0, time.monotonic() + seconds
    for row, text in zip(told, texts, strict=True):
        variants, pieces, pairs = _leave_out(text, find_end)
        if not variants:
            continue
        started = time.monotonic()
        try:
            whole = scorer([text])[0, row.label]
            needed = (time.monotonic() - started) * len(variants)
            if time.monotonic() + needed > until:
                late += 1
                continue
            scores = scorer(variants)[:, row.label]
        except (CheckpointError, DataError):  # without a word nothing may be left, or nothing the model has a score for
            continue
        effects = [round(float(whole - score), 4) for score in scores]
        first, second = (tuple(map(Piece, *each)) for each in ((pieces, effects), (pairs, effects[len(pieces) :])))
        unread = sum(_count_unread(each, find_end) for each in _both(text))
        found.append(RowAttribution(row.kind, row.row, row.label, first, second, unread))
    return Attributions(part, tuple(found), late)


def write_attributions(folder: Path, attributions: Attributions) -> None:
    """Write the attributions into `folder`, whole.

    Raises:
        CheckpointError: If they cannot be written, as on a full disk.
    """
    write_json(folder / ATTRIBUTIONS_FILE, {"format": ATTRIBUTIONS_FORMAT, **to_plain(attributions)})


def read_attributions(folder: Path) -> Attributions:
    """Return the attributions in `folder`.

    Raises:
        CheckpointError: If there are none, or they are not in this format.
    """
    path = folder / ATTRIBUTIONS_FILE
    content, remedy = read_json(path), "remove the file: the report is drawn without it"
    if not isinstance(content, Mapping) or content.get("format") != ATTRIBUTIONS_FORMAT:
        raise CheckpointError(Problem(str(path), rule=f"is not in the format '{ATTRIBUTIONS_FORMAT}'", remedy=remedy))
    fields = {key: value for key, value in content.items() if key != "format"}
    return from_plain(Attributions, fields, place=str(path), remedy=remedy)


def cut_pieces(text: str, count: int = MAX_PIECES) -> list[str]:
    """Return a text as at most `count` pieces of neighbouring words, which together are the text.

    A script without spaces is cut between signs.
    """
    words = re.findall(r"\s*\S+", text)
    if words:
        words[-1] += text[sum(map(len, words)) :]
    if len(words) < 3 and len(text) > 20:
        words = list(text)
    size = -(-len(words) // count) or 1
    return ["".join(words[start : start + size]) for start in range(0, len(words), size)]


def _leave_out(text: Text, find_end: Callable[[str], int]) -> tuple[list[Text], list[str], list[str]]:
    """Return the texts that each lack a piece, and the pieces: those of the first text, then those of the second."""
    first, *others = _both(text)
    share = MAX_PIECES // (1 + len(others))
    pieces, rest = _cut_read(first, share, find_end)
    if not others:
        # without its only word nothing is left to be scored
        return [*_without_each(pieces, rest)] if len(pieces) > 1 else [], pieces, []
    (second,) = others
    pairs, pair_rest = _cut_read(second, share, find_end)
    variants = [(each, second) for each in _without_each(pieces, rest)]
    return [*variants, *((first, each) for each in _without_each(pairs, pair_rest))], pieces, pairs


def _without_each(pieces: Sequence[str], rest: str) -> Iterator[str]:
    for place in range(len(pieces)):
        yield "".join((*pieces[:place], *pieces[place + 1 :], rest))


def _cut_read(text: str, count: int, find_end: Callable[[str], int]) -> tuple[list[str], str]:
    """Return the pieces of what is read of a text, and the rest of it."""
    end = find_end(text)
    return cut_pieces(text[:end], count), text[end:]


def _count_unread(text: str, find_end: Callable[[str], int]) -> int:
    return len(text[find_end(text) :].split())


def _both(text: Text) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)

"""Rows a report tells of, ready to be shown: where they stand, what the model said, and which words spoke for it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.evaluation.numbers import show_signed, show_value
from hfpipe.report.occlusion import Attributions, Piece, RowAttribution
from hfpipe.report.told_rows import ROWS_OF_A_KIND, ScoredPart, ToldRow
from hfpipe.secrecy import hide

LONGEST_TEXT = 700
LONGEST_EXPLAINED = 1_500
STRONGEST = 3


@dataclass(frozen=True)
class ShownPiece:
    """Words, the space around them, and how strongly (0 to 1) and which way ('for', 'against' or '') they spoke."""

    text: str
    before: str = ""
    after: str = ""
    strength: float = 0.0
    side: str = ""


@dataclass(frozen=True)
class ShownRow:
    """A row as it is shown; `texts` are its text, or two, in pieces; `strongest` says the effects in words."""

    kind: str
    place: str
    answer: str
    truth: str
    texts: Sequence[Sequence[ShownPiece]]
    strongest: str
    note: str


def show_rows(part: ScoredPart, attributions: Attributions | None, part_name: str) -> list[ShownRow]:
    """Return the most confident errors and the least certain rows of a part."""
    known = attributions.rows if attributions is not None and attributions.part == part_name else ()
    found = {(each.kind, each.row, each.label): each for each in known}
    told = part.find_told_rows(ROWS_OF_A_KIND)
    return [_show(part, row, found.get((row.kind, row.row, row.label))) for row in told]


def _show(part: ScoredPart, told: ToldRow, attribution: RowAttribution | None) -> ShownRow:
    predictions = part.predictions
    whole = [predictions.texts[told.row]]
    if predictions.text_pairs is not None:
        whole.append(predictions.text_pairs[told.row])
    answer, truth = _say_answer(part, told)
    place = hide(shorten_place(predictions.places[told.row]))
    plain = ShownRow(told.kind, place, answer, truth, [_plain(text) for text in whole], "", "")
    # what is hidden in a text may reach over several pieces
    if attribution is None or any(hide(text) != text for text in whole):
        return plain
    columns = [column for column in (attribution.pieces, attribution.pair_pieces) if column]
    every = [piece for column in columns for piece in column]
    largest = max((abs(piece.effect) for piece in every), default=0.0) or 1.0
    unread = attribution.words_unread
    note = f"its last {unread:,} words are not read by the model" if unread else ""
    shown = [list(_weigh_beginning(column, largest)) for column in columns]
    return replace(plain, texts=shown, strongest=_say_strongest(every, predictions.problem_type), note=note)


def shorten_place(place: str) -> str:
    """Return the place of a row without the folders of its file."""
    return re.split(r"[/\\]", place)[-1]


def _say_answer(part: ScoredPart, told: ToldRow) -> tuple[str, str]:
    """Return what the model said and what is so."""
    predictions = part.predictions
    row, problem_type = told.row, predictions.problem_type
    if problem_type == REGRESSION:
        return show_value(told.score), show_value(float(predictions.targets[row]))
    label = predictions.label_names[told.label]
    answer = f"{label} {100 * told.score:.1f} %"
    if problem_type == MULTI_LABEL:
        return answer, label if predictions.targets[row, told.label] > 0.5 else f"not {label}"
    return answer, predictions.label_names[int(predictions.targets[row])]


def _plain(text: str) -> list[ShownPiece]:
    shown = hide(text)
    return [ShownPiece(shown if len(shown) <= LONGEST_TEXT else f"{shown[:LONGEST_TEXT].rsplit(' ', 1)[0]} …")]


def _weigh_beginning(pieces: Sequence[Piece], largest: float) -> Iterator[ShownPiece]:
    """Yield the pieces of a text as they are shown, as many as fit."""
    length = 0
    for piece in pieces:
        if length > LONGEST_EXPLAINED:
            yield ShownPiece("…", before=" ")
            return
        length += len(piece.text)
        yield _weigh(piece, largest)


def _weigh(piece: Piece, largest: float) -> ShownPiece:
    strength = round(abs(piece.effect) / largest, 2)
    words = piece.text.strip()
    before, _, after = piece.text.partition(words) if words else (piece.text, "", "")
    side = "" if strength < 0.05 else "for" if piece.effect > 0 else "against"
    return ShownPiece(words, before, after, strength, side)


def _say_strongest(pieces: Sequence[Piece], problem_type: str) -> str:
    """Return the three strongest pieces with their effects, as they are said to who cannot see the colours."""
    metric = "" if problem_type == REGRESSION else "accuracy"
    effects: dict[str, float] = {}
    for piece in sorted(pieces, key=lambda piece: -abs(piece.effect)):
        effects.setdefault(_brief(piece.text), piece.effect)  # a word that comes again is named once
    strongest = list(effects.items())[:STRONGEST]
    return ", ".join(f"“{words}” {show_signed(effect, metric)}" for words, effect in strongest if effect)


def _brief(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 40 else f"{line[:39]}…"

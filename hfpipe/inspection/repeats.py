"""Rows that were left out, texts that stand twice, and equal texts that were labelled otherwise."""

from collections.abc import Hashable, Iterator, Mapping

import numpy as np

from hfpipe.data.duplicates import find_repeats, find_shared, first_with_text
from hfpipe.inspection.inspected import Inspected, InspectedPart
from hfpipe.inspection.record import LOOK, SERIOUS, Finding, FoundRow
from hfpipe.inspection.reporting import PooledRows, found_rows, part_name, plural, severity_by_share

_REFUSED_SHOWN = 200

_LEFT_OUT: Mapping[str, tuple[str, str]] = {
    "empty": ("no text", "fill them, or leave the rows out of the file; a run leaves them out"),
    "emptied": ("texts of which cleaning_steps leave nothing", "read some; a run leaves them out"),
    "unlabelled": ("no label", "label them, or leave the rows out of the file; a run leaves them out"),
    "conflicting": ("equal texts, different labels", "decide which label is right; training left all of them out"),
    "duplicate": ("texts that repeat an earlier one", "nothing: training left the repeats out"),
    "near_duplicate": (
        "texts nearly the same as an earlier one with the same label",
        "nothing: cleaning_steps had the repeats left out of training",
    ),
    "near_validation_or_test": (
        "training texts nearly the same as one of validation or test",
        "nothing: cleaning_steps had training give way to them",
    ),
    "in_validation_or_test": (
        "training texts that stand in validation or test",
        "nothing: training gave way to them; mend how the files are split if they are many",
    ),
}


def find_refusals(inspected: Inspected) -> Iterator[Finding]:
    """Yield what would keep a run from using the data."""
    refusals = inspected.refusals
    if refusals:
        rows = tuple(FoundRow(refusal, "", "") for refusal in refusals[:_REFUSED_SHOWN])
        remedy = "mend it before training; hfpipe run ends with these messages"
        title = "a run would refuse these data"
        detail = "problems that a run ends with before it begins, not rows"
        yield Finding("refused", SERIOUS, "", title, len(refusals), 0, detail, remedy, rows)


def find_left_out(inspected: Inspected) -> Iterator[Finding]:
    """Yield the rows without text or label, and those a run's training left out."""
    for part in inspected.parts:
        for reason, rows in part.left_out.items():
            if reason not in _LEFT_OUT:
                continue
            title, remedy = _LEFT_OUT[reason]
            severity = severity_by_share(rows.count / part.account.read, look=0.01, serious=0.2)
            shown = tuple(FoundRow(place, "", "") for place in rows.examples)
            name, read = part_name(inspected, part), part.account.read
            detail = "counted while the file was read; only the first places are known"
            yield Finding(reason, severity, name, title, rows.count, read, detail, remedy, shown)


def find_equal_texts(inspected: Inspected) -> Iterator[Finding]:
    """Yield texts that stand twice in a part, with the same label and with different ones."""
    for part in inspected.parts:
        conflicting, duplicate = find_repeats(part.inputs, part.answers)
        if not (len(conflicting) or len(duplicate)):
            continue
        first = first_with_text(part.inputs)
        if len(conflicting):
            yield _conflicts(inspected, part, conflicting, first)
        if len(duplicate):
            notes = ((int(row), f"first in {part.places.place(int(first[row]))}") for row in duplicate)
            share = len(duplicate) / len(part)
            remedy = "training leaves the repeats out by itself"
            if part.name != "train":
                remedy = "remove them: each counts once more in the score"
            title, detail = "texts that repeat an earlier one", "equal in every character, label included"
            severity = severity_by_share(share, look=0.05)
            rows, name = found_rows(part, notes), part_name(inspected, part)
            yield Finding("duplicate", severity, name, title, len(duplicate), len(part), detail, remedy, rows)


def find_shared_texts(inspected: Inspected) -> Iterator[Finding]:
    """Yield texts of later parts that stand in an earlier one, character by character."""
    for index, part in enumerate(inspected.parts):
        earlier, inputs = PooledRows(inspected.parts[:index]), part.inputs
        rows = find_shared(inputs, [other.inputs for other in earlier.parts]).tolist()
        if not rows:
            continue
        wanted = {inputs[row] for row in rows}
        places: dict[Hashable, int] = {}
        for row, text in enumerate(text for other in earlier.parts for text in other.inputs):
            if text in wanted:  # the others may be more than fit into memory
                places.setdefault(text, row)
        shared = [(row, places[inputs[row]]) for row in rows]
        notes = ((row, _told_shared(part, row, earlier, other)) for row, other in shared)
        names = " or ".join(other.name for other in earlier.parts)
        detail = f"equal in every character to a text of {names}"
        remedy = "remove them from one of the files; training leaves them out, so that scores stay honest"
        severity = severity_by_share(len(shared) / len(part), look=0.0, serious=0.05)
        title, told = f"{part.name} texts that stand in {names} too", found_rows(part, notes)
        yield Finding("shared_text", severity, part.name, title, len(shared), len(part), detail, remedy, told)


def _told_shared(part: InspectedPart, row: int, earlier: PooledRows, other: int) -> str:
    other_part, own = earlier.locate(other)
    told = f"stands in {other_part.places.place(own)} too"
    if part.answers and other_part.answers and part.answers[row] != other_part.answers[own]:
        told += f", labelled {part.answers[row]!r} here and {other_part.answers[own]!r} there"
    return told


def _conflicts(inspected: Inspected, part: InspectedPart, rows: np.ndarray, first: np.ndarray) -> Finding:
    of_text: dict[int, list[int]] = {}
    for row in rows.tolist():
        of_text.setdefault(int(first[row]), []).append(row)
    notes: list[tuple[int, str]] = []
    for same in of_text.values():
        for row in same:
            other = next(each for each in same if part.answers[each] != part.answers[row])
            said = f"labelled {part.answers[row]!r}; {part.places.place(other)} says {part.answers[other]!r}"
            notes.append((row, said))
    share = len(rows) / len(part)
    remedy = "decide which label is right; training leaves all of them out"
    if part.name != "train":
        remedy = "decide which label is right: no model can have all of them right"
    detail = f"{plural(len(of_text), 'text')} with more than one label each, equal in every character"
    title, severity = "equal texts, different labels", SERIOUS if share >= 0.01 else LOOK
    kind, name = "conflicting", part_name(inspected, part)
    return Finding(kind, severity, name, title, len(rows), len(part), detail, remedy, found_rows(part, notes))

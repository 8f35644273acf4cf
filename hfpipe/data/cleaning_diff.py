"""What cleaning steps change in real texts: counts by step, and changed texts with the differences marked.

Differences are marked as `wdiff` marks them, `[-gone-]` and `{+come+}`, with colours where a terminal shows them; what
cannot be seen (line ends, zero-width and control characters) is written as an escape, so that a change of white space
shows and no text of a file can steer a terminal. Every step that changed anything is seen in one of the texts shown.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice

from hfpipe.data.cleaning_steps import STEPS
from hfpipe.data.columns import is_empty

_TOKENS = re.compile(r"<[^<>]{1,200}>|&#?\w{1,20};|\w+|\s|[^\w\s]")
_CONTEXT = 40
_CHANGES_SHOWN = 12
# the comparison takes the square of it
_COMPARED_TOKENS = 1_000
_RED, _GREEN, _BOLD, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[1m", "\x1b[0m"
_MARKS = {"delete": ("[-", "-]", _RED), "insert": ("{+", "+}", _GREEN)}


@dataclass(frozen=True)
class ChangedText:
    """A text before and after all steps, the place where it stands, and the steps that changed it."""

    place: str
    before: str
    after: str
    steps: tuple[str, ...]


@dataclass(frozen=True)
class CleaningDiff:
    """How many texts were seen, changed, changed to nothing, and changed by each step, and some of the changed."""

    texts: int
    changed: int
    emptied: int
    by_step: tuple[tuple[str, int], ...]
    examples: tuple[ChangedText, ...]


def diff_texts(rows: Iterable[tuple[str, str]], steps: Sequence[str], *, examples: int = 10) -> CleaningDiff:
    """Return what `steps` change in rows of (place, text); the examples are the first of each step, then the first."""
    counts = [0] * len(steps)
    firsts: dict[int, ChangedText] = {}
    kept: dict[int, ChangedText] = {}
    texts = changed = emptied = 0
    for number, (place, text) in enumerate(rows):
        texts += 1
        after, by = _trace(text, steps)
        if not by:
            continue
        changed += 1
        emptied += is_empty(after)
        found = ChangedText(place, text, after, tuple(steps[step] for step in by))
        if any(not counts[step] for step in by):
            firsts[number] = found
        if len(kept) < examples:
            kept[number] = found
        for step in by:
            counts[step] += 1
    chosen = dict(islice({**firsts, **kept}.items(), examples))
    shown = tuple(chosen[number] for number in sorted(chosen))
    return CleaningDiff(texts, changed, emptied, tuple(zip(steps, counts, strict=True)), shown)


def describe_diff(diff: CleaningDiff, *, in_color: bool = False) -> Iterator[str]:
    """Yield the differences as lines: the count of each step, of all, then each text shown under its place."""
    width = max((len(step) for step, _ in diff.by_step), default=0)
    for step, count in diff.by_step:
        yield f"  {step:<{width}}  {count:>10,} of {diff.texts:,} texts changed"
    nothing = f"; of {diff.emptied:,} of them nothing is left, and their rows are left out" if diff.emptied else ""
    yield f"{diff.changed:,} of {diff.texts:,} texts changed by any step{nothing}"
    for example in diff.examples:
        yield ""
        place = f"{_BOLD}{example.place}{_PLAIN}" if in_color else example.place
        yield f"{place} ({', '.join(dict.fromkeys(example.steps))})"
        yield f"  {mark_differences(example.before, example.after, in_color=in_color)}"


def mark_differences(before: str, after: str, *, in_color: bool = False) -> str:
    """Return one line with both texts: what is gone as `[-gone-]`, what is new as `{+new+}`, long equal parts cut.

    Words and tags are compared, not characters; of very long texts the first thousand after the first difference.
    """
    old, new = _TOKENS.findall(before), _TOKENS.findall(after)
    same = next((place for place, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    lead, old, new = "".join(old[:same]), old[same:], new[same:]
    is_cut = max(len(old), len(new)) > _COMPARED_TOKENS
    old, new = old[:_COMPARED_TOKENS], new[:_COMPARED_TOKENS]
    parts, changes = [_shorten(lead, at_start=True)], 0
    codes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    for code, old_start, old_end, new_start, new_end in codes:
        gone, come = "".join(old[old_start:old_end]), "".join(new[new_start:new_end])
        if code == "equal":
            parts.append(_shorten(gone, at_end=code == codes[-1][0] and old_end == len(old)))
            continue
        changes += 1
        if changes > _CHANGES_SHOWN:
            is_cut = True
            break
        parts += [_mark(kind, text, in_color=in_color) for kind, text in (("delete", gone), ("insert", come)) if text]
    return "".join(parts) + (" ..." if is_cut else "")


def _trace(text: str, steps: Sequence[str]) -> tuple[str, list[int]]:
    """Return the text after all steps, and the numbers of those that changed it."""
    by = []
    for number, step in enumerate(steps):
        after = STEPS[step](text)
        if after != text:
            by.append(number)
        text = after
    return text, by


def _mark(kind: str, text: str, *, in_color: bool) -> str:
    opening, closing, color = _MARKS[kind]
    marked = f"{opening}{_shorten(text)}{closing}"
    return f"{color}{marked}{_PLAIN}" if in_color else marked


def _shorten(text: str, *, at_start: bool = False, at_end: bool = False) -> str:
    """Return an equal part so that what stands beside a change is seen."""
    if at_start and len(text) > _CONTEXT:
        return f"... {_visible(text[-_CONTEXT:])}"
    if at_end and len(text) > _CONTEXT:
        return f"{_visible(text[:_CONTEXT])} ..."
    if len(text) > 2 * _CONTEXT:
        return f"{_visible(text[:_CONTEXT])} ... {_visible(text[-_CONTEXT:])}"
    return _visible(text)


def _visible(text: str) -> str:
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )

"""What web pages left in texts: tags and entities of HTML."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from hfpipe.data.cleaning_steps import strip_html, unescape_html
from hfpipe.inspection.inspected import Inspected, InspectedPart
from hfpipe.inspection.record import Finding
from hfpipe.inspection.reporting import found_rows, part_name, percent, plural, severity_by_share

_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9-]{0,20}(?:\s[^<>]{0,300})?/?>|<!--.{0,300}?-->", re.DOTALL)
_ENTITY = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,30}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});")
_NAMED = 5
_REMEDY = "cleaning_steps: [unescape_html, strip_html] takes it out, in training and in predict"


def find_markup(inspected: Inspected) -> Iterator[Finding]:
    """Yield the rows of each part that hold tags or entities."""
    for part in inspected.parts:
        found: dict[int, str] = {}
        marks: Counter[str] = Counter()
        characters = 0
        for row, text in enumerate(part.whole_texts):
            own = _list_marks(text)
            if own:
                marks.update(own)
                characters += sum(map(len, own))
                found[row] = f"{plural(len(own), 'mark')}, {own[0][:40]!r} first"
        if found:
            yield _finding(inspected, part, found, marks=marks, size=characters)


def _list_marks(text: str) -> list[str]:
    tags = _TAG.findall(text) if "<" in text else []
    return [mark for mark in tags + (_ENTITY.findall(text) if "&" in text else []) if _is_taken_out(mark)]


@lru_cache(maxsize=4_096)
def _is_taken_out(mark: str) -> bool:
    """Return whether the cleaning steps take a mark for one: '<grin>' is none."""
    return unescape_html(strip_html(mark)) != mark


def _finding(
    inspected: Inspected, part: InspectedPart, found: dict[int, str], *, marks: Counter[str], size: int
) -> Finding:
    named = ", ".join(f"{mark[:40]!r} {plural(count, 'time')}" for mark, count in marks.most_common(_NAMED))
    of_all = percent(size / sum(map(len, part.whole_texts)))
    detail = f"{sum(marks.values()):,} tags and entities, {of_all} of all characters: {named}"
    severity = severity_by_share(len(found) / len(part), look=0.05)
    rows, name, title = found_rows(part, found), part_name(inspected, part), "tags or entities of HTML"
    return Finding("markup", severity, name, title, len(found), len(part), detail, _REMEDY, rows)

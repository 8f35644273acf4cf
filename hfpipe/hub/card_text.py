"""Text that is safe inside Markdown, and tables of it."""

import html
import re
from collections.abc import Sequence

MAX_EXAMPLE = 100
_MARKS = re.compile(r"[\\`*_\[\]|~$@]|:(?=//)")
_SPACE = re.compile(r"\s+")


def plain(text: str) -> str:
    """Return any text as one line that Markdown and HTML show as it is: marks become entities, control signs go."""
    line = "".join(sign for sign in _SPACE.sub(" ", text).strip() if sign.isprintable())
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", html.escape(line, quote=True))


def code(text: str) -> str:
    """Return a name as Markdown shows code."""
    return f"`{_SPACE.sub(' ', text).replace('`', chr(39)).strip()}`"


def cell_code(text: str) -> str:
    """Return a text as code inside a table, whose columns are divided by a sign that has to be marked in it."""
    return code(text).replace("|", r"\|")


def shorten(text: str, length: int = MAX_EXAMPLE) -> str:
    """Return the beginning of a text, cut between words where there are any."""
    line = _SPACE.sub(" ", text).strip()
    if len(line) <= length:
        return line
    head = line[: length - 3]
    return (head.rsplit(" ", 1)[0] if " " in head[length // 2 :] else head) + "..."


def table(heading: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int = 1) -> list[str]:
    """Return a Markdown table; the columns from `numbers_from` on are aligned to the right."""
    rule = ["---" if column < numbers_from else "---:" for column in range(len(heading))]
    return [f"| {' | '.join(cells)} |" for cells in (heading, rule, *rows)]


def number(value: float) -> str:
    """Return a number as it is read: four digits behind the point, or three that count."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.3g}"


def share(part: int, whole: int) -> str:
    """Return a share in per cent; one that is not 0 never reads as if it were."""
    percent = 100 * part / whole
    return "under 0.1 %" if 0 < percent < 0.1 else f"{percent:.1f} %"

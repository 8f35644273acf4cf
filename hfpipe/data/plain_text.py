"""Plain-text files: one document a file, one a paragraph, or one a line.

Line ends are read as a single line feed. Paragraphs are separated by blank lines, of which a document holds none;
where every line is a document, blank lines are none.
"""

from collections.abc import Iterator
from itertools import islice

from hfpipe.data.encoding import UnreadableTextError, is_readable_text, read_lines
from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import Record, RecordStream, SourceFile

TEXT_COLUMN = "text"
LINES_PER_PART = 1_000


def read_plain_text(file: SourceFile, findings: Findings, *, document_per: str = "line") -> RecordStream | None:
    """Return the stream of a file, its one column named 'text'; `document_per` is 'file', 'paragraph' or 'line'."""
    if not is_readable_text(file, findings):
        return None
    documents = {"file": _whole, "paragraph": _by_paragraph, "line": _by_line}[document_per]
    parts = _in_parts(read_lines(file, findings)) if document_per == "file" else None
    return RecordStream(file, (TEXT_COLUMN,), _records(documents(read_lines(file, findings))), parts=parts)


def _records(documents: Iterator[tuple[int, str]]) -> Iterator[Record]:
    try:
        for line, text in documents:
            yield Record(line, {TEXT_COLUMN: text})
    except UnreadableTextError:
        return


def _whole(lines: Iterator[str]) -> Iterator[tuple[int, str]]:
    yield 1, "".join(_in_parts(lines))


def _in_parts(lines: Iterator[str]) -> Iterator[str]:
    while part := "".join(islice(lines, LINES_PER_PART)):
        yield part.replace("\r\n", "\n").replace("\r", "\n")


def _by_line(lines: Iterator[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, line.rstrip("\r\n")


def _by_paragraph(lines: Iterator[str]) -> Iterator[tuple[int, str]]:
    paragraph: list[str] = []
    number = 0
    for number, line in enumerate(lines, start=1):
        if line.strip():
            paragraph.append(line.rstrip("\r\n"))
        elif paragraph:
            yield number - len(paragraph), "\n".join(paragraph)
            paragraph = []
    if paragraph:
        yield number - len(paragraph) + 1, "\n".join(paragraph)

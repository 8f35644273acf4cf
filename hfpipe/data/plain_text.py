"""Plain-text files: one document a file, or one a line.

Line ends are read as a single line feed. In a file of one document a line, blank lines are no documents.
"""

from collections.abc import Iterator

from hfpipe.data.encoding import is_readable_text, read_lines, report_encoding
from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import Record, RecordStream, SourceFile

TEXT_COLUMN = "text"


def read_plain_text(file: SourceFile, findings: Findings, *, document_per: str = "line") -> RecordStream | None:
    """Return the stream of a file, its one column named 'text'; `document_per` is 'file' or 'line'."""
    if not is_readable_text(file, findings):
        return None
    records = _whole(file, findings) if document_per == "file" else _by_line(file, findings)
    return RecordStream(file, (TEXT_COLUMN,), records)


def _whole(file: SourceFile, findings: Findings) -> Iterator[Record]:
    try:
        text = "".join(read_lines(file, findings))
    except UnicodeDecodeError:
        report_encoding(file, findings)
        return
    yield Record(1, {TEXT_COLUMN: text.replace("\r\n", "\n").replace("\r", "\n")})


def _by_line(file: SourceFile, findings: Findings) -> Iterator[Record]:
    try:
        for number, line in enumerate(read_lines(file, findings), start=1):
            if line.strip():
                yield Record(number, {TEXT_COLUMN: line.rstrip("\r\n")})
    except UnicodeDecodeError:
        report_encoding(file, findings)

"""Text files as physical lines: UTF-8 only, with or without a byte order mark.

Another encoding is refused with the byte, its line and the encoding that would fit: read in the
wrong one, a file yields wrong characters without any error.
"""

from collections.abc import Iterator

from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import SourceFile
from hfpipe.errors import Problem

_OTHER_FORMATS = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "export the sheet as CSV (UTF-8)"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it first"),
    (b"PAR1", "Parquet", "name it .parquet"),
)
_BYTE_ORDER_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def is_readable_text(file: SourceFile, findings: Findings) -> bool:
    """Return whether the first bytes can be those of a UTF-8 text; what they are instead goes to `findings`."""
    with file.path.open("rb") as stream:
        head = stream.read(4096)
    problem = _problem_of_head(file, head)
    if problem is not None:
        findings.add("files of another format", file.name, problem)
    return problem is None


def read_lines(file: SourceFile, findings: Findings) -> Iterator[str]:
    r"""Yield the physical lines with their ends ('\n', '\r\n' or '\r').

    A line with a NUL byte goes to `findings` and is delivered without it, so that later lines are
    still looked at.

    Raises:
        UnicodeDecodeError: If the file is not UTF-8; `encoding_problem` finds the place.
    """
    with file.path.open(encoding="utf-8-sig", newline="") as stream:
        for number, line in enumerate(stream, start=1):
            if "\0" in line:
                findings.add("lines with NUL bytes", file.name, _nul_problem(file, number, line))
                yield line.replace("\0", "")
            else:
                yield line


def report_encoding(file: SourceFile, findings: Findings) -> None:
    """Find the first bytes of a file that are not UTF-8, and the encoding they fit, for `findings`."""
    offset, first, fragment, bad_lines, windows = 0, None, b"", 0, False
    with file.path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                bad_lines += 1
                windows = windows or any(0x80 <= byte <= 0x9F for byte in line)
                if first is None:
                    first = (number, offset + error.start, line[error.start])
                    fragment = line[max(0, error.start - 12) : error.start + 12]
            offset += len(line)
    assert first is not None, "called for a file that is UTF-8"
    findings.add("files that are not UTF-8", file.name, _encoding_problem(file, first, fragment, (bad_lines, windows)))


def _encoding_problem(
    file: SourceFile, first: tuple[int, int, int], fragment: bytes, extent: tuple[int, bool]
) -> Problem:
    (line, offset, byte), (bad_lines, windows) = first, extent
    encoding = "cp1252" if windows else "latin-1"
    seen = fragment.decode(encoding, errors="replace").strip()
    return Problem(
        f"{file.name}:{line}",
        f"byte 0x{byte:02X} at offset {offset:,}",
        f"not UTF-8 ({bad_lines:,} such {'line' if bad_lines == 1 else 'lines'}); as {encoding} it reads {seen!r}",
        f"save the file as UTF-8, for instance: iconv -f {encoding.replace('latin-1', 'latin1')} -t utf-8",
    )


def _nul_problem(file: SourceFile, number: int, line: str) -> Problem:
    column = line.index("\0") + 1
    return Problem(
        f"{file.name}:{number}",
        f"NUL byte at character {column:,}",
        "text files hold none",
        "the file is damaged or binary: export it again",
    )


def _problem_of_head(file: SourceFile, head: bytes) -> Problem | None:
    if not head:
        return Problem(file.name, "the file is empty", "", "name a file that holds rows")
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return _utf16_problem(file, encoding, "its first bytes say so")
    for magic, format_name, remedy in _OTHER_FORMATS:
        if head.startswith(magic):
            return Problem(file.name, f"{file.suffix} by name", f"its content is {format_name}", remedy)
    if len(head) >= 8 and head.count(0) * 3 > len(head):
        return _utf16_problem(file, "UTF-16", "every other byte is NUL")
    return None


def _utf16_problem(file: SourceFile, encoding: str, reason: str) -> Problem:
    remedy = f"save the file as UTF-8, for instance: iconv -f {encoding.lower()} -t utf-8"
    return Problem(file.name, f"encoded as {encoding}", f"{reason}; UTF-8 is read", remedy)

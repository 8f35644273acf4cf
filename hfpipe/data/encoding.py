"""Text files as physical lines: in UTF-8, or in the encoding that is set, strictly.

Refuses bytes the encoding has not, with their line and the encoding that would fit, and a byte order mark of another
encoding: read in the wrong one, a file yields wrong characters without any error. A byte order mark is no character.
"""

import codecs
import io
from collections.abc import Iterator

from hfpipe.data.compression import (
    GZIP_MAGIC,
    ZSTD_MAGIC,
    UnpackError,
    is_unpackable,
    open_bytes,
    report_damage,
)
from hfpipe.data.disguises import find_disguise
from hfpipe.data.encoding_names import codec_of
from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import SourceFile
from hfpipe.errors import Problem

_COMPRESSIONS = ((GZIP_MAGIC, ".gz", "gzip"), (ZSTD_MAGIC, ".zst", "Zstandard"))
# the mark, its encoding, and the codecs that may read what follows it
_BYTE_ORDER_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32", ("utf-32", "utf-32-le")),
    (b"\x00\x00\xfe\xff", "UTF-32", ("utf-32", "utf-32-be")),
    (b"\xff\xfe", "UTF-16", ("utf-16", "utf-16-le")),
    (b"\xfe\xff", "UTF-16", ("utf-16", "utf-16-be")),
    (b"\xef\xbb\xbf", "UTF-8", ("utf-8-sig",)),
)
_CHUNK_BYTES = 1 << 16
_HEAD_BYTES = 1 << 16


class UnreadableTextError(Exception):
    """A text file cannot be read further; what is wrong is in the findings of who read it."""


def is_readable_text(file: SourceFile, findings: Findings) -> bool:
    """Return whether the first bytes can be those of a text in its encoding; else `findings` say what they are."""
    if not is_unpackable(file, findings):
        return False
    try:
        with open_bytes(file) as stream:
            head = stream.read(_HEAD_BYTES)
    except UnpackError as error:
        report_damage(file, findings, error)
        return False
    problem = _problem_of_head(file, head)
    if problem is not None:
        findings.add("files of another format", file.name, problem)
    return problem is None


def read_lines(file: SourceFile, findings: Findings) -> Iterator[str]:
    r"""Yield the physical lines with their ends ('\n', '\r\n' or '\r').

    A line with a NUL byte goes to `findings` and is delivered without it, so that later lines are
    still looked at.

    Raises:
        UnreadableTextError: If the file is not in its encoding or cannot be unpacked; `findings` say where and why.
    """
    try:
        with io.TextIOWrapper(open_bytes(file), encoding=codec_of(file.encoding), newline="") as stream:
            for number, line in enumerate(stream, start=1):
                if "\0" in line:
                    findings.add("lines with NUL bytes", file.name, _nul_problem(file, number, line))
                    yield line.replace("\0", "")
                elif number == 1:
                    yield line.removeprefix("\ufeff")
                else:
                    yield line
    except UnicodeDecodeError as error:
        _report_wrong_byte(file, findings)
        raise UnreadableTextError from error
    except UnpackError as error:
        report_damage(file, findings, error)
        raise UnreadableTextError from error


def _report_wrong_byte(file: SourceFile, findings: Findings) -> None:
    try:
        is_utf8 = codec_of(file.encoding) == "utf-8-sig"
        problem = _problem_of_utf8(file) if is_utf8 else _problem_of_codec(file)
    except UnpackError as error:
        report_damage(file, findings, error)
    else:
        findings.add("files in another encoding", file.name, problem)


def _problem_of_utf8(file: SourceFile) -> Problem:
    """Return where the first bytes stand that are not UTF-8, and the encoding they fit.

    None fits a file of which other lines are UTF-8 beyond ASCII, or that holds NUL bytes.
    """
    offset, first, fragment, bad_lines, windows = 0, None, b"", 0, False
    utf8_lines, is_binary = 0, False
    with open_bytes(file) as stream:
        for number, line in enumerate(stream, start=1):
            is_binary = is_binary or b"\0" in line
            try:
                line.decode("utf-8")
                utf8_lines += not line.removeprefix(b"\xef\xbb\xbf").isascii()
            except UnicodeDecodeError as error:
                bad_lines += 1
                windows = windows or any(0x80 <= byte <= 0x9F for byte in line)
                if first is None:
                    first = (number, offset + error.start, line[error.start])
                    fragment = line[max(0, error.start - 12) : error.start + 12]
            offset += len(line)
    assert first is not None, "called for a file that is UTF-8"
    encoding = "cp1252" if windows else "latin-1"
    seen = fragment.decode(encoding, errors="replace").strip()
    lines = f"{bad_lines:,} such {'line' if bad_lines == 1 else 'lines'}"
    if is_binary:
        return _wrong_byte(file, first, "not UTF-8, and there are NUL bytes: a binary file", "name a file of texts")
    if utf8_lines:
        rule = f"not UTF-8 ({lines}), while {utf8_lines:,} {'line is' if utf8_lines == 1 else 'lines are'}"
        return _wrong_byte(file, first, rule, f"write the file anew in one encoding: this line may be {encoding}")
    return _wrong_byte(
        file,
        first,
        f"not UTF-8 ({lines}); as {encoding} it reads {seen!r}",
        f"set encoding: {encoding}, or {_to_utf8(encoding)}",
    )


def _problem_of_codec(file: SourceFile) -> Problem:
    """Return where the first bytes stand that the encoding as set has not.

    Lines are counted in the text before them: in UTF-16 a line end is no byte.
    """
    decoder = codecs.getincrementaldecoder(codec_of(file.encoding))()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    read, line = 0, 1
    with open_bytes(file) as stream:
        while True:
            chunk, state = stream.read(_CHUNK_BYTES), decoder.getstate()
            read += len(chunk)
            try:
                line += newlines.decode(decoder.decode(chunk, not chunk)).count("\n")
            except UnicodeDecodeError as error:
                # the decoder's object may begin with bytes it kept of the chunk before
                offset = read - len(error.object) + error.start
                decoder.setstate(state)  # some encodings switch between sets of characters
                before = decoder.decode(chunk[: max(0, offset - read + len(chunk))])
                line += newlines.decode(before, final=True).count("\n")
                rule = f"not {file.encoding}, the encoding that is set"
                return _wrong_byte(file, (line, offset, error.object[error.start]), rule, _remedy_of_codec(file))
            assert chunk, "called for a file that is in its encoding"


def _remedy_of_codec(file: SourceFile) -> str:
    try:
        with open_bytes(file) as stream, io.TextIOWrapper(stream, encoding="utf-8") as text:
            for _ in text:
                pass
    except UnicodeDecodeError:
        return "set encoding to that of the file, or save the file as UTF-8"
    return "remove encoding: the file is UTF-8"


def _wrong_byte(file: SourceFile, found: tuple[int, int, int], rule: str, remedy: str) -> Problem:
    line, offset, byte = found
    return Problem(f"{file.name}:{line}", f"byte 0x{byte:02X} at offset {offset:,}", rule, remedy)


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
    codec = codec_of(file.encoding)
    for mark, name, codecs_of_mark in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            marked = _wrong_encoding(file, name, "its first bytes say so", codecs_of_mark[0])
            return None if codec in codecs_of_mark else marked
    kind = f"{file.suffix}{file.compression} by name"
    for magic, suffix, format_name in _COMPRESSIONS:
        if head.startswith(magic):
            content = f"its content is compressed with {format_name}"
            again = f"{content} once more"
            if file.compression:
                return Problem(file.name, kind, again, "unpack it once")
            return Problem(file.name, kind, content, f"name it {file.path.name}{suffix}")
    disguise = find_disguise(head, file.suffix)
    if disguise is not None:
        return Problem(file.name, kind, f"its content is {disguise[0]}", disguise[1])
    return _problem_of_width(file, head, codec) or _problem_of_single_bytes(file, head, codec)


def _problem_of_width(file: SourceFile, head: bytes, codec: str) -> Problem | None:
    """Return what is wrong where characters of two or four bytes are met, or expected, without a mark."""
    end = "be" if head[0] == 0 else "le"
    if codec in ("utf-16", "utf-32"):
        rule = "its first bytes do not say which byte comes first"
        return Problem(file.name, f"encoding: {file.encoding}", rule, f"set encoding: {codec}-{end}")
    if codec.startswith(("utf-16", "utf-32")) or len(head) < 8 or head.count(0) * 3 <= len(head):
        return None
    if head.count(0) * 3 > len(head) * 2:
        return _wrong_encoding(file, "UTF-32", "three bytes of four are NUL", f"utf-32-{end}")
    return _wrong_encoding(file, "UTF-16", "every other byte is NUL", f"utf-16-{end}")


def _problem_of_single_bytes(file: SourceFile, head: bytes, codec: str) -> Problem | None:
    """Return what is wrong where an encoding of one byte a character is set for UTF-8: it has all bytes, or nearly.

    Two bytes or more that are a character of UTF-8 are hardly ever a word of those encodings.
    """
    if codec == "utf-8-sig" or head.isascii() or not _has_single_bytes(codec):
        return None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return None
    first = next(index for index, byte in enumerate(head) if byte > 0x7F)
    line = head.count(b"\n", 0, first) + 1
    reason = "bytes beyond ASCII are characters of UTF-8"
    return Problem(f"{file.name}:{line}", f"encoding: {file.encoding}", reason, "remove encoding: the file is UTF-8")


def _has_single_bytes(codec: str) -> bool:
    """Tell whether every byte that `codec` has is a character by itself."""
    every = bytes(range(256))
    return len(every.decode(codec, errors="replace")) == len(every) and codec not in ("ascii", "utf-7")


def _wrong_encoding(file: SourceFile, name: str, reason: str, codec: str) -> Problem:
    read_as = "UTF-8 is read" if file.encoding is None else f"encoding is {file.encoding}"
    if name == "UTF-8":
        return Problem(file.name, f"encoded as {name}", f"{reason}; {read_as}", "remove encoding")
    remedy = f"set encoding: {codec}, or {_to_utf8(codec)}"
    return Problem(file.name, f"encoded as {name}", f"{reason}; {read_as}", remedy)


def _to_utf8(codec: str) -> str:
    name = codec.replace("latin-1", "latin1")
    return f"save the file as UTF-8, for instance: iconv -f {name} -t utf-8"

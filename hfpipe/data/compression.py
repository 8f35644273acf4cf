"""Files compressed with gzip (.gz) or Zstandard (.zst), unpacked while they are read.

Refuses a file whose content is not what its suffix says, data that end too early or fail their checksum, and bytes
that follow them: half a file would be read as a whole one. Zstandard is read by pyarrow's codec, which goes on over
several frames and notices a missing end, as the standard library does for gzip.
"""

import gzip
import io
import zlib
from typing import BinaryIO

import pyarrow

from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import SourceFile
from hfpipe.errors import Problem

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_NAMES = {".gz": "gzip", ".zst": "Zstandard"}
_BUFFER_BYTES = 1 << 16


class UnpackError(Exception):
    """Compressed data that cannot be unpacked; its text is the reason."""


class _Unpacking(io.RawIOBase):
    """The unpacked bytes of a file, with one kind of error for both compressions."""

    def __init__(self, inner: BinaryIO) -> None:
        self._inner = inner

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` with the next bytes and return how many there were."""
        try:
            # not readinto: gzip drops what it has unpacked when it meets a missing end within one request
            content = self._inner.read1(len(buffer))  # type: ignore[attr-defined]
        except (EOFError, OSError, zlib.error) as error:
            raise UnpackError(_reason(error)) from error
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        """Close the file."""
        self._inner.close()
        super().close()


def open_bytes(file: SourceFile) -> BinaryIO:
    """Return the content of a file as a stream of bytes, unpacked where it is compressed.

    Reading raises `UnpackError` where that cannot be done.
    """
    if not file.compression:
        return file.path.open("rb")
    inner = gzip.GzipFile(file.path) if file.compression == ".gz" else _open_zstd(file)
    return io.BufferedReader(_Unpacking(inner), _BUFFER_BYTES)  # type: ignore[arg-type]


def read_unpacked(file: SourceFile) -> bytes:
    """Return the whole content of a file, unpacked.

    Raises:
        UnpackError: If it cannot be unpacked to its end.
    """
    with open_bytes(file) as stream:
        return stream.read()


def is_unpackable(file: SourceFile, findings: Findings) -> bool:
    """Return whether a file is compressed as its suffix says, or not at all; otherwise `findings` say what it is."""
    if not file.compression:
        return True
    with file.path.open("rb") as stream:
        head = stream.read(4)
    found = _compression_of(head)
    if found == file.compression or not head:
        return True
    bare = file.path.stem
    content = f"compressed with {_NAMES[found]}" if found else f"not compressed with {_NAMES[file.compression]}"
    problem = Problem(file.name, f"{file.compression} by name", f"its content is {content}", f"name it {bare}{found}")
    findings.add("files of another format", file.name, problem)
    return False


def report_damage(file: SourceFile, findings: Findings, error: UnpackError) -> None:
    """Add to `findings` that a compressed file cannot be unpacked."""
    remedy = "fetch the file again, or compress it again"
    findings.add("damaged files", file.name, Problem(file.name, "cannot be unpacked", str(error), remedy))


def _open_zstd(file: SourceFile) -> BinaryIO:
    return pyarrow.CompressedInputStream(pyarrow.OSFile(str(file.path)), "zstd")


def _compression_of(head: bytes) -> str:
    if head.startswith(GZIP_MAGIC):
        return ".gz"
    # a frame of data, or one of the sixteen kinds of frames to be skipped
    is_skippable = len(head) == 4 and 0x50 <= head[0] <= 0x5F and head[1:] == b"\x2a\x4d\x18"
    return ".zst" if head == ZSTD_MAGIC or is_skippable else ""


def _reason(error: Exception) -> str:
    text = str(error).removeprefix("ZSTD decompress failed: ").splitlines()[0]
    if isinstance(error, EOFError) or text.startswith("Truncated"):
        return "the compressed data ends too early"
    if text.startswith(("Not a gzipped file", "Unknown frame descriptor")):
        return "other bytes follow the compressed data"
    if "too much memory" in text:
        return "it was compressed with a window over 128 MiB (zstd --long); use a smaller one"
    return f"the compressed data is damaged ({text})"

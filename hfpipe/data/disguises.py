"""What a file really is where its first bytes say something else than its name.

Downloads that failed, workbooks that were renamed, files that Git LFS has not fetched: each has lines or rows of its
own, and would be answered by problems of those, or be learnt as text.
"""

_TAR_MARK = slice(257, 262)
# of text formats without a .txt: a page of a corpus may be just that
_PAGES = (b"<!doctype html", b"<html", b"<?xml")
_KINDS = (
    (b"version https://git-lfs.github.com/spec/", "a pointer of Git LFS, not the file", "fetch it: git lfs pull"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "export the sheet as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook or Word document", "export the sheet as CSV (UTF-8)"),
    (b"PAR1", "Parquet", "name it .parquet"),
    (b"ARROW1", "Arrow", "name it .arrow"),
    (b"%PDF-", "PDF", "extract its text"),
    (b"{\\rtf", "RTF, as word processors save it", "save it as plain text"),
    (b"SQLite format 3\0", "a SQLite database", "export the table as CSV"),
    (b"BZh", "compressed with bzip2", "unpack it, or compress it as .gz or .zst"),
    (b"\xfd7zXZ\0", "compressed with xz", "unpack it, or compress it as .gz or .zst"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it"),
    (b"\x89PNG\r\n", "an image", "name a file of texts"),
    (b"\xff\xd8\xff", "an image", "name a file of texts"),
)


def find_disguise(head: bytes, suffix: str) -> tuple[str, str] | None:
    """Return what a file of this suffix is in truth, and what to do; None where its first bytes do not tell."""
    if head[_TAR_MARK] == b"ustar":
        return "a tar archive", "unpack it"
    if suffix != ".txt" and head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_PAGES):
        return "a web page or XML", "look at it in an editor: a failed download or a login page is saved like this"
    found = ((kind, remedy) for mark, kind, remedy in _KINDS if head.startswith(mark))
    return next(found, None)

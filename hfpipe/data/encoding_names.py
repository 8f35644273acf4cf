"""The names of text encodings, as Python knows them.

Refuses unknown names, with those that are near, and codecs that are no encoding of files (base64, idna).
"""

import codecs
import difflib
import io
from encodings.aliases import aliases

from hfpipe.data.findings import Findings
from hfpipe.errors import Problem

# encodings by name, yet of host names or of Python's own literals
_NOT_OF_FILES = ("idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined")


_USUAL = (
    "utf-8",
    "utf-16",
    "latin-1",
    "cp1252",
    "cp1250",
    "cp1251",
    "gb18030",
    "big5",
    "shift-jis",
    "euc-kr",
    "koi8-r",
)


def codec_of(encoding: str | None) -> str:
    """Return the name of the codec that reads `encoding`; None is UTF-8, whose byte order mark is dropped."""
    name = "utf-8" if encoding is None else codecs.lookup(encoding).name
    return "utf-8-sig" if name == "utf-8" else name


def is_known_encoding(encoding: str | None, findings: Findings) -> bool:
    """Return whether files can be read in `encoding`; otherwise `findings` say so, once."""
    if encoding is None or _is_text_codec(encoding):
        return True
    place = f"encoding: {encoding}"
    if not findings.has_problems_of(place):
        findings.add("settings", place, Problem(place, "no such encoding of text files", "", _remedy(encoding)))
    return False


def _is_text_codec(encoding: str) -> bool:
    try:
        codec_name = codecs.lookup(encoding).name
        io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    except (LookupError, ValueError):
        return False
    return codec_name.replace("_", "-") not in _NOT_OF_FILES


def _remedy(encoding: str) -> str:
    wanted = encoding.lower().replace("_", "-").replace(" ", "-")
    known = sorted(name.replace("_", "-") for name in {*aliases, *aliases.values()} if _is_text_codec(name))
    for names, cutoff in ((_USUAL, 0.65), (known, 0.7)):
        near = difflib.get_close_matches(wanted, names, n=1, cutoff=cutoff)
        if near:
            return f"did you mean {near[0]}?"
    return "set one that Python knows, as cp1252, latin-1, utf-16 or gb18030"

"""The cleaning steps that change a text: pure functions from text to text, by the names that settings know.

They are applied where texts become rows, so equal texts are found after cleaning, and again wherever a model of a run
reads a text. Each but `unescape_html` and `strip_html` is made of one pass, those two go on until nothing is left to do
(`&amp;lt;` is two layers deep), and none changes what it has made.
"""

import html
import re
import string
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from hfpipe.data.personal import mask_personal

URL_MASK = "[URL]"

# elements of the HTML standard with the obsolete ones, SVG's root and the paragraph mark of office programs: `<John>`
# is no tag
_ELEMENTS = (
    "a|abbr|acronym|address|applet|area|article|aside|audio|b|base|basefont|bdi|bdo|bgsound|big|blink|blockquote|"
    "body|br|button|canvas|caption|center|cite|code|col|colgroup|data|datalist|dd|del|details|dfn|dialog|dir|div|dl|"
    "dt|em|embed|fieldset|figcaption|figure|font|footer|form|frame|frameset|h1|h2|h3|h4|h5|h6|head|header|hgroup|hr|"
    "html|i|iframe|image|img|input|ins|kbd|label|legend|li|link|main|map|mark|marquee|menu|meta|meter|nav|nobr|"
    "noframes|noscript|object|ol|optgroup|option|output|p|param|picture|plaintext|pre|progress|q|rp|rt|ruby|s|samp|"
    "script|search|section|select|small|source|span|strike|strong|style|sub|summary|sup|svg|table|tbody|td|template|"
    "textarea|tfoot|th|thead|time|title|tr|track|tt|u|ul|var|video|wbr|xmp|o:p"
)
_LINES = re.compile(
    "address|article|aside|blockquote|br|caption|center|dd|details|dialog|dir|div|dl|dt|fieldset|figcaption|figure|"
    "footer|form|h1|h2|h3|h4|h5|h6|header|hgroup|hr|legend|li|main|menu|nav|ol|option|p|pre|section|summary|table|"
    "tbody|tfoot|thead|title|tr|ul"
)
_CELLS = frozenset(("td", "th"))
# a quoted value may hold '>', and none reaches into the next tag, which keeps the search linear
_ATTRIBUTES = r"(?:(?:[\s/](?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*|[\s/][^<>]*))?"
_TAG = re.compile(rf"</?(?P<name>{_ELEMENTS}){_ATTRIBUTES}>", re.IGNORECASE)
_COMMENT = re.compile(r"<!--(?:(?!<!--).)*?-->|<!doctype[^<>]*>|<\?xml[^<>]*>|<!\[CDATA\[|\]\]>", re.DOTALL | re.I)
_UNREAD = re.compile(
    r"<(?P<name>script|style)\b[^<>]*>(?:(?!<(?P=name)\b).)*?</(?P=name)\s*>", re.IGNORECASE | re.DOTALL
)
_AMPERSANDS = re.compile(r"&(?:amp;|#0{0,5}38;|#x0{0,5}26;)+", re.IGNORECASE)
_URL = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:https?|ftp)://|www\.(?=[^\s.<>\"]))[^\s<>\"\[\]]*[^\s<>\"\[\].,;:!?)'}*_]", re.IGNORECASE
)
# control characters but tab and line ends, soft hyphen, zero-width space, marks of direction, byte order and annotation
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb]"
)
# joiners are part of words and emoji beyond the Latin scripts, and stray marks beside these or at an end
_JOINERS = re.compile(r"(?<![^\x00-\u024f])[\u200c\u200d]+|[\u200c\u200d]+(?![^\x00-\u024f])")
_SIGN = re.compile(r"[^\w\s]|_")
_APOSTROPHE = re.compile(r"(?<=\w)['\u2019](?=\w)")
_TOKEN = re.compile(r"(?P<word>[\w'\u2019-]+)[ \t]*")
_BLANKS = re.compile(r"[^\S\n]+")
_EMPTY_LINES = re.compile(r"\n{3,}")


def apply_steps(text: str, steps: Sequence[str]) -> str:
    """Return the text after each of `steps` in turn.

    Raises:
        KeyError: If there is no such step; settings and `inference.json` are checked where they are read.
    """
    for step in steps:
        text = STEPS[step](text)
    return text


def unescape_html(text: str) -> str:
    """Return the text with the characters that entities stand for, whatever the number of layers."""
    while "&" in text:
        unescaped = html.unescape(_AMPERSANDS.sub("&", text))
        if unescaped == text:
            break
        text = unescaped
    return text


def strip_html(text: str) -> str:
    """Return the text without tags, comments, scripts and styles; what begins a line in a browser begins one here.

    Cells of a table are parted by a space, and nothing takes the place of `<b>` and its like.
    """
    while "<" in text or "]]>" in text:
        stripped = _TAG.sub(_stand_in, _COMMENT.sub("", _UNREAD.sub("", text)))
        if stripped == text:
            break
        text = stripped
    return text


def _stand_in(tag: re.Match[str]) -> str:
    name = tag["name"].lower()
    if _LINES.fullmatch(name):
        return "\n"
    return " " if name in _CELLS else ""


def normalize_nfc(text: str) -> str:
    """Return the text in Unicode's form NFC: one code point for `e` and its accent."""
    return unicodedata.normalize("NFC", text)


def normalize_nfkc(text: str) -> str:
    """Return the text in Unicode's form NFKC: wide letters, ligatures, circled digits and the like become plain."""
    return unicodedata.normalize("NFKC", text)


def remove_invisible(text: str) -> str:
    """Return the text without control characters (tab and line ends stay), zero-width ones and marks of direction.

    Joiners stay inside words and emoji of the scripts that use them.
    """
    return _JOINERS.sub("", _INVISIBLE.sub("", text))


def mask_urls(text: str) -> str:
    """Return the text with `[URL]` for addresses that begin with http, https, ftp or www."""
    return _URL.sub(URL_MASK, text)


def remove_urls(text: str) -> str:
    """Return the text without such addresses."""
    return _URL.sub("", text)


def lowercase(text: str) -> str:
    """Return the text in lower case."""
    return text.lower()


def remove_stop_words(text: str) -> str:
    """Return the text without the English words of scikit-learn's list, contractions among them (`can't`)."""
    stop_words = _read_stop_words()

    def left(token: re.Match[str]) -> str:
        word = token["word"].strip("'\u2019").lower()
        return "" if re.sub(r"['\u2019]", "", word) in stop_words else token[0]

    return _TOKEN.sub(left, text)


@cache
def _read_stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS)


def remove_punctuation(text: str) -> str:
    """Return the text with a space for each punctuation mark and sign of ASCII; an apostrophe inside a word just goes.

    Marks that are part of letters (vowel signs, accents), currencies and emoji stay.
    """
    return _SIGN.sub(_space_for_punctuation, _APOSTROPHE.sub("", text))


def _space_for_punctuation(sign: re.Match[str]) -> str:
    return " " if sign[0] in string.punctuation or unicodedata.category(sign[0])[0] == "P" else sign[0]


def collapse_whitespace(text: str) -> str:
    """Return the text in one line, a single space for each run of white space, and none around it."""
    return " ".join(text.split())


def tidy_lines(text: str) -> str:
    """Return the text with single spaces in a line, none at its ends, and one empty line at most between two."""
    lines = (_BLANKS.sub(" ", line).strip() for line in text.splitlines())
    return _EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip()


STEPS: Mapping[str, Callable[[str], str]] = {
    step.__name__: step
    for step in (
        *(unescape_html, strip_html, normalize_nfc, normalize_nfkc, remove_invisible, mask_urls, remove_urls),
        *(mask_personal, lowercase, remove_stop_words, remove_punctuation, collapse_whitespace, tidy_lines),
    )
}
"""Every step by its name, as `hfpipe.config.cleaning_names.TEXT_STEPS` has them."""

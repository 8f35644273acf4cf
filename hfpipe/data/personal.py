"""Finds personal data in a text: e-mail addresses, phone, card and ID numbers (US SSN, IBAN), IP addresses.

Made to be precise rather than to find everything: what has a checksum must pass it (cards by Luhn and by the lengths of
their issuer, IBANs by ISO 7064 and the length of their country), what has a numbering plan must fit it, and a number
without separators is no phone number. Names and addresses of people are not looked for: patterns cannot tell them.
Nothing here makes a text safe to publish.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

EMAIL, IBAN, CARD, SSN, IP, PHONE = "email", "iban", "card", "ssn", "ip", "phone"
KINDS = (EMAIL, IBAN, CARD, SSN, IP, PHONE)
"""In the order of their claim to characters that two of them would take."""

# no letter, digit or '_' of ASCII, nor a digit with a sign: what comes before is not part of the same thing
_BEGIN = r"(?<![A-Za-z0-9_])(?<![0-9][-.])"
_END = r"(?![A-Za-z0-9_])(?![-.][0-9])"
_LATIN = "A-Za-z0-9\u00c0-\u024f"
_EMAIL = re.compile(
    rf"(?<![{_LATIN}._%+-])[{_LATIN}_%+-](?:[{_LATIN}._%+-]{{0,62}}[{_LATIN}_%+-])?@"
    r"(?:[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?\.){1,8}(?P<end>[A-Za-z]{2,24})(?![A-Za-z0-9_-])"
)
# 'logo@2x.png' is a file
_FILE_ENDS = frozenset(["png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "css", "js", "pdf"])
_IBAN = re.compile(_BEGIN + r"[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?", re.ASCII)
_CARD = re.compile(_BEGIN + r"[2-6][0-9]{3}(?P<separator>[ -]?)[0-9]{4,6}(?:(?P=separator)[0-9]{1,6}){1,3}" + _END)
_SSN = re.compile(
    r"(?:" + _BEGIN + r"|(?i:\b(?P<named>ssn|social security(?: number| no\.?)?)(?: is)?[ :#]{1,3}))"
    r"(?P<number>(?!000|666|9)[0-9]{3}(?P<separator>[- ]?)(?!00)[0-9]{2}(?P=separator)(?!0000)[0-9]{4})" + _END
)
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
# '1.2.3.4' after 'version' is none
_IPV4 = re.compile(_BEGIN + r"(?<!(?i:version) )" + rf"{_OCTET}(?:\.{_OCTET}){{3}}" + _END)
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])", re.ASCII)
# the country codes that ITU-T E.164 assigns
_COUNTRY = (
    r"(?:7|2[07]|2[1-689][0-9]|3[0-469]|3[578][0-9]|4[013-9]|42[0-9]|5[1-8]|5[09][0-9]|6[0-6]|6[789][0-9]|8[1246]"
    r"|8[0578][0-9]|9[0-58]|9[679][0-9])"
)
_ABROAD = re.compile(
    r"(?:(?<![\w+])\+|(?<![\w+])(?<![0-9] )00(?=[1-9][0-9]{0,2}[ ./-]))"
    + _COUNTRY
    + r"(?:[ ./()-]{0,3}[0-9]){6,12}"
    + _END
)
_AMERICAN = re.compile(
    r"(?:(?<![\w+])\+1[ .-]?|" + _BEGIN + r"(?<!\+)(?:1[ .-])?)"
    r"(?:\([2-9][0-9]{2}\)[ .-]?|[2-9][0-9]{2}(?P<separator>[ .-]))[0-9]{3}(?(separator)(?P=separator)|[ .-])[0-9]{4}"
    + _END
)
_AMERICAN_PLAIN = re.compile(r"(?<![\w+])\+1[2-9][0-9]{9}" + _END)
_TRUNK = re.compile(
    _BEGIN
    + r"(?<![0-9] )(?:0[1-9][0-9]{0,3}|\(0[1-9][0-9]{0,3}\))(?P<separator>[ ./-])[0-9]{2,8}(?:[ ./-][0-9]{2,4}){0,4}"
    + _END
)
_DATE = re.compile(r"[0-9]{1,2}([./ -])[0-9]{1,2}\1[0-9]{4}")
# What each pattern cannot do without, found ten times faster: most texts have none of it.
_ANY_CARD_OR_SSN = re.compile(r"[0-9](?:[ -]?[0-9]){8}")
_ANY_PHONE = re.compile(r"[0-9](?:[ ./()-]{0,4}[0-9]){6}")
_ANY_IBAN = re.compile(r"[0-9]{2} ?[A-Za-z0-9]{4} ?[A-Za-z0-9]{4}")
_ANY_IPV4 = re.compile(r"[0-9]\.[0-9]{1,3}\.[0-9]")
_ANY_IPV6 = re.compile(r":[0-9A-Fa-f]{0,4}:")
# SWIFT IBAN registry, release 99
_IBAN_LENGTHS = {
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE",), 16),
    **dict.fromkeys(("DK", "FO", "FI", "GL", "NL", "SD", "FK"), 18),
    **dict.fromkeys(("MK", "SI"), 19),
    **dict.fromkeys(("AT", "BA", "EE", "KZ", "XK", "LT", "LU", "MN"), 20),
    **dict.fromkeys(("HR", "LV", "LI", "CH"), 21),
    **dict.fromkeys(("BH", "BG", "CR", "GE", "DE", "IE", "ME", "RS", "GB", "VA"), 22),
    **dict.fromkeys(("TL", "GI", "IL", "AE", "IQ", "OM", "SO"), 23),
    **dict.fromkeys(("AD", "CZ", "MD", "PK", "RO", "SA", "SK", "ES", "SE", "TN", "VG"), 24),
    **dict.fromkeys(("PT", "ST", "LY"), 25),
    **dict.fromkeys(("IS", "TR"), 26),
    **dict.fromkeys(("FR", "GR", "IT", "MR", "MC", "SM", "DJ", "BI"), 27),
    **dict.fromkeys(("AL", "AZ", "BY", "CY", "DO", "SV", "GT", "HN", "HU", "LB", "NI", "PL"), 28),
    **dict.fromkeys(("BR", "EG", "PS", "QA", "UA"), 29),
    **dict.fromkeys(("JO", "KW", "MU", "YE"), 30),
    **dict.fromkeys(("MT", "SC"), 31),
    **dict.fromkeys(("LC",), 32),
    **dict.fromkeys(("RU",), 33),
}
# issuer's first digits and lengths, ISO/IEC 7812
_CARDS = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"30[0-5]|3[689]"), (14, 16, 19)),
    (re.compile(r"6011|64[4-9]|65"), (16, 19)),
    (re.compile(r"352[89]|35[3-8]"), (16, 17, 18, 19)),
    (re.compile(r"62"), (16, 17, 18, 19)),
    (re.compile(r"5018|5020|5038|6304|6759|676[1-3]"), (13, 14, 15, 16, 17, 18, 19)),
)
_CARD_GROUPS = ((4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 4, 1))


class Span(NamedTuple):
    """Characters `start` to `end` (not included) of a text that are personal data of a kind in `KINDS`."""

    kind: str
    start: int
    end: int


def find_personal(text: str) -> Iterator[Span]:
    """Yield what looks like personal data, in the order it stands there; no two spans share a character."""
    if "@" not in text and not any(map(text.__contains__, "0123456789:")):
        return
    found: list[Span] = []
    for kind in KINDS:
        own = [Span(kind, start, end) for start, end in _FINDERS[kind](text)]
        found += [span for span in own if all(span.end <= other.start or other.end <= span.start for other in found)]
    yield from sorted(found, key=lambda span: span.start)


def mask_personal(text: str) -> str:
    """Return the text with `[EMAIL]`, `[IBAN]`, `[CARD]`, `[SSN]`, `[IP]` and `[PHONE]` in place of what is found."""
    while spans := list(find_personal(text)):
        # once more afterwards: what stood next to a masked number may now stand alone
        for span in reversed(spans):
            text = f"{text[: span.start]}[{span.kind.upper()}]{text[span.end :]}"
    return text


def passes_luhn(digits: str) -> bool:
    """Return whether the last digit is the check digit of the others (Luhn, ISO/IEC 7812-1)."""
    doubled = [int(digit) * (1 + position % 2) for position, digit in enumerate(reversed(digits))]
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def passes_mod_97(iban: str) -> bool:
    """Return whether an IBAN without spaces has the right check digits (ISO 13616, ISO 7064 MOD 97-10)."""
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


def _find_emails(text: str) -> Iterator[tuple[int, int]]:
    for match in _EMAIL.finditer(text) if "@" in text else ():
        if match["end"].lower() not in _FILE_ENDS and ".." not in match[0]:
            yield match.span()


def _find_ibans(text: str) -> Iterator[tuple[int, int]]:
    for match in _IBAN.finditer(text) if _ANY_IBAN.search(text) else ():
        length = _IBAN_LENGTHS.get(match[0][:2].upper())
        ends = [end for end in range(match.start() + 15, match.end() + 1) if _is_end(text, end)]
        for end in ends:
            written = text[match.start() : end].replace(" ", "")
            if len(written) == length and text[end - 1] != " " and passes_mod_97(written):
                yield match.start(), end
                break


def _is_end(text: str, end: int) -> bool:
    return end == len(text) or not (text[end].isascii() and text[end].isalnum())


def _find_cards(text: str) -> Iterator[tuple[int, int]]:
    for match in _CARD.finditer(text) if _ANY_CARD_OR_SSN.search(text) else ():
        groups = tuple(map(len, re.split(r"[ -]", match[0])))
        digits = re.sub(r"[ -]", "", match[0])
        fits = any(prefix.match(digits) and len(digits) in lengths for prefix, lengths in _CARDS)
        if fits and (len(groups) == 1 or groups in _CARD_GROUPS) and passes_luhn(digits):
            yield match.span()


def _find_ssns(text: str) -> Iterator[tuple[int, int]]:
    for match in _SSN.finditer(text) if _ANY_CARD_OR_SSN.search(text) else ():
        # other separators than hyphens are as common in other numbers
        if match["separator"] == "-" or match["named"]:
            yield match.span("number")


def _find_ips(text: str) -> Iterator[tuple[int, int]]:
    patterns = ((_ANY_IPV4, _IPV4), (_ANY_IPV6, _IPV6))
    for match in (match for needed, own in patterns if needed.search(text) for match in own.finditer(text)):
        if ":" in match[0] and sum(map(bool, match[0].split(":"))) < 3:
            continue  # 'a::b' is a name in many a program
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            continue
        if not (address.is_loopback or address.is_unspecified or (address.version == 4 and address.is_reserved)):
            yield match.span()


def _find_phones(text: str) -> Iterator[tuple[int, int]]:
    taken: list[tuple[int, int]] = []
    if not _ANY_PHONE.search(text):
        return
    for pattern in (_ABROAD, _AMERICAN_PLAIN, _AMERICAN, _TRUNK):
        for match in pattern.finditer(text):
            start, end = match.span()
            digits = sum(map(str.isdigit, match[0]))
            is_date = pattern is _TRUNK and _DATE.match(match[0]) is not None
            if is_date or (pattern is _TRUNK and not 9 <= digits <= 12):
                continue
            if all(end <= other_start or other_end <= start for other_start, other_end in taken):
                taken.append((start, end))
    yield from taken


_FINDERS: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    EMAIL: _find_emails,
    IBAN: _find_ibans,
    CARD: _find_cards,
    SSN: _find_ssns,
    IP: _find_ips,
    PHONE: _find_phones,
}

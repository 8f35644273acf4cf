"""Personal data: what is found, what looks like it and is none, and checksums on numbers worked out elsewhere."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfpipe.data import personal
from hfpipe.data.personal import KINDS, find_personal, mask_personal, passes_luhn, passes_mod_97

SEED = 5
PLANTED = 300


def found(text: str) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in find_personal(text)]


@pytest.mark.parametrize(
    ("text", "kind", "span"),
    [
        ("mail john.doe+x@example.co.uk.", "email", "john.doe+x@example.co.uk"),
        ("<jörg.müller@exämple.com>", "email", "jörg.müller@exämple.com"),
        ("邮箱john@x.com谢谢", "email", "john@x.com"),
        ("DE89 3704 0044 0532 0130 00 and so on", "iban", "DE89 3704 0044 0532 0130 00"),
        ("GB82 WEST 1234 5698 7654 32 AND more", "iban", "GB82 WEST 1234 5698 7654 32"),
        ("iban:fr1420041010050500013m02606.", "iban", "fr1420041010050500013m02606"),
        ("BE68 5390 0754 7034 ABC", "iban", "BE68 5390 0754 7034"),
        ("card 4111 1111 1111 1111!", "card", "4111 1111 1111 1111"),
        ("5555-5555-5555-4444", "card", "5555-5555-5555-4444"),
        ("3782 822463 10005", "card", "3782 822463 10005"),
        ("my 30569309025904 expires", "card", "30569309025904"),
        ("SSN 123-45-6789.", "ssn", "123-45-6789"),
        ("social security number is 123 45 6789", "ssn", "123 45 6789"),
        ("from 203.0.113.7.", "ip", "203.0.113.7"),
        ("2001:db8:85a3::8a2e:370:7334 said", "ip", "2001:db8:85a3::8a2e:370:7334"),
        ("+49 30 901820", "phone", "+49 30 901820"),
        ("+44 (0)20 7946 0958", "phone", "+44 (0)20 7946 0958"),
        ("0049 30 901820", "phone", "0049 30 901820"),
        ("call 1-800-555-0199", "phone", "1-800-555-0199"),
        ("(555) 123-4567", "phone", "(555) 123-4567"),
        ("+15551234567", "phone", "+15551234567"),
        ("06.12.34.56.78", "phone", "06.12.34.56.78"),
        ("tel:030/1234567", "phone", "030/1234567"),
    ],
)
def test_personal_data_is_found(text: str, kind: str, span: str) -> None:
    assert found(text) == [(kind, span)]


@pytest.mark.parametrize(
    "text",
    [
        *("logo@2x.png", "@user hello", "a@b", "4111 1111 1111 1112", "1234567890123456", "12345678901234567890"),
        *("DE89 3704 0044 0532 0130 01", "IS12 people came home", "666-12-3456", "000-12-3456", "900-12-3456"),
        *("123 45 6789", "123456789", "version 1.2.3.4", "127.0.0.1", "255.255.255.0", "1.2.3.4.5", "300.1.2.3"),
        *("10:30:45", "a::b", "std::cout", "01-02-2003", "01.02.2003 12", "2020-11-12 10:30:45", "1990 2000 2010 2020"),
        *("1,000,000,000", "2,147,483,647", "3.141592653589793", "ISBN 978-3-16-148410-0", "+100 000 000 000"),
        *("5551234567", "0123456789", "tt0111161", "550e8400-e29b-41d4-a716-446655440000", "10/10", "a film of 1999"),
    ],
)
def test_what_looks_like_it_is_let_be(text: str) -> None:
    assert found(text) == []


def test_spans_come_in_order_and_none_is_inside_another() -> None:
    text = "a@b.de 192.168.1.10, then 555-123-4567 and 4111111111111111,4242424242424242"
    assert [kind for kind, _ in found(text)] == ["email", "ip", "phone", "card", "card"]
    assert mask_personal(text) == "[EMAIL] [IP], then [PHONE] and [CARD],[CARD]"


def test_checksums_are_those_of_the_standards() -> None:
    """The example of Luhn's patent, and that of ISO 13616."""
    assert passes_luhn("79927398713")
    assert [digit for digit in range(10) if passes_luhn(f"7992739871{digit}")] == [3]
    assert passes_mod_97("GB82WEST12345698765432")
    assert not passes_mod_97("GB28WEST12345698765432")


def test_every_wrong_check_digit_of_a_card_is_noticed() -> None:
    assert [digit for digit in range(10) if found(f"no. 411111111111111{digit} of")] == [1]


def test_planted_numbers_are_found_with_their_check_digits_made_here() -> None:
    """Check digits by other roads than the code's: trial of all ten, and 98 minus the remainder."""
    draw = random.Random(SEED)
    for _ in range(PLANTED):
        body = f"4{draw.randrange(10**14):014d}"
        total = sum(int(digit) if place % 2 else sum(divmod(2 * int(digit), 10)) for place, digit in enumerate(body))
        card = body + str(-total % 10)
        account = f"{draw.randrange(10**18):018d}"
        iban = f"DE{98 - int(account + '131400') % 97:02d}{account}"
        address = ".".join(str(draw.randrange(1, 224)) for _ in range(4))
        assert found(f"pay {card} or {iban}") == [("card", card), ("iban", iban)]
        if not address.startswith("127."):
            assert found(f"host {address} is down") == [("ip", address)]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["a@b.de", "4111111111111111", " ", "1", "-", "0044 30 ", "+49 ", ".", "é"]), max_size=9)
)
def test_spans_are_ordered_and_masking_leaves_nothing_to_find(pieces: list[str]) -> None:
    text = "".join(pieces)
    spans = list(find_personal(text))
    assert all(first.end <= second.start for first, second in pairwise(spans))
    assert all(span.kind in KINDS and 0 <= span.start < span.end <= len(text) for span in spans)
    assert found(mask_personal(text)) == []


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from([*"0123456789 .-/()+:", "DE89 3704 0044 0532 0130 00", "ab", "ssn ", "+1", "2001"]), max_size=24
    )
)
def test_what_a_pattern_finds_has_what_texts_are_looked_through_for_first(pieces: list[str]) -> None:
    text = " " + "".join(pieces)
    needs = {
        personal._ANY_IBAN: [personal._IBAN],
        personal._ANY_CARD_OR_SSN: [personal._CARD, personal._SSN],
        personal._ANY_IPV4: [personal._IPV4],
        personal._ANY_IPV6: [personal._IPV6],
        personal._ANY_PHONE: [personal._ABROAD, personal._AMERICAN_PLAIN, personal._AMERICAN, personal._TRUNK],
    }
    for needed, patterns in needs.items():
        for pattern in patterns:
            for match in pattern.finditer(text):
                # of a number in the form of one country 9 digits count
                is_number = pattern is not personal._TRUNK or sum(map(str.isdigit, match[0])) >= 9
                assert needed.search(match[0]) or not is_number

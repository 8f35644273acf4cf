"""Values from text: every type, its bounds, and what does not fit."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfpipe.config.values import Bounds, Raw, Scalar, Unfit, ValueType, parse_value, show

ANY = Bounds()
BOOL, INT, FLOAT, TEXT = (ValueType((name,)) for name in ("bool", "int", "float", "str"))
SWITCH_OR_NAME = ValueType(("bool", "str"))
FILES = ValueType(items=True)
NAMES = ValueType(("str",), items=True, comma_list=True)
LABELS = ValueType(entries=("str",))
WEIGHTS = ValueType(("str",), entries=("float",))
OVERRIDES = ValueType(entries=("bool", "int", "float", "str"))
KEYWORDS = ValueType(entries=("any",))


def parse(text: str, value_type: ValueType, bounds: Bounds = ANY) -> object:
    return parse_value(Scalar(text), value_type, bounds)


@pytest.mark.parametrize(
    ("text", "value_type", "value"),
    [
        ("1e-4", FLOAT, 0.0001),
        ("3", FLOAT, 3.0),
        (".5", FLOAT, 0.5),
        ("-2.", FLOAT, -2.0),
        ("3.0", INT, 3),
        ("5e2", INT, 500),
        ("1_000", INT, 1000),
        ("-1", INT, -1),
        ("True", BOOL, True),
        ("yes", BOOL, True),
        ("on", BOOL, True),
        ("1", BOOL, True),
        ("false", BOOL, False),
        ("NO", BOOL, False),
        ("0", BOOL, False),
        ("1e5", TEXT, "1e5"),
        ("no", TEXT, "no"),
        ("false", SWITCH_OR_NAME, False),
        ("no", SWITCH_OR_NAME, "no"),
        ("a,b.csv", FILES, ("a,b.csv",)),
        ("tensorboard, wandb", NAMES, ("tensorboard", "wandb")),
        ("0=neg, 1=pos", LABELS, {"0": "neg", "1": "pos"}),
        ("balanced", WEIGHTS, "balanced"),
        ("a=1,b=0.5", WEIGHTS, {"a": 1.0, "b": 0.5}),
        ("layers=4,act=gelu,tie=true,eps=1e-5", OVERRIDES, {"layers": 4, "act": "gelu", "tie": True, "eps": 1e-5}),
        ("num_cycles=2", KEYWORDS, {"num_cycles": 2}),
    ],
)
def test_values_from_text(text: str, value_type: ValueType, value: object) -> None:
    parsed = parse(text, value_type)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "value_type", "message"),
    [
        ("3.5", INT, "must be a whole number"),
        ("1e400", INT, "must be a finite number"),
        ("1,000", INT, "must be a whole number"),
        ("0x10", INT, "must be a whole number"),
        ("٣", INT, "must be a whole number"),
        ("true", INT, "must be a whole number"),
        ("1__0", INT, "must be a whole number"),
        ("", INT, "must be a whole number"),
        ("9" * 5_000, INT, "must be a finite number"),
        ("nan", FLOAT, "must be a finite number"),
        ("-inf", FLOAT, "must be a finite number"),
        (".inf", FLOAT, "must be a finite number"),
        ("1e999", FLOAT, "must be a finite number"),
        ("fast", FLOAT, "must be a number"),
        ("2", BOOL, "must be true or false"),
        ("", TEXT, "must not be empty; remove it, or write null"),
        ("a", LABELS, "must be a mapping; write it as 'a=1,b=2' or as a YAML mapping"),
        ("a=1,a=2", LABELS, "names 'a' twice; keep one of them"),
        ("a=x", WEIGHTS, "'a' must be a number"),
    ],
)
def test_text_that_does_not_fit(text: str, value_type: ValueType, message: str) -> None:
    with pytest.raises(Unfit) as caught:
        parse(text, value_type)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("raw", "value_type", "message"),
    [
        ([Scalar("a")], INT, "must be a whole number"),
        ({"a": Scalar("1")}, FILES, "must be a list"),
        ([[Scalar("a")]], FILES, "must be a list of texts; write its items without nesting, each once"),
        ([Scalar("a")], WEIGHTS, "must be text or a mapping"),
        ({"a": [Scalar("1")]}, LABELS, "'a' must be text"),
    ],
)
def test_forms_that_do_not_fit(raw: Raw, value_type: ValueType, message: str) -> None:
    with pytest.raises(Unfit) as caught:
        parse_value(raw, value_type, ANY)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "bounds", "message"),
    [
        ("0", Bounds(above=0, maximum=10), "must be above 0 and at most 10"),
        ("0", Bounds(minimum=1, also=-1), "must be at least 1, or -1"),
        ("1", Bounds(minimum=0, below=1), "must be at least 0 and below 1"),
        ("5e9", Bounds(maximum=2**32 - 1), "must be at most 4,294,967,295"),
        ("1.5", Bounds(whole_above_one=True), "must be a whole number of steps, or a share of all steps below 1"),
    ],
)
def test_numbers_out_of_bounds(text: str, bounds: Bounds, message: str) -> None:
    with pytest.raises(Unfit) as caught:
        parse(text, FLOAT, bounds)
    assert str(caught.value) == message


def test_counts_of_steps_are_whole_and_shares_are_not() -> None:
    steps = Bounds(minimum=0, whole_above_one=True)
    assert parse("500", FLOAT, steps) == 500
    assert isinstance(parse("500", FLOAT, steps), int)
    assert parse("0.06", FLOAT, steps) == 0.06


def test_words_that_are_no_choice() -> None:
    with pytest.raises(Unfit, match="must be one of file, line"):
        parse("page", TEXT, Bounds(choices=("file", "line")))


def test_quotation_marks_make_text_where_text_is_allowed() -> None:
    assert parse_value({"a": Scalar("4", quoted=True)}, OVERRIDES, ANY) == {"a": "4"}
    assert parse_value(Scalar("1e-4", quoted=True), FLOAT, ANY) == 1e-4


def test_values_are_shown_as_written_and_cut() -> None:
    assert show({"a": [Scalar("1"), None]}) == "{a: [1, null]}"
    assert show(Scalar("x" * 100)) == "x" * 77 + "..."


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_round_trips(number: float) -> None:
    parsed = parse(repr(number), FLOAT)
    assert isinstance(parsed, float)
    assert parsed == number
    assert math.copysign(1, parsed) == math.copysign(1, number)


@given(st.integers(-(10**30), 10**30))
def test_every_whole_number_round_trips(number: int) -> None:
    assert parse(str(number), INT) == number


@given(st.text(min_size=1))
def test_every_text_round_trips(text: str) -> None:
    assert parse(text, TEXT) == text
    assert parse(text, FILES) == (text,)


@given(st.text(), st.sampled_from([BOOL, INT, FLOAT, TEXT, FILES, NAMES, LABELS, WEIGHTS, OVERRIDES, KEYWORDS]))
def test_any_text_is_a_value_or_unfit(text: str, value_type: ValueType) -> None:
    try:
        parse(text, value_type)
    except Unfit as unfit:
        assert str(unfit)

"""Numbers to predict: how they are written, what is refused, what is said of them, and how rows are split."""

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from data_files import Rows, load, problems_of, write_csv, write_jsonl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfpipe.config import load_config
from hfpipe.config.sections import REGRESSION
from hfpipe.data.numbers import bin_edges, bin_numbers
from hfpipe.data.parts import LabelledParts, load_labelled_parts

RECIPES = Path(__file__).parents[2] / "recipes" / "custom_csv"
NUMBERS = [0.5, -2, 3.25, 10, 7.5, 1e3, 0.125, 42]


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load_numbers(seed: int = 42, **values: object) -> LabelledParts:
    return load(seed, problem_type=REGRESSION, **values)


def rows_of(numbers: list[object]) -> Rows:
    return [(f"t{row}", number) for row, number in enumerate(numbers)]


def as_numbers(parts: LabelledParts) -> dict[str, float]:
    """Return the number of each text that is used."""
    return {
        text: float(number)
        for part in (parts.train, parts.validation)
        for text, number in zip(part.texts, part.targets, strict=True)
    }


def test_numbers_are_the_same_in_every_format() -> None:
    rows = rows_of([*NUMBERS])
    write_csv("a.csv", rows)
    write_jsonl("a.jsonl", rows)
    write_jsonl("texts.jsonl", [(text, f" +{number}" if number == 10 else str(number)) for text, number in rows])
    texts = [text for text, _ in rows]
    decimals = [Decimal(str(number)) for number in NUMBERS]
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": [*map(float, NUMBERS)]}), "a.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": decimals}), "decimals.parquet")
    for name in ("a.csv", "a.jsonl", "texts.jsonl", "a.parquet", "decimals.parquet"):
        parts = load_numbers(train_file=name)
        assert (parts.problem_type, parts.label_names) == (REGRESSION, ("label",))
        assert parts.train.targets.dtype == np.float32
        assert as_numbers(parts) == {f"t{row}": number for row, number in enumerate(NUMBERS)}


def test_a_missing_number_is_unlabelled_and_other_numbers_contradict_each_other() -> None:
    rows: Rows = [*rows_of([*NUMBERS]), ("x", ""), ("t0", 0.5), ("t1", -2.5), ("", 3)]
    left_out = load_numbers(train_file=write_csv("a.csv", rows)).summary.parts["train"].left_out
    assert {reason: rows.examples for reason, rows in left_out.items() if reason != "held_out_for_validation"} == {
        "empty": ("a.csv:13",),
        "unlabelled": ("a.csv:10",),
        "conflicting": ("a.csv:3", "a.csv:12"),
        "duplicate": ("a.csv:11",),
    }


def test_range_mean_and_spread_are_said_by_part() -> None:
    train, test = write_csv("a.csv", rows_of([1, 2, 3, 12345.6])), write_csv("t.csv", [("x", 0.1), ("y", 0.2)])
    summary = load_numbers(train_file=train, validation_file=write_csv("v.csv", [("v", 7)]), test_file=test).summary
    assert summary.lines()[4:7] == [
        "train: 'label' from 1 to 12,350, mean 3,088, standard deviation 5,345",
        "validation: 'label' from 7 to 7, mean 7, standard deviation 0",
        "test: 'label' from 0.1 to 0.2, mean 0.15, standard deviation 0.05",
    ]
    assert summary.to_json()["targets"]["validation"] == {
        "minimum": 7.0,
        "maximum": 7.0,
        "mean": 7.0,
        "standard_deviation": 0.0,
    }
    assert summary.to_json()["labels"] == {}
    assert json.loads(json.dumps(summary.to_json(), allow_nan=False)) == summary.to_json()


FINITE = "a number to predict is finite; leave the cell empty where there is no value"
COMMA = "a comma in a number; write a decimal point, as in 3.5, and no thousands separators"
NO_NUMBER = "a number is expected; write one, or remove problem_type: regression for classes"
REFUSED_TEXTS = {
    "nan": FINITE,
    "-Infinity": FINITE,
    "3,5": COMMA,
    "1,234.5": COMMA,
    "-,5": COMMA,
    "good": NO_NUMBER,
    "5%": NO_NUMBER,
    "1_000": NO_NUMBER,
    "0x10": NO_NUMBER,
    "1e39": "beyond what a 32-bit number holds; give it in a larger unit",
    "1e400": "beyond what a 32-bit number holds; give it in a larger unit",
}


@pytest.mark.parametrize("text, message", REFUSED_TEXTS.items(), ids=REFUSED_TEXTS.keys())
def test_texts_that_are_refused(text: str, message: str) -> None:
    train = write_csv("a.csv", [*rows_of([1, 2]), ("x", f'"{text}"')])
    assert problems_of(train_file=train, problem_type=REGRESSION) == [
        f"a.csv:4: column 'label' holds a text, {text!r}: {message}"
    ]


REFUSED_VALUES: dict[str, tuple[object, str]] = {
    "a truth value": (True, "a truth value, 'True': a number is expected"),
    "a list": ([1.5], "a list, '[1.5]': a number is expected"),
    "a large whole number": (
        10**400,
        f"a number, '1{'0' * 36}...': beyond what a 32-bit number holds; give it in a larger unit",
    ),
}


@pytest.mark.parametrize("value, message", REFUSED_VALUES.values(), ids=REFUSED_VALUES.keys())
def test_values_that_are_refused(value: object, message: str) -> None:
    train = write_jsonl("a.jsonl", [*rows_of([1, 2]), ("x", value)])
    assert problems_of(train_file=train, problem_type=REGRESSION) == [f"a.jsonl:3: column 'label' holds {message}"]


def test_numbers_of_parquet_files_are_finite() -> None:
    table = pyarrow.table({"text": ["a", "b"], "label": [1.0, float("nan")]})
    pyarrow.parquet.write_table(table, "a.parquet")
    assert problems_of(train_file="a.parquet", problem_type=REGRESSION) == [
        "a.parquet:row 2: column 'label' holds a number with decimals, 'nan': "
        "a number to predict is finite; write null where there is no value"
    ]


def test_a_constant_is_refused_and_two_whole_numbers_are_said() -> None:
    train = write_csv("a.csv", rows_of([3.5] * 4))
    assert problems_of(train_file=train, problem_type=REGRESSION) == [
        "a.csv: every row has the number 3.5: there is nothing to learn; name another column"
    ]
    lines = load_numbers(train_file=write_csv("a.csv", rows_of([0, 1] * 4))).summary.lines()
    assert "only the numbers 0 and 1 occur: if they are classes, remove problem_type" in lines


def test_numbers_far_from_zero_are_said() -> None:
    prices = load_numbers(train_file=write_csv("a.csv", rows_of([100000, 110000, 90000, 100000])))
    assert prices.summary.notes == (
        "a.csv: the numbers lie far from 0, where a new head begins, and it moves by about learning_rate a step: "
        "if it does not get there, train on (number - 100,000) / 7,071 and turn predictions back",
    )
    assert load_numbers(train_file=write_csv("b.csv", rows_of([1, 10, 7.5, 9]))).summary.notes == ()


def test_numbers_with_decimal_commas_are_no_classes() -> None:
    train = write_csv("a.csv", [("a", '"1,5"'), ("b", '"2,5"'), ("c", '"1,5"'), ("d", '"2,5"')])
    assert problems_of(train_file=train) == [
        "a.csv: labels such as '1,5', '2,5': numbers with decimals are no labels; "
        "write whole numbers or names (pandas turns 1 into 1.0 where a label is missing), "
        "or set problem_type: regression to predict numbers, with decimal points; "
        "or, where a row has several labels, set label_delimiter: ','"
    ]


def test_two_rows_can_be_split() -> None:
    parts = load_numbers(train_file=write_csv("a.csv", rows_of([1, 2])))
    assert (len(parts.train.texts), len(parts.validation.texts)) == (1, 1)


def test_bins_hold_equally_many_rows_and_equal_numbers_share_one() -> None:
    edges = bin_edges([float(number) for number in range(100, 0, -1)])
    assert edges.tolist() == [11, 21, 31, 41, 51, 61, 71, 81, 91]
    assert np.bincount(bin_numbers([float(number) for number in range(1, 101)], edges)).tolist() == [10] * 10
    assert bin_edges([1.0] * 40).tolist() == [1.0]
    assert bin_edges([1.0, 2.0, 3.0]).tolist() == []
    assert bin_numbers([-5.0, 11.0, 500.0], edges).tolist() == [0, 1, 9]


def test_high_and_low_numbers_are_on_both_sides() -> None:
    train = write_csv("a.csv", rows_of([*range(100)]))
    for seed in range(5):
        parts = load_numbers(seed, train_file=train, max_train_samples=30)
        assert sorted(number // 10 for number in parts.validation.targets) == list(range(10))
        assert np.bincount((parts.train.targets // 10).astype(int)).tolist() == [3] * 10


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["x", "y", "z", ""]), st.none() | st.floats(-1e6, 1e6, width=32) | st.integers(-5, 5)
        ),
        max_size=25,
    ),
    st.integers(0, 9),
)
def test_every_row_is_used_or_listed(rows: list[tuple[str, float | None]], seed: int) -> None:
    parts = load_numbers(seed, train_file=write_jsonl("a.jsonl", [*rows_of([*NUMBERS]), *rows]))
    account = parts.summary.parts["train"]
    assert account.read == 8 + len(rows) == account.used + sum(left.count for left in account.left_out.values())
    assert account.used == len(parts.train.texts) == len(set(parts.train.texts)) == len(parts.train.targets)
    assert account.left_out["held_out_for_validation"].count == len(parts.validation.texts) > 0
    known = {*rows, *rows_of([*NUMBERS])}
    assert all((text, number) in known for text, number in as_numbers(parts).items())


def test_the_run_that_ships_reads_its_example() -> None:
    write_csv("train.csv", rows_of([*NUMBERS]), header="text,score")
    parts = load_labelled_parts(load_config(["--config", str(RECIPES / "regression.yaml")]).data, seed=42)
    assert parts.label_names == ("score",)

"""Labels, numbers and joined texts as people type them: taken as they are, or refused with their places."""

from pathlib import Path

import pytest
from bad_files import Case, bad, check_labelled, check_predicted, csv_text, good

NUMBERS = (("warm", "3.5"), ("cold", "1"))
SETS = (("warm", "pos;new"), ("cold", "neg"))
REGRESSION = "regression"
SEVERAL = "multi_label_classification"


def scores(*cells: str) -> bytes:
    return ("text,label\n" + "".join(f'text {row},"{cell}"\n' for row, cell in enumerate(cells))).encode()


def same(value: str) -> Case:
    """A label beside the 1 of another row, of which it is another spelling."""
    one, other = sorted([("1", 2), (value, 3)])
    found = f"labels {one[0]!r} (1 row: a.csv:{one[1]}), {other[0]!r} (1 row: a.csv:{other[1]}): are one number"
    return bad(csv_text(f"x,1\ny,{value}\n"), ("a.csv", found))


LABELS: dict[str, Case] = {
    "numbers with zeros": good(csv_text("x,01\ny,02\n"), (2, "x", "01"), (3, "y", "02")),
    "numbers and names": good(csv_text("x,1\ny,2\n"), (2, "x", "1"), (3, "y", "2")),
    "huge numbers": good(csv_text(f"x,{10**40}\n"), (2, "x", str(10**40))),
    "signs": good(csv_text("x,+\ny,-\nz,?\n"), (2, "x", "+"), (3, "y", "-"), (4, "z", "?")),
    "accents": good(csv_text("x,négatif\n"), (2, "x", "négatif")),
    "a label of a thousand characters": good(csv_text(f"x,{'a' * 1_000}\n"), (2, "x", "a" * 1_000)),
    "a zero more": bad(csv_text("x,1\ny,01\n"), ("a.csv", "differ only in leading zeros")),
    "decimals of the same number": same("1.0"),
    "a sign of the same number": same("+1"),
    "digits of full width": bad(csv_text("x,1\ny,\uff11\n"), ("a.csv", "differ only in case, white space")),
    "capitals": bad(
        csv_text("x,True\ny,true\nz,TRUE\n"), ("a.csv", "'TRUE' (1 row: a.csv:4), 'True' (1 row: a.csv:2)")
    ),
    "blanks around": bad(csv_text("x, pos\n"), ("a.csv", "differ only in case, white space")),
    "two blanks inside": bad(csv_text("x,very good\ny,very  good\n"), ("a.csv", "differ only in case, white space")),
    "a blank that does not break": bad(csv_text("x,very good\ny,very\u00a0good\n"), ("a.csv", "differ only in case")),
    "an invisible character": bad(
        csv_text("x,pos\u200b\n"), ("a.csv", "differ only in case, white space or invisible")
    ),
    "two forms of an accent": bad(csv_text("x,é\ny,e\u0301\n"), ("a.csv", "differ only in case")),
    "blanks around one alone": bad(csv_text("x, mixed\n"), ("a.csv", "white space around it; remove it")),
    "nothing but an invisible character": good(csv_text("x,\u200b\n"), left_out={"unlabelled": 1}),
    "decimals": bad(scores("1.5", "2.5"), ("a.csv", "numbers with decimals are no labels")).with_settings(
        (("warm", "1.5"), ("cold", "2.5"))
    ),
    "decimal commas": bad(scores("1,5", "2,5"), ("a.csv", "numbers with decimals are no labels")).with_settings(
        (("warm", "1,5"), ("cold", "2,5"))
    ),
    "texts in place of labels": bad(
        ("text,label\n" + "".join(f"t{row},a sentence {row}\n" for row in range(30))).encode(),
        ("a.csv", "30 different labels in 30 rows"),
    ).with_settings((("warm", "a sentence 1"), ("cold", "a sentence 2"))),
    "one label alone": bad(b"text,label\nx,pos\ny,pos\n", ("validation.parquet", "'neg'")),
}

FIGURES: dict[str, Case] = {
    "decimals": good(
        scores("3.5", " -2 ", "1e-3", ".5", "5.", "+4"),
        *[
            (row + 2, f"text {row}", number)
            for row, number in enumerate([3.5, -2.0, 0.0010000000474974513, 0.5, 5.0, 4.0])
        ],
    ),
    "missing": good(scores("3.5", "", "1"), (2, "text 0", 3.5), (4, "text 2", 1.0), left_out={"unlabelled": 1}),
    "decimal commas": bad(scores("1", "3,5"), ("a.csv:3", "a comma in a number; write a decimal point")),
    "thousands": bad(scores("1", "1,000.5"), ("a.csv:3", "a comma in a number")),
    "thousands by blanks": bad(scores("1", "1 000"), ("a.csv:3", "a number is expected")),
    "percentages": bad(scores("1", "5%"), ("a.csv:3", "a number is expected")),
    "money": bad(scores("1", "$5"), ("a.csv:3", "a number is expected")),
    "fractions": bad(scores("1", "1/2"), ("a.csv:3", "a number is expected")),
    "underscores": bad(scores("1", "1_000"), ("a.csv:3", "a number is expected")),
    "hexadecimals": bad(scores("1", "0x10"), ("a.csv:3", "a number is expected")),
    "a typographic minus": bad(scores("1", "\u22125"), ("a.csv:3", "a number is expected")),
    "words": bad(scores("1", "five"), ("a.csv:3", "a number is expected")),
    "a word for nothing": bad(scores("1", "NA"), ("a.csv:3", "a number is expected")),
    "nan": bad(scores("1", "NaN"), ("a.csv:3", "a number to predict is finite")),
    "infinity": bad(scores("1", "-inf"), ("a.csv:3", "a number to predict is finite")),
    "beyond all numbers": bad(scores("1", "1e400"), ("a.csv:3", "beyond what a 32-bit number holds")),
    "all the same": bad(scores("2", "2.0"), ("a.csv", "every row has the number 2")),
}

LISTS: dict[str, Case] = {
    "several": good(
        scores("pos;new", "neg", ""), (2, "text 0", ("new", "pos")), (3, "text 1", ("neg",)), (4, "text 2", ())
    ),
    "blanks around": good(scores(" pos ; new", "neg"), (2, "text 0", ("new", "pos")), (3, "text 1", ("neg",))),
    "twice": bad(scores("pos;pos", "neg;new"), ("a.csv:2", "label 'pos' stands 2 times")),
    "an empty one": bad(scores("pos;;new", "neg"), ("a.csv:2", "an empty label between delimiters")),
    "one at the end": bad(scores("pos;new;", "neg"), ("a.csv:2", "an empty label between delimiters")),
    "another delimiter": bad(
        scores("pos|new", "neg"),
        ("validation.parquet", "'new'"),
        ("validation.parquet", "'pos'"),
        ("a.csv", "set label_delimiter: '|'"),
    ),
    "zeros and ones": bad(scores("0;1;0", "1;0;0"), ("a.csv:2", "a row has a label once"), ("a.csv:3", "")),
}

THREE = {"columns": ("title", "body", "label")}
JOINED: dict[str, Case] = {
    "two columns": good(
        b"title,body,label\nx,y,pos\n,z,neg\nw, ,neg\n,,pos\n",
        *[(2, "x y", "pos"), (3, "z", "neg"), (4, "w", "neg")],
        left_out={"empty": 1},
        text_column_names=("title", "body"),
    ),
    "two texts": good(
        b"title,body,label\nx,y,pos\n,z,neg\nw,,neg\nv,u,neg\n",
        *[(2, ("x", "y"), "pos"), (5, ("v", "u"), "neg")],
        left_out={"empty": 2},
        text_column_names="title",
        text_pair_column_name="body",
    ),
    "a column that is missing": bad(
        b"title,bdy,label\nx,y,pos\n",
        ("a.csv:1", "did you mean text_column_names: bdy?"),
        text_column_names=("title", "body"),
    ),
    "a column named twice": bad(
        b"title,body,label\nx,y,pos\n",
        *[("a.csv:1", "named 2 times"), ("validation.parquet", "named 2 times")],
        text_column_names=("title", "title"),
    ),
    "a text that is the label": bad(
        b"title,body,label\nx,y,pos\n",
        *[("a.csv:1", "is text and label at once"), ("validation.parquet", "is text and label at once")],
        text_column_names=("label",),
    ),
}
PREDICTED: dict[str, Case] = {
    "rows without a text count": good(
        csv_text("x,pos\n,neg\nNA,\n"), (2, "x"), (3, None), (4, "NA"), (5, "a fine film"), (6, "a dull film")
    ),
    "no label column is needed": good(b"text\nx\n", (2, "x")),
    "semicolons that are set": good(b"text;id\nx, y;1\n", (2, "x, y"), field_delimiter=";"),
    "cp1252 that is set": good("text,id\ncafé,1\n".encode("cp1252"), (2, "café"), encoding="cp1252"),
    "a row too long": bad(b"id,text\n1,x\n2,y,z\n", ("a.csv:3", "3 fields: the header has 2")),
    "no text column": bad(b"id,title,n\n1,x,2\n", ("a.csv:1", "no column is known to be the text")),
    "a missing file": bad(lambda: None, ("a.csv", "no such file")),
    "a folder": bad(lambda: Path("a.csv").mkdir(), ("a.csv", "no regular file")),
    "cut JSON lines": bad(b'{"text": "x"}\n{"text": "y', ("a.jsonl:2", "cut short"), name="a.jsonl"),
    "a web page": bad(b"<html></html>", ("a.csv", "its content is a web page")),
}


@pytest.mark.parametrize("case", LABELS.values(), ids=LABELS)
def test_labels_are_taken_as_they_are_or_refused(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_labelled(case)


@pytest.mark.parametrize("case", FIGURES.values(), ids=FIGURES)
def test_numbers_to_predict_are_read_or_refused(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_labelled(case.with_settings(NUMBERS, problem_type=REGRESSION))


@pytest.mark.parametrize("case", LISTS.values(), ids=LISTS)
def test_labels_in_a_cell_are_read_or_refused(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_labelled(case.with_settings(SETS, problem_type=SEVERAL, label_delimiter=";"))


@pytest.mark.parametrize("case", JOINED.values(), ids=JOINED)
def test_texts_of_several_columns_are_read_or_refused(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_labelled(case.with_settings(case.beside, **THREE))


@pytest.mark.parametrize("case", PREDICTED.values(), ids=PREDICTED)
def test_tables_to_predict_are_read_or_refused(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_predicted(case)

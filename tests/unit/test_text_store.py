"""Texts in a file: read back as they were, chosen and joined without a copy, compared by what they say."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfpipe.data.duplicates import find_repeats, find_shared, first_with_text
from hfpipe.data.splits import first_of_order, seeded_order
from hfpipe.data.stretches import cut_texts
from hfpipe.data.text_store import StoredTexts, TextWriter, count_bytes, digests_of, join_stored, take_texts

BLANKS = " \n"

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
    assert count_bytes(joined) == count_bytes(texts + others)
    assert b"".join(map(bytes, digests_of(joined))) == b"".join(map(bytes, digests_of(texts + others)))
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


def test_a_text_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[str]:
        yield "begun"
        raise EOFError

    writer = TextWriter(tmp_path)
    writer.extend(("in ", "two parts"))
    with pytest.raises(EOFError):
        writer.extend(broken())
    writer.append("whole")
    stored = writer.build()
    assert list(stored) == ["in two parts", "whole"]
    assert b"".join(map(bytes, digests_of(stored))) == b"".join(map(bytes, digests_of(["in two parts", "whole"])))


@given(st.lists(st.text("ab ä中\u2003\n🎉\udc80", max_size=60), max_size=3), st.integers(4, 20))
def test_long_texts_come_in_stretches_that_begin_with_a_blank(folder: Path, texts: list[str], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hfpipe.data.stretches.STRETCH_BYTES", size)
        stored = store(folder, texts)
        found = list(cut_texts(stored, BLANKS))
        assert "".join(each.text for each in found) == "".join(texts)
        assert [each.size for each in found if each.size is not None] == [
            len(text.encode("utf-8", "surrogatepass")) for text in texts
        ]
        assert sum(each.size_here for each in found) == count_bytes(texts)
        first = -1
        for number, each in enumerate(found):
            first += each.size is not None
            before = found[number - 1].text[-1:]
            assert each.size is not None or (each.text[0] in BLANKS and not before.isspace())
            # the same stretches follow where a process that was killed goes on
            behind = cut_texts(stored, BLANKS, first=first + (each.done == 0), done=each.done)
            assert list(behind) == found[number + 1 :]
            # and the rest of the same texts, where that one holds them in memory
            whole = cut_texts(texts, BLANKS, first=first + (each.done == 0), done=each.done)
            assert "".join(rest.text for rest in whole) == "".join(rest.text for rest in found[number + 1 :])


def test_texts_that_may_not_be_cut_are_whole(folder: Path) -> None:
    text = "word " * 50_000
    assert [each.text for each in cut_texts(store(folder, [text]), "")] == [text]
    assert [each.text for each in cut_texts([text], BLANKS)] == [text]
    assert len(list(cut_texts(store(folder, [text]), BLANKS))) == 4
    assert [each.text for each in cut_texts(store(folder, ["x" * 300_000]), BLANKS)] == ["x" * 300_000]


@given(st.integers(0, 40), st.integers(0, 3), st.data())
def test_the_first_of_an_order_are_found_without_it(count: int, seed: int, data: st.DataObject) -> None:
    share = data.draw(st.integers(0, count))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hfpipe.data.splits._DRAWS_AT_ONCE", 7)
        found = first_of_order(count, share, seed=seed, stage=1)
    assert found.tolist() == sorted(seeded_order(count, seed=seed, stage=1)[:share].tolist())


@given(st.lists(st.integers(0, 5), max_size=40))
def test_repeats_are_found_portion_by_portion(folder: Path, numbers: list[int]) -> None:
    texts = list(map(str, numbers))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hfpipe.data.duplicates.ROWS_AT_ONCE", 3)
        patch.setattr("hfpipe.data.text_store.ROWS_PER_READ", 5)
        stored = store(folder, texts)
        assert first_with_text(stored).tolist() == first_with_text(texts).tolist()
        assert find_repeats(stored, [])[1].tolist() == find_repeats(texts, [])[1].tolist()
        assert find_shared(stored[7:], [stored[:7]]).tolist() == find_shared(texts[7:], [texts[:7]]).tolist()

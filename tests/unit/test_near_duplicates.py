"""Near-duplicates: what counts as the same, the similarity itself, recall and precision on planted copies."""

import importlib.util

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_reviews import change_words, make_reviews

from hfpipe.data.near_duplicates import THRESHOLD, even_out, find_near_duplicates, shingle, similarity
from hfpipe.errors import ConfigError

SEED = 11
ROWS, COPIES = 400, 100

words = st.lists(st.sampled_from(["ab", "cd", "efg", "hi", "é", "日本"]), min_size=1, max_size=12).map(" ".join)


def plain_similarity(text: str, other: str) -> float:
    """Return the Jaccard similarity by the definition, of sets of strings."""
    some, others = ({t[at : at + 5] for at in range(max(len(t) - 4, 1))} for t in (even_out(text), even_out(other)))
    return len(some & others) / len(some | others)


@given(words, words)
@settings(deadline=None)
def test_the_similarity_is_that_of_sets_of_five_characters(text: str, other: str) -> None:
    assert similarity(text, other) == pytest.approx(plain_similarity(text, other))


def test_case_width_signs_and_white_space_make_no_difference() -> None:
    assert even_out("  Great\n— MOVIE!!_ \uff12\uff10") == "great movie 20"
    assert similarity("Great movie!!", "great   MOVIE") == 1.0
    assert similarity("great movie", "") == similarity("!", "?") == 0.0
    assert len(shingle("abcdefg")) == 3
    assert len(shingle("abc")) == 1


def test_groups_are_of_texts_that_differ() -> None:
    texts = ["Great movie", "great movie!", "Great movie", "other words here", "!!", "??", "GREAT MOVIE"]
    assert find_near_duplicates(texts) == [[0, 1, 6]]
    assert find_near_duplicates([]) == find_near_duplicates(["one"]) == []


def test_planted_copies_are_found_and_nothing_else() -> None:
    originals, _ = make_reviews(ROWS, seed=SEED)
    copies = [change_words(text, 1, seed=row) for row, text in enumerate(originals[:COPIES])]
    texts = [*originals, *copies]
    runs = [{text[at : at + 5] for at in range(len(text) - 4)} for text in texts]
    alike = {
        ROWS + copy: {row for row in range(ROWS) if len(runs[row] & own) / len(runs[row] | own) >= THRESHOLD}
        for copy, own in enumerate(runs[ROWS:])
    }
    true = {copy for copy, rows in alike.items() if rows}
    assert len(true) > 80
    groups = find_near_duplicates(texts)
    found = {row for group in groups for row in group if row >= ROWS}
    # recall is 0.991 at the threshold and more above it; precision is 1, for each is verified
    assert len(found & true) / len(true) >= 0.97
    assert found <= true
    assert all(len(alike[max(group)] & set(group)) == 1 and len(group) == 2 for group in groups)


def test_a_text_that_thousands_share_is_compared_in_time() -> None:
    letter = "dear customer your parcel number {} has been sent today and will be with you"
    assert find_near_duplicates([letter.format(number) for number in range(2_000)]) == [list(range(2_000))]


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        find_near_duplicates(["a", "b"])
    expected = (
        "near-duplicates: they need the package datasketch, which is not installed; pip install 'hfpipe[inspect]'"
    )
    assert [str(problem) for problem in caught.value.problems] == [expected]

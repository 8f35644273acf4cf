"""Shares of a mixture: how many rows of each source an epoch has, and which."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfpipe.config import DataSettings
from hfpipe.config.mixture import read_mixture
from hfpipe.data.mixture import (
    SourceShare,
    describe_mixture,
    draw_rows,
    find_source_ids,
    plan_mixture,
    split_by_source,
)
from hfpipe.data.places import Places
from hfpipe.data.splits import Strata, hold_out
from hfpipe.errors import DataError


def shares_of(*weights: float, repeats: tuple[int, ...] = ()) -> tuple[SourceShare, ...]:
    repeats = repeats or (1,) * len(weights)
    return tuple(
        SourceShare(f"s{number}", weight, repeat, frozenset({f"{number}.txt"}))
        for number, (weight, repeat) in enumerate(zip(weights, repeats, strict=True))
    )


@pytest.mark.parametrize(
    ("sizes", "weights", "repeats", "expected"),
    [
        ((100, 100), (1, 1), (1, 1), [100, 100]),
        ((100, 30), (1, 1), (1, 1), [30, 30]),
        ((100, 30), (1, 1), (1, 3), [90, 90]),
        ((100, 30), (1, 1), (1, 9), [100, 100]),
        ((1000, 50), (0.9, 0.1), (1, 1), [450, 50]),
        ((90, 40), (2, 1), (1, 1), [80, 40]),
        # 10.5 rows for the first are 10 or 11: the largest remainder, here the first of equals
        ((100, 7), (3, 2), (1, 1), [10, 7]),
        ((7,), (5,), (2,), [14]),
    ],
)
def test_the_scarcest_source_ends_the_epoch(
    sizes: tuple[int, ...], weights: tuple[float, ...], repeats: tuple[int, ...], expected: list[int]
) -> None:
    assert plan_mixture(sizes, shares_of(*weights, repeats=repeats)).tolist() == expected


@given(
    st.lists(
        st.tuples(st.integers(200, 5_000), st.sampled_from((0.1, 0.25, 1, 2, 3, 7.5)), st.integers(1, 4)),
        min_size=1,
        max_size=6,
    )
)
def test_shares_are_exact_and_nothing_is_used_too_often(sources: list[tuple[int, float, int]]) -> None:
    sizes, weights, repeats = zip(*sources, strict=True)
    counts = plan_mixture(sizes, shares_of(*weights, repeats=repeats))
    total, whole = int(counts.sum()), sum(map(Fraction, map(str, weights)))
    for count, size, weight, repeat in zip(counts.tolist(), sizes, weights, repeats, strict=True):
        assert count <= size * repeat
        assert abs(Fraction(str(weight)) * total / whole - count) < 1
    # one row more would be over the limit of some source
    assert any(
        Fraction(str(weight)) * (total + 1) / whole > size * repeat
        for size, weight, repeat in zip(sizes, weights, repeats, strict=True)
    )


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(DataError) as error:
        plan_mixture((1_000, 3), shares_of(0.0001, 1))
    assert str(error.value) == (
        "the data has 1 problem:\n"
        "  - dataset_mixture: s0: an epoch of 3 rows, which the size of 's1' limits, has none of it; "
        "raise its weight, or repeat of 's1'"
    )


def test_weights_may_be_of_any_size() -> None:
    assert plan_mixture((1_000, 1_000), shares_of(1e25, 0.3333333333333333e25)).tolist() == [1_000, 333]
    with pytest.raises(DataError, match="dataset_mixture: s0: an epoch of 3 rows"):
        plan_mixture((1_000, 3), shares_of(1e-20, 1))


def test_a_source_without_rows_is_refused_by_its_name() -> None:
    with pytest.raises(DataError) as error:
        plan_mixture((1_000, 0), shares_of(1, 1))
    assert str(error.value) == (
        "the data has 1 problem:\n"
        "  - dataset_mixture: s1: not one row of it can be used; give it more texts, or remove it"
    )


@given(st.integers(1, 50), st.integers(0, 200), st.integers(0, 5))
def test_rows_are_used_equally_often(size: int, count: int, source: int) -> None:
    drawn = draw_rows(size, count, seed=3, source=source)
    times = np.bincount(drawn, minlength=size)
    assert len(drawn) == count
    assert times.max() - times.min() <= 1
    assert drawn.tolist() == draw_rows(size, count, seed=3, source=source).tolist()


def test_the_draw_differs_by_seed_and_source() -> None:
    drawn = {tuple(draw_rows(1_000, 10, seed=seed, source=source)) for seed in (1, 2) for source in (0, 1)}
    assert len(drawn) == 4


def test_the_source_of_a_row_is_that_of_its_file() -> None:
    places = Places(("1.txt", "0.txt"), np.array([0, 1, 1, 0], np.int32), np.arange(4))
    assert find_source_ids(places, shares_of(1, 1)).tolist() == [1, 0, 0, 1]


def test_every_source_is_held_out_by_its_share() -> None:
    # two classes in each of two sources, the second source a tenth of the first
    classes, sources = np.tile([0, 1], 110), np.repeat([0, 1], [200, 20])
    strata = split_by_source(Strata(classes), sources)
    assert np.bincount(strata.classes).tolist() == [100, 10, 100, 10]
    for seed in range(5):
        _, held_out = hold_out(strata, 0.1, seed=seed)
        assert np.bincount(sources[held_out]).tolist() == [20, 2]
        assert np.bincount(classes[held_out]).tolist() == [11, 11]


def test_entries_become_settings_of_their_own() -> None:
    entries = (
        {"train_file": "a/web.txt", "document_per": "line", "weight": 2},
        {"dataset_name": "acme/wiki.en", "dataset_config_name": 2023, "repeat": 3, "text_column_names": ["a", "b"]},
        {"name": "imdb", "dataset_name": "demo:imdb"},
    )
    settings = DataSettings(dataset_mixture=entries, text_column_names=("text",), validation_fraction=0.2)
    web, wiki, imdb = read_mixture(settings)
    assert (web.name, web.weight, web.repeat, web.settings.train_file) == ("web", 2.0, 1, ("a/web.txt",))
    assert (web.settings.document_per, web.settings.text_column_names) == ("line", ("text",))
    assert (wiki.name, wiki.repeat, wiki.settings.dataset_config_name) == ("wiki_en", 3, "2023")
    assert wiki.settings.text_column_names == ("a", "b")
    assert (imdb.name, imdb.weight) == ("imdb", 1.0)
    assert {each.settings.dataset_mixture for each in (web, wiki, imdb)} == {None}
    assert read_mixture(DataSettings()) == ()


def test_the_table_says_what_was_asked_and_what_is_got() -> None:
    assert describe_mixture(shares_of(3, 1), (1_000, 300), (900, 300), unit="blocks") == [
        "  source    blocks there     blocks used    asked      got",
        "  s0               1,000             900  75.00 %  75.00 %",
        "  s1                 300             300  25.00 %  25.00 %",
    ]

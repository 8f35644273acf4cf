"""Seeded splits and samples: exact shares, every class on each side, the same rows everywhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfpipe.data.duplicates import find_repeats, find_shared
from hfpipe.data.label_sets import classify_rows, cover_labels
from hfpipe.data.splits import Stage, Strata, apportion, hold_out, sample, seeded_order

ORDER_OF_42 = [4, 5, 3, 0, 2, 7, 1, 6]
CLASSES = st.lists(st.integers(2, 40), min_size=1, max_size=6).flatmap(
    lambda sizes: st.permutations([index for index, size in enumerate(sizes) for _ in range(size)])
)


def test_a_seed_gives_the_rows_it_always_gave() -> None:
    assert seeded_order(8, seed=42, stage=Stage.VALIDATION_SPLIT).tolist() == ORDER_OF_42
    assert seeded_order(8, seed=43, stage=Stage.VALIDATION_SPLIT).tolist() != ORDER_OF_42
    assert seeded_order(8, seed=42, stage=Stage.TRAIN_SAMPLE).tolist() != ORDER_OF_42


@pytest.mark.parametrize(
    "sizes, total, shares",
    [
        ([50, 50], 10, [5, 5]),
        ([90, 10], 10, [9, 1]),
        ([98, 2], 10, [9, 1]),  # 9.8 and 0.2: the small class has one all the same
        ([12, 6, 2], 5, [3, 1, 1]),  # 3.0, 1.5 and 0.5: the minimum fills the last place
        ([2, 2, 2], 1, [1, 1, 1]),  # fewer than classes: one each
        ([2, 2], 4, [1, 1]),  # all but one of each
    ],
)
def test_shares_follow_the_largest_remainders_within_bounds(sizes: list[int], total: int, shares: list[int]) -> None:
    counts = np.array(sizes)
    assert apportion(counts, total, minimum=np.ones_like(counts), maximum=counts - 1).tolist() == shares


@settings(max_examples=100, deadline=None)
@given(CLASSES, st.floats(0.01, 0.5), st.integers(0, 2**32 - 1))
def test_a_split_keeps_every_row_once_and_every_class_twice(rows: list[int], fraction: float, seed: int) -> None:
    classes = np.array(rows)
    kept, held_out = hold_out(Strata(classes), fraction, seed=seed)
    assert sorted([*kept, *held_out]) == list(range(len(rows)))
    assert set(classes[kept]) == set(classes[held_out]) == set(rows)
    wanted = round(len(rows) * fraction)
    assert len(held_out) == wanted or wanted < len(set(rows)) or wanted > len(rows) - len(set(rows))


@settings(max_examples=100, deadline=None)
@given(CLASSES, st.integers(1, 60))
def test_a_sample_has_the_size_asked_for_and_loses_no_class(rows: list[int], limit: int) -> None:
    chosen = sample(Strata(np.array(rows)), limit, seed=7, stage=Stage.TRAIN_SAMPLE)
    assert len(chosen) == min(limit, len(rows))
    assert (np.diff(chosen) > 0).all()
    if limit >= len(set(rows)):
        assert {rows[row] for row in chosen} == set(rows)


def test_no_limit_is_every_row() -> None:
    assert sample(Strata(np.array([0, 1, 0])), None, seed=0, stage=Stage.TEST_SAMPLE).tolist() == [0, 1, 2]


def test_a_class_of_one_row_stays() -> None:
    stays, held_out = hold_out(Strata(np.array([0, 1, 1, 1])), 0.5, seed=3)
    assert 0 in stays
    assert len(held_out) == 2


def test_rows_that_must_stay_are_not_held_out() -> None:
    strata = Strata(np.array([0, 0, 1, 2, 2, 2]), np.array([True, True, False, True, False, False]))
    assert strata.room().tolist() == [0, 0, 2]
    for seed in range(5):
        assert set(hold_out(strata, 0.5, seed=seed)[1]) == {4, 5}


def test_repeats_and_contradictions_are_told_apart() -> None:
    texts = ["a", "b", "a", "c", "b", "b", "a"]
    labels = ["1", "1", "1", "0", "0", "1", "1"]
    conflicting, duplicate = find_repeats(texts, labels)
    assert conflicting.tolist() == [1, 4, 5]
    assert duplicate.tolist() == [2, 6]
    assert find_repeats(texts, [])[1].tolist() == [2, 4, 5, 6]
    assert find_shared(texts, [["c"], ["z", "c"]]).tolist() == [3]


def test_the_class_of_a_row_is_its_rarest_label() -> None:
    targets = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 0, 1]], dtype=np.float32)
    assert classify_rows(targets, np.array([5, 2, 2])).tolist() == [1, 1, 0, 3, 2]


def test_rows_are_set_aside_until_every_label_has_one() -> None:
    # every class has a row on each side, yet the first label's three rows could all be held out
    sets = ["ab", "ac", "ad", "b", "c", "d"]
    targets = np.array([[label in row for label in "abcd"] for row in sets], dtype=np.float32)
    for seed in range(20):
        kept = cover_labels(targets, seed=seed)
        strata = Strata(classify_rows(targets, targets.sum(axis=0, dtype=np.int64)), kept)
        stays, _ = hold_out(strata, 0.5, seed=seed)
        assert targets[stays].any(axis=0).all()
        assert kept.sum() <= 4


LABEL_SETS = st.lists(st.sets(st.sampled_from("abcdef")), min_size=6, max_size=40)


@settings(max_examples=100, deadline=None)
@given(LABEL_SETS, st.floats(0.05, 0.5), st.integers(0, 99))
def test_splits_and_samples_keep_every_label(sets: list[set[str]], fraction: float, seed: int) -> None:
    names = sorted(set().union(*sets))
    targets = np.array([[name in row for name in names] for row in sets], dtype=np.float32).reshape(len(sets), -1)
    strata = Strata(classify_rows(targets, targets.sum(axis=0, dtype=np.int64)), cover_labels(targets, seed=seed))
    stays, held_out = hold_out(strata, fraction, seed=seed)
    assert sorted([*stays, *held_out]) == list(range(len(sets)))
    assert (targets[stays].sum(axis=0) >= 1).all()
    left = strata.take(stays)
    assert left.kept is not None
    limit = max(1, int(left.kept.sum()))
    chosen = sample(left, limit, seed=seed, stage=Stage.TRAIN_SAMPLE)
    assert len(chosen) == min(limit, len(stays))
    assert (targets[stays[chosen]].sum(axis=0) >= 1).all()

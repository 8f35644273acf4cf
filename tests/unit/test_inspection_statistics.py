"""Confident learning's rule, exact bounds and what tells a label: values worked out by hand, and chance alone."""

import numpy as np
import pytest

from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.inspection.classes import find_classes
from hfpipe.inspection.confident_learning import count_jointly, doubt_labels
from hfpipe.inspection.leak_statistics import (
    bin_by_rank,
    code_values,
    find_telling_words,
    judge_feature,
    lower_bound,
)

SEED = 5
TRIALS, ROWS = 200, 400


def test_confident_learning_by_hand() -> None:
    # thresholds: label 0 (0.9 + 0.7 + 0.2) / 3 = 0.6, label 1 (0.8 + 0.6 + 0.1) / 3 = 0.5
    of_one = np.array([0.1, 0.3, 0.8, 0.8, 0.6, 0.1])
    probabilities = np.stack([1 - of_one, of_one], axis=1)
    doubts = doubt_labels(probabilities, np.array([0, 0, 0, 1, 1, 1]))
    # row 5 has 0.1 of its own label and row 2 0.2: the least confident first
    assert doubts.rows.tolist() == [5, 2]
    assert doubts.likelier.tolist() == [0, 1]


def test_a_row_below_every_threshold_is_not_doubted() -> None:
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.52, 0.48]])
    assert doubt_labels(probabilities, np.array([0, 1, 1])).rows.tolist() == []


def test_the_joint_is_scaled_to_all_rows() -> None:
    # of ten rows labelled 0 six are sure, one of them of label 1: ten sixths of a row are two, by the largest margin
    of_one = np.array([0.05, 0.05, 0.05, 0.05, 0.05, 0.95, 0.7, 0.6, 0.35, 0.4, 0.9, 0.9])
    probabilities = np.stack([1 - of_one, of_one], axis=1)
    given = np.array([0] * 10 + [1] * 2)
    assert count_jointly(probabilities, given).tolist() == [[5, 1], [0, 2]]
    assert doubt_labels(probabilities, given).rows.tolist() == [5, 6]


def test_the_bound_is_that_of_clopper_and_pearson() -> None:
    # of n successes in n trials the bound is the n-th root of the level
    assert lower_bound(np.array(10), np.array(10), 0.05) == pytest.approx(0.05 ** (1 / 10))
    assert lower_bound(np.array(0), np.array(10), 0.05) == 0.0
    # by the binomial tail: 8 or more of 10 come up with a chance of 5 % at 0.4931
    assert lower_bound(np.array(8), np.array(10), 0.05) == pytest.approx(0.4930987, abs=1e-6)


def test_a_feature_that_tells_the_label_is_judged_on_rows_it_was_not_counted_on() -> None:
    ids = np.arange(ROWS) % 3
    told = judge_feature(ids * 7, ids, tried=10, seed=SEED)
    assert told is not None
    assert (told.right, told.commonest) == (1.0, pytest.approx(134 / 400))
    # a number for each row tells everything of the rows counted, and nothing of others
    assert judge_feature(np.arange(ROWS), ids, tried=1, seed=SEED) is None


def test_a_common_label_is_no_proof() -> None:
    ids = (np.arange(ROWS) % 100 == 0).astype(np.int64)
    assert judge_feature(np.zeros(ROWS, dtype=np.int64), ids, tried=1, seed=SEED) is None


def test_features_of_chance_are_hardly_ever_told() -> None:
    draw = np.random.Generator(np.random.Philox(SEED))
    ids = draw.integers(0, 2, ROWS)
    told = [judge_feature(draw.integers(0, 30, ROWS), ids, tried=TRIALS, seed=trial) for trial in range(TRIALS)]
    assert told == [None] * TRIALS


def test_words_must_be_sure_and_common() -> None:
    class_rows = np.array([500, 500])
    # one that leaks, one that is in too few rows of the label, one that is impure, one that is in few rows
    hits = np.array([[200, 30, 190, 60], [0, 0, 20, 0]])
    rows_with = hits.sum(axis=0)
    assert find_telling_words(hits, rows_with, class_rows) == [(0, 0), (0, 3)]
    # where 20,000 words are tried, one of them is in 60 rows of one label by chance more easily
    many = np.pad(hits, ((0, 0), (0, 20_000)))
    assert find_telling_words(many, many.sum(axis=0), class_rows) == [(0, 0)]
    # a word of every row says nothing where nearly all rows have the label
    assert find_telling_words(np.array([[980], [10]]), np.array([990]), np.array([990, 10])) == []


def test_values_become_codes_where_they_repeat() -> None:
    assert code_values(["b", "a", "b"]) is not None
    assert code_values([f"id-{row}" for row in range(100)]) is None
    numbers = code_values([f"{row / 7}" for row in range(1_000)])
    assert numbers is not None and len(set(numbers.tolist())) == 32
    gaps = code_values(["", *(str(row) for row in range(100)), ""])
    assert gaps is not None and gaps[0] == gaps[-1] == 0
    assert bin_by_rank(np.array([1.0, 1.0, 1.0])).tolist() == [1, 1, 1]


def test_targets_become_classes() -> None:
    (labels,) = find_classes(["b", "a", "b"], SINGLE_LABEL)
    assert (labels.names, labels.ids.tolist(), labels.told) == (("a", "b"), [1, 0, 1], (0, 1))
    sets = [("x",), ("x", "y"), (), ("x",)] * 10
    of_x, of_y = find_classes(sets, MULTI_LABEL)
    assert (of_x.names, of_x.ids.sum(), of_x.told) == (("without x", "x"), 30, (1,))
    assert (of_y.names, of_y.ids.sum()) == (("without y", "y"), 10)
    (numbers,) = find_classes([float(row) for row in range(100)], REGRESSION)
    assert np.bincount(numbers.ids).tolist() == [10] * 10
    assert list(find_classes([], SINGLE_LABEL)) == list(find_classes(["a", "a"], SINGLE_LABEL)) == []

"""What reports are made of: verdicts, charts, groups, rows to tell of, words left out."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from report_runs import make_evaluation, make_predictions, score_by_length
from scipy.stats import binomtest

from hfpipe.config.sections import MULTI_LABEL, REGRESSION
from hfpipe.errors import CheckpointError, DataError, Problem
from hfpipe.evaluation.ladder import build_ladder
from hfpipe.evaluation.numbers import say_metric, show_difference, show_range, show_seconds, show_signed, show_value
from hfpipe.evaluation.record import ComparisonRecord, EvaluationRecord, MetricRecord
from hfpipe.evaluation.verdict import Verdict, judge_record
from hfpipe.inference.texts import Text
from hfpipe.report.bars import place_bars, place_rungs
from hfpipe.report.groups import group_by_column, group_by_length, wilson_interval
from hfpipe.report.line_chart import MAX_POINTS, Axis, Line, draw_chart, find_ticks, fit_axis, thin, thin_by_length
from hfpipe.report.occlusion import MAX_PIECES, cut_pieces, explain_rows, read_attributions, write_attributions
from hfpipe.report.plots_scores import plot_confusion
from hfpipe.report.rows import shorten_place
from hfpipe.report.told_rows import ScoredPart, ToldRow


def judge(low: float, high: float, *, headline: str = "accuracy", value: float = 0.8, sign: int = 1) -> Verdict:
    """Return the verdict where the interval of the difference to the best baseline is this."""
    record = make_evaluation(make_predictions(), headline, value, sign=sign)
    worst, best = record.baselines
    comparison = ComparisonRecord("test", headline, (low + high) / 2, low, high, 0.2, "exact McNemar test")
    return judge_record(replace(record, baselines=(worst, replace(best, comparison=comparison))))


def test_a_verdict_needs_the_whole_interval() -> None:
    assert judge(0.001, 0.1).tone == "better"
    assert judge(-0.001, 0.1).tone == "unclear"
    assert judge(-0.1, -0.001).tone == "worse"
    unclear = judge(-0.012, 0.032)
    assert unclear.title == "Not shown to be better than a baseline"
    assert unclear.sentences[1] == (
        "It is not shown to beat the best of 2 baselines, TF-IDF + logistic regression (70.0 %): the difference of 1.0 "
        "point (95 % interval −1.2 to 3.2 points, p = 0.20, exact McNemar test) may be chance."
    )


def test_less_is_more_of_an_error() -> None:
    better = judge(-0.16, -0.04, headline="rmse", value=0.4, sign=-1)
    assert better.tone == "better"
    assert "by 0.1000 (95 % interval 0.0400 to 0.1600" in better.text
    assert judge(0.04, 0.16, headline="rmse", value=0.4, sign=-1).tone == "worse"


def test_a_verdict_says_what_it_does_not_know() -> None:
    record = make_evaluation(make_predictions(), "accuracy", 0.8)
    alone = replace(record, baselines=(), parts={"validation": record.parts["test"]})
    assert judge_record(alone).tone == "plain"
    assert "There was no test part" in judge_record(alone).text
    unscored = replace(record, parts={"test": replace(record.parts["test"], metrics={})})
    assert "no accuracy on the test part" in judge_record(unscored).text
    worst, best = record.baselines
    untested = judge_record(replace(record, baselines=(worst, replace(best, comparison=None))))
    assert untested.sentences[1] == (
        "It differs from the best of 2 baselines, TF-IDF + logistic regression (70.0 %) by 10.0 points; how sure that "
        "is was not computed."
    )


def test_the_ladder_is_best_first_whichever_way_is_better() -> None:
    def titles(record: EvaluationRecord) -> list[str]:
        return [rung.title for rung in build_ladder(record)]

    most = titles(make_evaluation(make_predictions(), "accuracy", 0.8))
    assert most == ["BERT", "TF-IDF + logistic regression", "Majority class"]
    assert titles(make_evaluation(make_predictions(), "rmse", 0.4, sign=-1)) == most
    assert titles(make_evaluation(make_predictions(), "rmse", 0.4)) == most[::-1]


def test_a_rung_that_would_hide_the_others_is_off_the_scale() -> None:
    ladder = build_ladder(make_evaluation(make_predictions(), "accuracy", 0.8))
    assert None not in place_rungs(ladder)
    far = [*ladder[:2], replace(ladder[2], score=MetricRecord(0.3))]
    assert [bar is None for bar in place_rungs(far)] == [False, False, True]


def test_ticks_of_a_narrow_axis_are_told_apart() -> None:
    chart = draw_chart([], Axis("", 0, 1), Axis("", 0.8945, 0.8955, is_share=True), alt="a")
    assert re.findall(r">(89[^<]+)<", chart.svg) == ["89.45 %", "89.50 %", "89.55 %"]
    chart = draw_chart([], Axis("", 0, 1), Axis("", 0, 2.2e-4), alt="a")
    ticks = re.findall(r'class="tick end"[^>]*>([^<]+)<', chart.svg)
    assert ticks == ["0", "5e−5", "1e−4", "1.5e−4", "2e−4"]


def test_bars_share_one_line() -> None:
    low, high, unknown = place_bars([MetricRecord(0.2, 0.1, 0.3), MetricRecord(0.5), MetricRecord(None)])
    assert unknown is None and low is not None and high is not None
    assert 0 < low.low < low.value < low.high < high.low == high.value == high.high < 100
    assert low.value - low.low == pytest.approx((high.value - low.low) / 4, abs=0.02)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (show_value(0.8854, "accuracy"), "88.5 %"),
        (show_value(1.25), "1.2500"),
        (show_value(261.75213), "261.75"),
        (show_value(0.00001234), "1.23e−05"),
        (show_value(None), "–"),
        (show_range(-0.012, 0.5, "f1_micro"), "−1.2 to 50.0 %"),
        (show_range(0.5, None, "f1_micro"), ""),
        (show_difference(-0.01, "accuracy"), "1.0 point"),
        (show_signed(-0.017, "accuracy"), "−1.7"),
        (show_value(0.9186, "accuracy_at_thresholds"), "91.9 %"),
        (say_metric("ece_uncalibrated"), "expected calibration error, uncalibrated"),
        (say_metric("f1_at_thresholds"), "F1 at thresholds"),
        (show_seconds(3e-5), "< 0.001 s"),
        (show_seconds(0.034), "0.034 s"),
        (show_seconds(59.94), "59.9 s"),
        (show_seconds(7_322), "2 h 2 min"),
    ],
)
def test_numbers_are_said(shown: str, expected: str) -> None:
    assert shown == expected


@given(st.integers(0, 40), st.integers(1, 40))
def test_wilson_is_that_of_scipy(hits: int, more: int) -> None:
    rows = hits + more
    expected = binomtest(hits, rows).proportion_ci(method="wilson")
    assert wilson_interval(hits, rows) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_groups_by_length_are_cut_at_what_is_read() -> None:
    predictions = make_predictions()
    groups = group_by_length(predictions, "accuracy", read_tokens=16)
    assert sum(group.rows for group in groups) == len(predictions)
    names = [group.name for group in groups]
    assert [name for name in names if "read in part" in name] == names[3:]
    assert names[2].endswith("to 16 tokens")
    few = replace(predictions, **{key: getattr(predictions, key)[:39] for key in ("logits", "targets", "token_counts")})
    assert group_by_length(few, "accuracy") == []


def test_groups_by_column_keep_the_rare_together() -> None:
    predictions = make_predictions()
    values = [f"v{row // 2}" if row < 30 else "often" for row in range(len(predictions))]
    groups = group_by_column(predictions, values, "accuracy")
    assert [groups[0].name, groups[0].rows] == ["often", 90]
    assert [groups[-1].name, groups[-1].rows, len(groups)] == ["4 other values", 8, 13]
    right = predictions.logits.argmax(axis=1) == predictions.targets
    assert groups[0].value == right[30:].mean()
    assert group_by_column(predictions, ["one"] * len(predictions), "accuracy") == []
    empty = group_by_column(predictions, ["", *["one"] * (len(predictions) - 1)], "accuracy")
    assert [(group.name, group.rows) for group in empty] == [("one", len(predictions) - 1), ("(empty)", 1)]


def test_the_surest_errors_and_the_least_sure_rows_are_told() -> None:
    logits = np.array([[3, 0], [0, 1], [0, 5], [0.1, 0], [4, 0]], np.float32)
    predictions = replace(make_predictions(), logits=logits, targets=np.array([0, 0, 0, 0, 1]))
    part = ScoredPart(replace(predictions, texts=predictions.texts[:5]))
    told = part.find_told_rows(2)
    assert [(each.kind, each.row, each.label) for each in told] == [
        ("error", 2, 1),
        ("error", 4, 0),
        ("uncertain", 3, 0),
        ("uncertain", 1, 1),
    ]
    assert told[0].score == pytest.approx(1 / (1 + np.exp(-5)))
    assert ScoredPart(part.predictions, 5.0).find_told_rows(2)[0].score == pytest.approx(1 / (1 + np.exp(-1)))


def test_the_worst_label_of_several_is_told_and_the_largest_miss() -> None:
    several = make_predictions(MULTI_LABEL, ("a", "b"))
    logits, targets = np.array([[4, -4], [-2, 3]], np.float32), np.array([[1, 1], [0, 1]], np.float32)
    told = ScoredPart(replace(several, logits=logits, targets=targets, texts=("x", "y"))).find_told_rows(1)
    assert [(each.kind, each.row, each.label) for each in told] == [("error", 0, 1), ("uncertain", 1, 0)]
    numbers = make_predictions(REGRESSION, ("n",))
    logits, targets = np.array([[1.0], [9.0]], np.float32), np.array([1.0, 2.0], np.float32)
    assert ScoredPart(replace(numbers, logits=logits, targets=targets, texts=("x", "y"))).find_told_rows() == [
        ToldRow("error", 1, 0, 9.0)
    ]


def test_places_lose_their_folders() -> None:
    assert shorten_place("/srv/me/data/test.parquet:row 4") == "test.parquet:row 4"
    assert shorten_place("demo:imdb/reviews.csv:7") == "reviews.csv:7"


@given(st.text(max_size=300))
def test_pieces_are_the_text(text: str) -> None:
    pieces = cut_pieces(text)
    assert len(pieces) <= MAX_PIECES
    assert "".join(pieces) == (text if pieces else "")
    assert bool(pieces) == bool(text.strip())


def test_effects_are_what_the_score_loses() -> None:
    told = [ToldRow("error", 3, 1, 0.9), ToldRow("uncertain", 0, 0, 0.5), ToldRow("error", 1, 0, 0.5)]
    texts: Sequence[Text] = ["one three fiver rest", "alone", ("a bc", "def")]
    found = explain_rows(
        told, texts, lambda given: score_by_length(given, 2), part="test", find_end=lambda text: min(len(text), 15)
    )
    assert [(row.row, row.label, row.words_unread) for row in found.rows] == [(3, 1, 1), (1, 0, 0)]
    assert [(piece.text, piece.effect) for piece in found.rows[0].pieces] == [
        ("one", 0.003),
        (" three", 0.006),
        (" fiver", 0.006),
    ]
    # score_by_length takes a pair for two signs whatever they are
    assert [piece.text for piece in found.rows[1].pair_pieces] == ["def"]


def test_rows_that_would_take_too_long_are_counted() -> None:
    told = [ToldRow("error", row, 0, 0.9) for row in range(3)]
    found = explain_rows(told, ["a b"] * 3, lambda given: score_by_length(given, 1), part="test", seconds=0.0)
    assert (found.rows, found.rows_left_out) == ((), 3)


def test_a_text_that_is_none_without_a_word_ends_nothing(tmp_path: Path) -> None:
    def score(texts: Sequence[Text]) -> np.ndarray:
        if any("b" not in text for text in texts):
            raise DataError(Problem("text 1", rule="has no tokens to score"))
        return score_by_length(texts, 1)

    found = explain_rows([ToldRow("error", 0, 0, 0.9)], ["a b"], score, part="test")
    assert (found.rows, found.rows_left_out) == ((), 0)
    write_attributions(tmp_path, found)
    assert read_attributions(tmp_path) == found
    (tmp_path / "attributions.json").write_text('{"format": "other"}')
    with pytest.raises(CheckpointError, match="is not in the format 'hfpipe attributions 1'"):
        read_attributions(tmp_path)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_lie_between_the_ends(low: float, span: float) -> None:
    high = low + span
    ticks = find_ticks(low, high)
    assert len(ticks) <= 12
    assert all(low - span * 1e-6 <= tick <= high + span * 1e-6 for tick in ticks)


def test_steps_are_whole() -> None:
    assert find_ticks(0, 4, is_whole=True) == [0, 1, 2, 3, 4]
    assert find_ticks(0, 2) == [0, 0.5, 1, 1.5, 2]
    assert find_ticks(3, 3) == [3]


def test_a_gap_breaks_a_line_and_names_are_escaped() -> None:
    line = Line("<b>", np.array([0.0, 1, 2, 3]), np.array([0.0, 1, np.nan, 1]))
    chart = draw_chart([line], Axis("<i>", 0, 3), Axis("", 0, 1), alt="a")
    assert chart.svg.count("M46 192L") == 1 and chart.svg.count("L") == 1
    assert "&lt;i&gt;" in chart.svg and "<i>" not in chart.svg
    assert chart.legend == ()


def test_an_axis_holds_what_is_finite() -> None:
    line = Line("", np.array([5.0, 9]), np.array([np.nan, 2.0]))
    assert fit_axis("", [line]) == Axis("", 1.9, 2.1)
    assert fit_axis("step", [line], of_x=True) == Axis("step", 0.0, 9.0, is_whole=True)
    assert fit_axis("", []) == Axis("", 0.0, 1.0)


def test_long_lines_are_thinned_and_keep_their_ends() -> None:
    x = np.arange(10_000.0)
    for thinned in (thin(x, x), thin_by_length(x, x)):
        assert len(thinned[0]) <= MAX_POINTS + 2
        assert (thinned[0][0], thinned[0][-1]) == (0, 9_999)
    corner = thin_by_length(np.concatenate([np.zeros(5_000), np.arange(10.0)]), np.zeros(5_010))
    assert set(np.arange(10.0)) <= set(corner[0])


def test_a_confusion_picture_of_any_labels(tmp_path: Path) -> None:
    for count, labels in ((2, ["$x", "名前\n" * 30]), (60, [f"label {place}" for place in range(60)])):
        path = tmp_path / f"{count}.png"
        plot_confusion(np.eye(count, dtype=int) * 7, labels, path)
        with Image.open(path) as picture:
            assert picture.format == "PNG" and max(picture.size) < 1_400

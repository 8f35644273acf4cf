"""The loss curve is a PNG for every history there can be, and draws the numbers it was given."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hfpipe.report.plots import _state_lowest, find_series, plot_loss_curve, running_mean

LONG = [{"step": step, "loss": 1.0 / step, "learning_rate": 1e-4} for step in range(1, 101)]


@pytest.mark.parametrize(
    "history",
    [
        [],
        [{"step": 0, "epoch": 0.0}],
        [{"step": 1, "loss": 2.0, "learning_rate": 1e-5}, {"step": 1, "eval_loss": 2.1}],
        [{"step": 1, "loss": None, "learning_rate": 0.0}, {"step": 2, "eval_loss": None}],
        [*LONG, {"step": 50, "eval_loss": 0.5}, {"step": 100, "eval_loss": 0.4, "eval_accuracy": 0.9}],
    ],
    ids=["empty", "no loss", "one step", "not finite", "long"],
)
def test_picture_of(history: list[dict[str, float | None]], tmp_path: Path) -> None:
    path = tmp_path / "loss_curve.png"
    plot_loss_curve(history, path)
    with Image.open(path) as picture:
        assert (picture.format, picture.size) == ("PNG", (1200, 780))
        assert len(set(picture.convert("L").tobytes())) > 10  # something was drawn


def test_series_takes_events_that_carry_the_key_and_breaks_at_null() -> None:
    history = [{"step": 1, "loss": 2.0}, {"step": 1, "eval_loss": 3.0}, {"step": 2, "loss": None}]
    steps, losses = find_series(history, "loss")
    assert steps.tolist() == [1, 2]
    assert losses[0] == 2.0
    assert math.isnan(losses[1])


def test_running_mean_by_hand() -> None:
    assert running_mean(np.array([1.0, 2.0, 3.0, 4.0, 9.0]), 1).tolist() == [1.0, 2.0, 3.0, 16 / 3, 9.0]
    with_gap = running_mean(np.array([1.0, math.nan, 3.0]), 1)
    assert with_gap.tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(running_mean(np.array([math.nan, math.nan]), 1)).all()


def test_a_straight_line_stays_where_it_is() -> None:
    line = np.arange(50.0)
    assert running_mean(line, 6) == pytest.approx(line)


def test_lowest_is_named_with_its_step() -> None:
    assert _state_lowest(np.array([10, 1_000]), np.array([0.5, 0.25])) == ", lowest 0.25 at step 1,000"
    assert _state_lowest(np.array([10]), np.array([math.nan])) == ", never finite"

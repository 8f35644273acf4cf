"""What is told of a run by a budget of tokens: steps, padding, the batch that takes most memory, the loss."""

import numpy as np
import torch

from hfpipe.data.places import Places
from hfpipe.data.token_batches import TokenBatchPlan
from hfpipe.data.tokens import TokenizedTexts
from hfpipe.training.datasets import LabelledRows
from hfpipe.training.lengths import count_positions, find_largest_by_tokens
from hfpipe.training.objectives import ClassificationObjective
from hfpipe.training.schedule import Schedule, describe_steps, measure_padding
from hfpipe.training.weighting import Shares, find_step_items

LENGTHS = np.array([4, 10, 9, 4, 4, 10, 4, 5])


def make_rows(lengths: np.ndarray, window_offsets: np.ndarray | None = None) -> LabelledRows:
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    count = len(lengths) if window_offsets is None else len(window_offsets) - 1
    texts = TokenizedTexts(np.zeros(offsets[-1]), offsets, np.ones(count), np.zeros(count), window_offsets)
    places = Places(("rows.csv",), np.zeros(count, dtype=np.int64), np.arange(count))
    return LabelledRows(texts, np.arange(count) % 2, places, padding_id=0)


def make_plan(accumulation: int = 1, world: int = 1) -> TokenBatchPlan:
    # micro-batches of 10 10, 9 5 and 4 4 4 4
    return TokenBatchPlan(LENGTHS, 20, accumulation, world, seed=7)


def test_a_schedule_by_hand() -> None:
    schedule = Schedule(make_plan(accumulation=2), total_steps=5, lengths=LENGTHS)
    assert list(schedule.lines(unit="text")) == [
        "tokens_per_step 40 = 20 x 2 x 1 (positions x micro-batches x processes), 5.3 rows on average; a row is a text",
        "steps: 5 = 2 an epoch, epochs 2.5",
        f"rows: 8 an epoch, {schedule.total_rows} in total",
        f"tokens: 50 an epoch, {schedule.total_tokens} in total, 25 a step on average",
        "padding: 7.4 % of the positions computed",
    ]
    begun = make_plan(accumulation=2).window(2, 0)
    assert (schedule.total_rows, schedule.total_tokens) == (16 + len(begun), 100 + LENGTHS[begun].sum())


def test_a_filler_is_no_padding() -> None:
    # 20 + 18 + 16 positions for 50 tokens, and a filler in the second of two processes
    assert measure_padding(make_plan(world=2), LENGTHS, window_length=None) == 1 - 50 / 54
    assert describe_steps(make_plan(), make_rows(LENGTHS), window_length=None) == (
        "tokens_per_step 20 = 20 positions x 1 micro-batches x 1 processes, 2.7 rows on average; "
        "3 steps an epoch, padding 7.4 %"
    )


def test_positions_of_windows_count_the_padding_of_the_last() -> None:
    # texts of three, one and two windows of at most 5 tokens
    rows = make_rows(np.array([5, 5, 2, 4, 5, 1]), np.array([0, 3, 4, 6]))
    assert rows.positions.tolist() == [15, 4, 10]
    assert count_positions(rows.lengths, 5).tolist() == rows.positions.tolist()
    assert make_rows(LENGTHS).positions.tolist() == count_positions(LENGTHS, None).tolist() == LENGTHS.tolist()


def test_the_largest_batch_is_that_of_the_longest_texts() -> None:
    assert find_largest_by_tokens(LENGTHS, 20, window_length=None) == (2, 10)
    assert find_largest_by_tokens(LENGTHS, 200, window_length=None) == (8, 10)
    assert find_largest_by_tokens(np.array([12, 4, 6]), 20, window_length=5) == (4, 5)


def test_every_window_is_divided_by_the_mean_items_of_one() -> None:
    rows, weights = make_rows(LENGTHS), torch.tensor([1.0, 3.0])
    assert find_step_items(rows, make_plan(), ClassificationObjective()) == 8 / 3
    # four rows of each label, of 16 in weight
    assert find_step_items(rows, make_plan(accumulation=2), ClassificationObjective(weights)) == 16 * 2 / 3


def test_a_log_event_is_a_mean_over_items_since_the_one_before() -> None:
    shares = Shares()
    for share in (0.5, 2.0):
        shares.add(share)
    # 1.25 is the sum of losses of two windows over their constant: 0.5 items of 0.5 and 2 items of 0.5
    assert shares.correct({"loss": 1.25 / 2, "epoch": 1.0}) == {"loss": 0.5, "epoch": 1.0}
    assert shares.correct({"loss_spike": 3.0}) == {"loss_spike": 3.0}
    shares.add(4.0)
    again = Shares()
    again.restore(shares.state())
    assert again.correct({"loss": 2.0}) == {"loss": 0.5}
    assert again.mean == 6.5 / 3
    assert Shares().mean == 1

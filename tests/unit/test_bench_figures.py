"""What the cases of the benchmark compute from what they measured, on numbers worked out by hand."""

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.budgets import find_budget
from bench.command import limit_threads
from bench.compare import tell_mfu
from bench.figures import Spread
from bench.linear import find_tenths
from bench.made_up import Shape
from bench.predict import SCORES, Distance, find_distances
from bench.recipe_run import read_settings
from bench.report import Report, Table, write_json
from bench.right_rows import RIGHT, compare_right_rows, find_difference, to_array
from bench.turns import Record, Sample
from hfpipe.data.token_batches import TokenBatchPlan


def make_samples(walls: list[float]) -> list[Sample]:
    """Return turns of 100 units of work whose processor seconds are twice those by wall."""
    return [Sample(wall, 2 * wall, 100.0) for wall in walls]


def test_numbers_are_written_with_options_and_machine(tmp_path: Path) -> None:
    options = Namespace(rounds=None, json=tmp_path / "out.json", only=("plain",))
    write_json(tmp_path / "out.json", "pretrain", options, {"cores": 2}, Report([], {"unit": "tokens"}))
    assert json.loads((tmp_path / "out.json").read_text()) == {
        "case": "pretrain",
        "options": {"rounds": None, "json": str(tmp_path / "out.json"), "only": ["plain"]},
        "machine": {"cores": 2},
        "found": {"unit": "tokens"},
        "tables": [],
        "notes": [],
    }


def test_numbers_are_json_that_every_reader_takes(tmp_path: Path) -> None:
    report = Report([Table("t", ["a"], [["1"]])], {"ratio": float("nan"), "by": {2: (1.5, float("inf"))}}, ["n"])
    write_json(tmp_path / "out.json", "linear", Namespace(), {}, report)
    read = json.loads((tmp_path / "out.json").read_text())
    assert read["found"] == {"ratio": None, "by": {"2": [1.5, None]}}
    assert (read["tables"], read["notes"]) == ([{"title": "t", "columns": ["a"], "rows": [["1"]]}], ["n"])


def test_tenths_of_a_run_are_its_ends() -> None:
    samples = make_samples([1.0] * 10 + [2.0] * 80 + [4.0] * 10)
    wall, cpu = (find_tenths(samples, clock) for clock in ("wall", "cpu"))
    assert (wall.first, wall.last, wall.ratio) == (100.0, 25.0, Spread(0.25, 0.25, 0.25, 10))
    assert (cpu.first, cpu.last, cpu.ratio.median) == (50.0, 12.5, 0.25)


def test_the_ratio_of_tenths_is_as_sure_as_their_steps_are_alike() -> None:
    draws = np.random.default_rng(1)
    alike, apart = (
        find_tenths(make_samples((1 + width * draws.random(300)).tolist()), "wall").ratio for width in (0.01, 1.0)
    )
    assert 0.99 < alike.low < alike.median < alike.high < 1.01
    assert apart.high - apart.low > 0.2


def test_the_share_of_a_gpu_is_of_the_makers_figure() -> None:
    told = tell_mfu({"plain": 0.1, "ours": 0.4512}, 989e12)
    assert told == "MFU, of the maker's 989 TFLOP/s in bfloat16: plain 10.0%, ours 45.1%"


def test_threads_are_those_of_torch_and_of_tokenizers() -> None:
    assert limit_threads(1)["TOKENIZERS_PARALLELISM"] == "false"
    two = limit_threads(2)
    assert two["TOKENIZERS_PARALLELISM"] == "true"
    assert {two[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")} == {"2"}


def test_settings_are_words_with_a_value() -> None:
    assert read_settings(["a=1", "config_overrides=b=2"]) == {"a": "1", "config_overrides": "b=2"}
    with pytest.raises(SystemExit, match="--set bf16: has no value; write KEY=VALUE"):
        read_settings(["a=1", "bf16"])


def test_a_budget_makes_as_many_steps_as_rows_do() -> None:
    lengths = np.random.default_rng(0).integers(8, 257, size=1_000)
    plan = TokenBatchPlan(lengths, 16 * 256, 1, 1, seed=0)
    budget = find_budget(plan, rows=16, least=256)
    steps, more_steps = (replace(plan, max_tokens_per_batch=tokens).steps_per_epoch for tokens in (budget, budget - 1))
    assert steps <= 63 < more_steps
    assert 1.0 < budget / (16 * lengths.mean()) < 1.1


def test_a_budget_holds_the_longest_text_there_may_be() -> None:
    plan = TokenBatchPlan(np.full(100, 10), 256, 1, 1, seed=0)
    assert find_budget(plan, rows=4, least=256) == 256


def test_a_difference_of_accuracy_is_told_over_seeds_and_over_rows() -> None:
    first, other = to_array(["1100", "1000"]), to_array(["1110", "1110"])
    found = find_difference(other, first)
    assert (found.by_seed, found.mean) == ([0.25, 0.5], 0.375)
    # the standard deviation of two values is their distance by the root of 2, the error that by the root of 2 again
    assert found.standard_error == pytest.approx(0.125)
    # by row the means of the seeds differ by 0, 0.5, 1 and 0
    assert found.low is not None and found.high is not None and 0 <= found.low < 0.375 < found.high <= 1
    single = find_difference(other[:1], first[:1])
    assert (single.standard_error, single.mean) == (None, 0.25)


def test_accuracies_are_a_table_and_leave_their_rows_in_the_numbers() -> None:
    plain, ours = Record("plain", 0), Record("ours", 0)
    plain.facts = {"steps": 250, RIGHT: ["1" * 60 + "0" * 40, "1" * 62 + "0" * 38]}
    ours.facts = {"steps": 251, RIGHT: ["1" * 61 + "0" * 39, "1" * 61 + "0" * 39]}
    table, data = compare_right_rows([plain, ours], title="Test accuracy")
    assert table.rows[0] == ["plain", "250", "0.6000, 0.6200", "0.6100", "", "", ""]
    assert table.rows[1][:6] == ["ours", "251", "0.6100, 0.6100", "0.6100", "+1.00, -1.00", "+0.00 (1.00)"]
    assert table.rows[1][6].endswith("p 1.000")
    assert data["ours"][RIGHT][0].count("1") == 61 and RIGHT not in ours.facts
    assert data["ours"]["difference"]["by_seed"] == pytest.approx([0.01, -0.01])


def test_distances_of_scores_are_from_the_first_side() -> None:
    sides = {"pipeline": (0.75, 0.5078125), "ours": (0.75, 0.4921875), "bf16": (0.5, 0.5078125)}
    records = []
    for name, values in sides.items():
        records.append(Record(name, 0))
        records[-1].facts[SCORES] = [{"neg": value, "pos": 1 - value} for value in values]
    found = find_distances([*records, Record("limit float32", 0)])
    assert found == {"ours": Distance(0.015625, 0.0078125, 1, 2), "bf16": Distance(0.25, 0.125, 0, 2)}
    assert not records[0].facts


def test_operations_of_training_are_those_of_the_matrices_and_of_attention() -> None:
    shape = Shape(layers=2, width=10, heads=2, vocabulary=100, rows=1, length=8)
    assert shape.matrix_parameters == 2 * 12 * 100
    assert shape.training_flops(8, has_head=True) == 6 * (2_400 + 1_000) + 12 * 2 * 10 * 8
    assert shape.training_flops(8, has_head=False) == 6 * 2_400 + 12 * 2 * 10 * 8

"""The benchmark's arithmetic on numbers worked out by hand, its turns on players of a line, and each case in short."""

import json
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.cases import CASES
from bench.compare import compare, measure
from bench.figures import Spread, paired_ratio, rate, significant, spread
from bench.made_up import Shape, make_texts, make_tokenizer
from bench.paced import ROWS, TOKENS, Count
from bench.probe import LIMITS
from bench.report import Table, render, render_table, write_json
from bench.turns import Player, Record, Sample, Turn, do_apart, take_turns
from hfpipe.errors import DataError, Problem

ROOT = Path(__file__).parents[2]
ROUNDS = 3
SECONDS_OF_A_CASE = 600
# a fork is safe here: the players below compute nothing
forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def record(name: str, walls: list[float], *, work: float = 100.0, warm_up: int = 1) -> Record:
    """Return a record whose processor seconds are twice those by wall."""
    return Record(name, warm_up, [Sample(wall, 2 * wall, work) for wall in walls], peak_bytes=5_000_000)


def test_a_spread_is_median_and_ends() -> None:
    assert spread([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0, 3)
    assert spread([3.0, 1.0, 10.0]).told(2, " s") == "3.0 s (1.0 to 10)"


def test_a_ratio_is_that_of_turns_played_next_to_each_other() -> None:
    # a machine that is three times slower in the second round changes neither
    assert paired_ratio([4.0, 12.0, 4.0], [2.0, 6.0, 2.0]) == Spread(2.0, 2.0, 2.0, 3)
    assert paired_ratio([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5) == Spread(3.0, 2.0, 4.0, 5)
    assert paired_ratio([9.0], [3.0]) == Spread(3.0, 3.0, 3.0, 1)


def test_turns_that_one_side_lacks_are_left_out_of_a_ratio() -> None:
    assert paired_ratio([4.0, 4.0, 100.0], [2.0, 2.0]).median == 2.0


def test_a_rate_is_by_the_median_turn() -> None:
    # 300 units in three turns, one of them disturbed: 3 x 2 seconds
    assert rate([100.0, 100.0, 100.0], [2.0, 2.0, 50.0]) == 50.0
    # turns of other sizes count with all their work
    assert rate([10.0, 20.0, 30.0], [2.0, 2.0, 2.0]) == 10.0


@pytest.mark.parametrize(
    ("value", "told"),
    [(0.0, "0"), (1234.5, "1,234"), (12.345, "12.3"), (1.0, "1.00"), (0.012345, "0.0123"), (0.5, "0.500")],
)
def test_numbers_have_three_significant_digits(value: float, told: str) -> None:
    assert significant(value) == told


def test_the_first_variant_is_what_others_are_compared_with() -> None:
    first, other = record("plain", [9.0, 4.0, 6.0]), record("ours", [9.0, 2.0, 2.0], work=50.0)
    found = measure(other, first, [], None)
    # 0.04 and 0.06 seconds a unit against 0.04 and 0.04
    assert (found.ratio_wall.median, found.per_second, found.per_cpu_second) == (1.25, 25.0, 12.5)
    assert (found.first_turn, found.peak_megabytes, found.turns) == (9.0, 5.0, 2)


def test_the_share_of_the_limit_is_by_wall_and_by_processor() -> None:
    limit = Record("limit float32", 0, [Sample(wall=1.0, cpu=2.0, work=1_000.0)])
    bfloat16 = Record("limit bfloat16", 0, [Sample(wall=1.0, cpu=1.0, work=4_000.0)])
    plain = Record("plain", 0, [Sample(wall=1.0, cpu=1.0, work=10.0)])
    found = measure(plain, plain, [limit, bfloat16], 20.0)
    assert found.shares == {"limit float32": (0.2, 0.4), "limit bfloat16": (0.05, 0.05)}
    assert found.shares.keys() == LIMITS.keys()


def test_a_comparison_is_a_table_with_its_numbers() -> None:
    plain, ours = record("plain", [9.0, 4.0, 4.0]), record("ours", [9.0, 2.0, 2.0])
    ours.facts = {"precision": "bf16 (plan)"}
    report = compare("six layers", [plain, ours], unit="tokens", notes=["the end"])
    assert render(report).splitlines() == [
        "six layers",
        "",
        "| variant | wall s a turn | CPU s a turn | tokens/s by wall | by CPU | times the first by wall | by CPU "
        "| first turn s | peak MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| plain | 4.00 (4.00 to 4.00) | 8.00 (8.00 to 8.00) | 25.00 | 12.50 | 1.00x (1.00 to 1.00) "
        "| 1.00x (1.00 to 1.00) | 9.00 | 5 |",
        "| ours | 2.00 (2.00 to 2.00) | 4.00 (4.00 to 4.00) | 50.00 | 25.00 | 2.00x (2.00 to 2.00) "
        "| 2.00x (2.00 to 2.00) | 9.00 | 5 |",
        "",
        "ours: precision bf16 (plan)",
        "",
        "the end",
    ]
    assert report.data["records"][1]["samples"] == [[9.0, 18.0, 100.0], [2.0, 4.0, 100.0], [2.0, 4.0, 100.0]]


def test_a_comparison_with_limits_has_their_columns() -> None:
    limits = [Record(name, 0, [Sample(1.0, 1.0, 1e9)]) for name in LIMITS]
    report = compare("t", [record("plain", [1.0, 1.0]), *limits], unit="tokens", flops=1e6)
    (table,) = report.tables
    assert table.columns[-2:] == ["of float32 limit: wall, CPU", "of bfloat16 limit"]
    assert table.rows[0][-2:] == ["10.0%, 5.0%", "10.0%, 5.0%"]
    assert report.notes[0] == "limit float32: 1.00 (1.00 to 1.00) GFLOP/s by wall, 1.00 (1.00 to 1.00) by CPU second"


def test_a_row_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="title: a row has not 2 cells"):
        render_table(Table("title", ["a", "b"], [["1"]]))


def test_ratios_in_the_numbers_are_those_that_are_printed(tmp_path: Path) -> None:
    report = compare("t", [record("plain", [1.0, 3.1, 3.3, 4.7]), record("ours", [1.0, 1.1, 1.2, 1.3])], unit="rows")
    write_json(tmp_path / "out.json", "predict", Namespace(), {}, report)
    assert list(told_ratios(json.loads((tmp_path / "out.json").read_text())["found"])) == [
        ["plain", "1.00x (1.00 to 1.00)", "1.00x (1.00 to 1.00)"],
        ["ours", "2.82x (2.78 to 3.22)", "2.82x (2.78 to 3.22)"],
    ]
    (table,) = report.tables
    assert [[row[0], *row[5:7]] for row in table.rows] == list(told_ratios(report.data))


def told_ratios(found: Any) -> Iterator[list[str]]:
    """Yield name and ratios of each variant in the numbers of a case, as its table tells them."""
    for comparison in found.get("comparisons", [found]):
        for each in comparison.get("variants", []):
            yield [each["name"], *(Spread(**each[ratio]).told(unit="x") for ratio in ("ratio_wall", "ratio_cpu"))]


def test_rows_and_tokens_are_counted_without_fillers_and_padding() -> None:
    rows, tokens = Count(ROWS), Count(TOKENS)
    padded = {
        "input_ids": torch.ones(3, 4, dtype=torch.long),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]),
        "labels": torch.tensor([0, 1, -100]),
    }
    rows.add(padded)
    tokens.add(padded)
    assert (rows.take(), tokens.take(), tokens.positions) == (2, 7, 12)
    blocks = {"input_ids": torch.ones(2, 5, dtype=torch.long), "labels": torch.ones(2, 5, dtype=torch.long)}
    tokens.add(blocks)
    assert (tokens.take(), tokens.take(), tokens.seen_tokens, tokens.seen_rows) == (10, 0, 17, 4)


def test_made_up_texts_are_known_word_by_word() -> None:
    shape = Shape(1, 8, 1, vocabulary=50, rows=1, length=8)
    texts = make_texts(20, shape, seed=0)
    assert texts == make_texts(20, shape, seed=0) != make_texts(20, shape, seed=1)
    plain, marking = make_tokenizer(50, marks_texts=False), make_tokenizer(50, marks_texts=True)
    assert len(plain) == 50
    for text in texts:
        ids = plain(text)["input_ids"]
        assert len(ids) == len(text.split()) and plain.unk_token_id not in ids
        assert marking(text)["input_ids"] == [marking.cls_token_id, *ids, marking.sep_token_id]


def _note_turns(name: str, log: Path, seconds: float, rounds: int, turn: Turn) -> None:
    for _ in range(rounds):
        turn.begin()
        with log.open("a") as file:
            file.write(name)
        time.sleep(seconds)
        turn.end(7.0)
    turn.facts["name"] = name


@forks
def test_players_take_turns_and_the_order_is_turned_around(tmp_path: Path) -> None:
    log = tmp_path / "log"
    players = [
        Player("slow", partial(_note_turns, "s", log, 0.03, ROUNDS)),
        Player("fast", partial(_note_turns, "f", log, 0.0, ROUNDS + 1)),
    ]
    slow, fast = take_turns(players, warm_up=1)
    # the one that has more to do goes on alone
    assert log.read_text() == "sffssff"
    assert (len(slow.samples), len(slow.counted), len(fast.counted)) == (3, 2, 3)
    assert all(one.wall >= 0.03 > one.cpu and one.work == 7.0 for one in slow.samples)
    assert (slow.facts, fast.facts) == ({"name": "s"}, {"name": "f"})
    assert slow.peak_bytes > 10_000_000


def _refuse() -> None:
    raise DataError(Problem("train.csv", "no such file"))


@forks
def test_data_that_cannot_be_read_end_the_measurement_without_a_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="preparing ended with 1; see above"):
        do_apart(_refuse)
    told = capfd.readouterr().err
    assert "train.csv: no such file" in told and "Traceback" not in told


def _break(turn: Turn) -> None:
    turn.begin()
    os._exit(3)


def _be_killed(turn: Turn) -> None:
    turn.begin()
    os.kill(os.getpid(), signal.SIGKILL)


@forks
def test_a_player_that_dies_ends_the_measurement() -> None:
    with pytest.raises(SystemExit, match="broken: its process ended with 3; see above"):
        take_turns([Player("broken", _break)])
    with pytest.raises(SystemExit, match="large: its process was killed, most likely for want of memory: all sides"):
        take_turns([Player("large", _be_killed)])


def test_each_case_has_options_and_a_run() -> None:
    from importlib import import_module

    # importing this one turns the tests' Hub on
    for name in CASES.keys() - {"hub_stall"}:
        module = import_module(CASES[name].module)
        assert callable(module.add_options) and callable(module.run), name


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_each_case_runs_in_short(case: str, tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    words = [sys.executable, "-m", "bench", case, "--quick", "--threads", "1", "--json", str(file)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS_OF_A_CASE, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(file.read_text())
    assert found["case"] == case and found["machine"]["threads"] == 1 and found["found"]
    assert "| --- |" in done.stdout
    for ratios in told_ratios(found["found"]):
        assert f"| {ratios[0]} |" in done.stdout and f"| {ratios[1]} | {ratios[2]} |" in done.stdout

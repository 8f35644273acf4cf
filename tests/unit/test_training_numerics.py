"""Numbers that are not finite: how they are found, what an optimizer makes of a skipped step, and JSON without them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Adafactor, TrainerState, TrainingArguments

from hfpipe.evaluation.labelled_file import FileScores
from hfpipe.hub.card_facts import CardFacts
from hfpipe.inference.tables import write_table
from hfpipe.records.run_directory import append_history, read_history, write_json
from hfpipe.training.evaluation_loop import has_finite_score
from hfpipe.training.finite_weights import find_nonfinite_weights
from hfpipe.training.numerics import Numerics

ODD = (math.nan, math.inf, -math.inf)
Build = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]


def read_strictly(text: str) -> Any:
    """Return the value of a JSON text, which `json` alone would also read with a NaN in it."""
    return json.loads(text, parse_constant=pytest.fail)


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_that_are_not_finite_are_found_by_name(odd: float, dtype: torch.dtype) -> None:
    weights = {name: torch.ones(3, 4, dtype=dtype) for name in ("a", "b", "c")}
    assert find_nonfinite_weights(weights) == []
    weights["b"][2, 3] = odd
    assert find_nonfinite_weights(weights) == ["b"]
    weights["c"][:] = odd
    assert find_nonfinite_weights(weights) == ["b", "c"]


def test_large_weights_empty_ones_and_numbers_of_rows_are_none_of_them() -> None:
    # the sum of their squares would not be finite
    weights = {"large": torch.full((9,), 3e38), "empty": torch.empty(0), "ids": torch.arange(3)}
    assert find_nonfinite_weights(weights) == []
    assert find_nonfinite_weights({}) == []


@pytest.mark.parametrize(
    "build",
    [
        lambda parameters: torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.1),
        lambda parameters: torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.1, amsgrad=True, foreach=True),
        lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1),
        lambda parameters: torch.optim.RMSprop(parameters, lr=0.1, momentum=0.9),
        lambda parameters: torch.optim.Adagrad(parameters, lr=0.1, lr_decay=0.1),
        lambda parameters: Adafactor(parameters, lr=0.1, relative_step=False, weight_decay=0.1),
    ],
    ids=["adamw", "amsgrad", "sgd", "rmsprop", "adagrad", "adafactor"],
)
def test_an_optimizer_does_not_move_without_gradients(build: Build) -> None:
    parameter = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]]))
    optimizer = build([parameter])
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    before = [parameter.detach().clone(), *_copy_state(optimizer)]
    parameter.grad = None
    optimizer.step()
    after = [parameter.detach(), *_copy_state(optimizer)]
    assert len(after) > 1
    assert all(one.equal(other) for one, other in zip(before, after, strict=True))


def _copy_state(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    values = [value for state in optimizer.state.values() for value in state.values()]
    return [torch.as_tensor(value).clone() for value in values if value is not None]


@pytest.mark.parametrize("odd", ODD)
def test_a_score_that_is_no_number_is_never_the_best(odd: float, tmp_path: Path) -> None:
    args = TrainingArguments(str(tmp_path), metric_for_best_model="f1", use_cpu=True)
    assert not has_finite_score({"eval_f1": odd, "eval_loss": 1.0}, args)
    assert has_finite_score({"eval_f1": 0.5, "eval_loss": odd}, args)
    by_loss = TrainingArguments(str(tmp_path), metric_for_best_model="eval_loss", use_cpu=True)
    assert not has_finite_score({"eval_loss": odd}, by_loss)


def test_what_is_known_of_the_steps_travels_as_json() -> None:
    numerics, other = Numerics(), Numerics()
    numerics.skipped_steps, numerics.skipped_in_a_row = 7, 2
    for loss in (0.5, 2.0, 0.3):
        numerics.spikes.observe(loss)
    state = json.loads(json.dumps(numerics.state(), allow_nan=False))
    other.restore(state)
    assert other.state() == numerics.state() == state


@pytest.mark.parametrize("odd", ODD)
def test_every_json_file_stays_valid(odd: float, tmp_path: Path) -> None:
    values = {"step": 1, "loss": odd, "nested": {"list": [odd, 1.0, (odd,)]}}
    known = {"step": 1, "loss": None, "nested": {"list": [None, 1.0, [None]]}}
    write_json(tmp_path / "metrics.json", values)
    append_history(tmp_path / "history.jsonl", values)
    assert read_strictly((tmp_path / "metrics.json").read_text()) == known
    assert read_strictly((tmp_path / "history.jsonl").read_text()) == known
    assert read_history(tmp_path / "history.jsonl") == [known]
    with write_table(tmp_path / "scored.jsonl", list(values)) as write_row:
        write_row(values)
    assert read_strictly((tmp_path / "scored.jsonl").read_text()) == known
    with write_table(tmp_path / "scored.csv", list(values)) as write_row:
        write_row(values)
    assert '{""list"": [null, 1.0, [null]]}' in (tmp_path / "scored.csv").read_text()
    write_json(tmp_path / "scores.json", FileScores({"loss": odd, "f1": 0.5}, (), ()).to_json())
    assert read_strictly((tmp_path / "scores.json").read_text()) == {"eval_loss": None, "eval_f1": 0.5, "per_class": {}}


@pytest.mark.parametrize("odd", [*ODD, None])
def test_a_card_shows_no_score_that_is_no_number(odd: float | None) -> None:
    run = {"recipe": "finetune_classifier", "config": {}, "data": {}}
    facts = CardFacts("x", run, {"eval_loss": odd, "eval_accuracy": 0.5}, (), 1)  # type: ignore[dict-item]
    assert facts.scores("eval") == {"accuracy": 0.5}


def test_trainers_own_writer_makes_a_file_that_is_no_json(tmp_path: Path) -> None:
    TrainerState(log_history=[{"loss": math.nan}]).save_to_json(str(tmp_path / "state.json"))
    assert "NaN" in (tmp_path / "state.json").read_text()

"""A batch is so many rows or so many tokens: what is refused of the two, and what is left of a recipe's defaults."""

from pathlib import Path
from typing import Any

import pytest
from conftest import to_argv

from hfpipe.config.baseline_runs import derive_baseline
from hfpipe.config.resolve import load_config
from hfpipe.config.run_config import RunConfig
from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.errors import ConfigError

GIVEN = {"train_file": "rows.csv", "model_name_or_path": "demo:minilm"}


def resolve(recipe: str = FINETUNE, **settings: Any) -> RunConfig:
    return load_config(to_argv({**GIVEN, **settings}), recipe=recipe)


def problems_of(recipe: str = FINETUNE, **settings: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        resolve(recipe, **settings)
    return [str(problem) for problem in raised.value.problems]


def test_rows_beside_a_budget_are_refused() -> None:
    told = "and the one or the other says how large a batch is; set {0} to null, or remove max_tokens_per_batch"
    keys = ("per_device_train_batch_size", "per_device_eval_batch_size")
    assert problems_of(max_tokens_per_batch=4096, per_device_train_batch_size=16, per_device_eval_batch_size=8) == [
        f"--max_tokens_per_batch 4096: given beside {key} (--{key}), {told.format(key)}" for key in keys
    ]


def test_rows_of_a_file_can_be_taken_back(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        f"recipe: {FINETUNE}\ntrain_file: rows.csv\nmodel_name_or_path: demo:minilm\nper_device_train_batch_size: 16\n"
    )
    words = ["--config", str(file), "--max_tokens_per_batch", "4096"]
    with pytest.raises(ConfigError, match=r"given beside per_device_train_batch_size \(.*run.yaml:4\)"):
        load_config(words)
    config = load_config([*words, "--per_device_train_batch_size", "null"])
    assert config.training.max_tokens_per_batch == 4096
    assert "per_device_train_batch_size" not in config.trainer_arguments


def test_the_rows_of_the_recipe_give_way_to_a_budget() -> None:
    sizes = ("per_device_train_batch_size", "per_device_eval_batch_size")
    assert all(key in resolve().trainer_arguments for key in sizes)
    config = resolve(max_tokens_per_batch=4096, gradient_accumulation_steps=3)
    assert not any(key in config.flat() for key in sizes)
    baseline = derive_baseline(config, "lstm", data=config.data, model=config.model)
    assert baseline.training.max_tokens_per_batch == 4096
    assert not any(key in baseline.flat() for key in sizes)
    assert baseline.trainer_arguments["gradient_accumulation_steps"] == 3


def test_a_budget_holds_the_longest_text_there_may_be() -> None:
    short = "does not hold the longest text there may be"
    assert problems_of(max_tokens_per_batch=255) == [
        f"--max_tokens_per_batch 255: {short}, max_seq_length 256; write at least 256"
    ]
    windows: dict[str, Any] = {"max_seq_length": 128, "long_texts": "windows", "max_windows": 10}
    assert problems_of(max_tokens_per_batch=1279, **windows) == [
        f"--max_tokens_per_batch 1279: {short}, max_windows 10 x max_seq_length 128 = 1,280; write at least 1,280"
    ]
    assert resolve(max_tokens_per_batch=256).training.max_tokens_per_batch == 256
    assert resolve(max_tokens_per_batch=1280, **windows).training.max_tokens_per_batch == 1280


def test_a_budget_is_for_fine_tuning() -> None:
    assert problems_of(PRETRAIN, max_tokens_per_batch=4096) == [
        f"--max_tokens_per_batch 4096: is a setting of {FINETUNE}, not of {PRETRAIN}; remove it"
    ]

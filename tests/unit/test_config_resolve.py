"""From file and command line to a `RunConfig`: precedence, origins, every problem at once."""

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfpipe.config import RunConfig, describe_config, load_config
from hfpipe.config.installed import read_installed_fields
from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.errors import ConfigError

SOURCES = ("dataset_name=demo:imdb", "model_name_or_path=demo:minilm")
HEAD = "recipe: finetune_classifier\ndataset_name: demo:imdb\nmodel_name_or_path: demo:minilm\n"


@pytest.fixture(autouse=True)
def _work_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(*words: str, recipe: str = FINETUNE) -> RunConfig:
    return load_config([*SOURCES, *words], recipe=recipe)


def load_file(text: str, *words: str, recipe: str | None = None) -> RunConfig:
    Path("run.yaml").write_text(text)
    return load_config(["--config", "run.yaml", *words], recipe=recipe)


def problems(text: str, *words: str, recipe: str | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_file(text, *words, recipe=recipe)
    return [str(problem) for problem in caught.value.problems]


def test_all_problems_of_file_and_command_line_come_at_once() -> None:
    text = HEAD + "learning_rte: 1e-4\nmax_seq_length: 128.5\nseed: 1\nseed: 2\nlabel_names: [a]\n"
    with pytest.raises(ConfigError) as caught:
        load_file(text, "--block_size", "2048", "--num_train_epochs=-3", "--bf16", "--fp16")
    assert str(caught.value).splitlines() == [
        "the configuration has 7 problems:",
        "  - run.yaml:7: seed: given already at run.yaml:6; keep one of them",
        "  - run.yaml:4: learning_rte: no such setting; did you mean 'learning_rate'?",
        "  - run.yaml:5: max_seq_length: 128.5: must be a whole number",
        "  - run.yaml:8: label_names: [a]: must be a mapping",
        "  - --block_size 2048: is a setting of pretrain_causal_lm, not of finetune_classifier; write max_seq_length",
        "  - --num_train_epochs -3: must be above 0",
        "  - --bf16 true: given beside fp16 (--fp16); keep one of them",
    ]


def test_command_line_over_file_over_recipe_over_default() -> None:
    config = load_file(HEAD + "learning_rate: 1e-4\nseed: 7\n", "seed=8")
    assert config.trainer_arguments["learning_rate"] == 1e-4
    assert config.training.seed == 8
    assert config.trainer_arguments["num_train_epochs"] == 3.0
    assert config.data.max_seq_length == 256
    shown = {key: str(config.origins[key]) for key in ("learning_rate", "seed", "num_train_epochs", "max_seq_length")}
    assert shown == {
        "learning_rate": "run.yaml:4",
        "seed": "seed",
        "num_train_epochs": "recipe",
        "max_seq_length": "default",
    }
    assert config.place("learning_rate") == "run.yaml:4: learning_rate"
    assert config.place("seed") == "seed"
    assert config.place("max_seq_length") == "max_seq_length"


def test_null_unsets_to_the_default() -> None:
    config = load_file(HEAD + "learning_rate: 1e-4\nmax_seq_length: 64\nbf16: true\n", "--max_seq_length", "null")
    assert config.data.max_seq_length == 256
    assert str(config.origins["max_seq_length"]) == "default (null at --max_seq_length)"
    config = load_file(HEAD + "learning_rate: null\nbf16:\n")
    assert config.trainer_arguments["learning_rate"] == 5e-5
    assert str(config.origins["learning_rate"]) == "recipe (null at run.yaml:4)"
    assert config.training.bf16 is None


def test_every_value_has_an_origin_and_is_fit_for_json() -> None:
    config = load("report_to=tensorboard", "label_smoothing_factor=0.1", "sample_texts=[good, 'bad, really']")
    assert config.origins.keys() == config.flat().keys()
    assert json.loads(json.dumps(config.flat())) == config.flat()
    assert config.flat()["sample_texts"] == ["good", "bad, really"]
    assert config.trainer_arguments["report_to"] == ["tensorboard"]


def test_only_what_was_given_or_follows_is_passed() -> None:
    assert load().trainer_arguments == {
        "learning_rate": 5e-5,
        "warmup_steps": 0.06,
        "weight_decay": 0.01,
        "num_train_epochs": 3.0,
        "per_device_train_batch_size": 16,
        "per_device_eval_batch_size": 32,
        "eval_strategy": "epoch",
        "logging_steps": 10,
        "ddp_find_unused_parameters": False,
        "metric_for_best_model": "loss",
        "greater_is_better": False,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\n", "run.yaml: must begin with its recipe; write 'recipe: finetune_classifier' first"),
        (
            "recipe: pretrain_causal_lm\n",
            "run.yaml:1: recipe: pretrain_causal_lm: this file is for pretrain_causal_lm, not for finetune_classifier; "
            "run it with `hfpipe run run.yaml` or recipes/pretrain_causal_lm.py",
        ),
        (
            "recipe: classify\n",
            "run.yaml:1: recipe: classify: no such recipe; the recipes are pretrain_causal_lm, finetune_classifier",
        ),
    ],
)
def test_the_recipe_of_the_file_must_be_the_one_that_runs(text: str, message: str) -> None:
    assert message in problems(text, *SOURCES, recipe=FINETUNE)


def test_without_a_recipe_the_file_decides() -> None:
    assert load_file(HEAD).recipe == FINETUNE
    with pytest.raises(ConfigError, match=r"--config: no file is given; write --config FILE\.yaml"):
        load_config([*SOURCES])
    assert "write 'recipe: pretrain_causal_lm | finetune_classifier' first" in problems("seed: 1\n")[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "hub_token: x",
            "hub_token: a token in a configuration is saved in clear with the run; "
            "put it into the environment as HF_TOKEN, or run `hf auth login` once",
        ),
        (
            "hub_always_push: true",
            "hub_always_push: every save that hub_strategy names is pushed, and none twice; leave it out",
        ),
        (
            "overwrite_output_dir: true",
            "overwrite_output_dir: is gone from transformers; write fresh_start: true to move an earlier run aside",
        ),
        ("warmup_ratio: 1.0", "warmup_ratio: 1.0: is gone from transformers; write warmup_steps, below 1 a share"),
        ("do_train: false", "do_train: false: every recipe trains; score a finished run with `hfpipe evaluate"),
        (
            "training: {seed: 1}",
            "training: settings are not nested; write its keys at the left margin, without this line",
        ),
        ("config: x.yaml", "config: a file cannot name another; put the settings into one file"),
        ("banana: 1", "banana: no such setting; `--help` lists the settings"),
        ("optim: adam", "optim: adam: must be one of adamw_torch, "),
        ("eval_steps: 0.5", "eval_steps: 0.5: must be at least 1"),
        ("seed: 5e9", "seed: 5e9: must be at least 0 and at most 4,294,967,295"),
        ("report_to: [wandb, banana]", "report_to: [wandb, banana]: must be one of "),
        ("output_dir: ''", "output_dir: '': must not be empty; remove it, or write null"),
        ("label_names: '{a: 1'", "label_names: {a: 1: must be a mapping"),
        ("label_names: '{a: ]}'", "label_names: {a: ]}: is no list or mapping in YAML's short form; write"),
    ],
)
def test_lines_that_are_refused(line: str, message: str) -> None:
    assert problems(HEAD + line + "\n")[0].startswith(f"run.yaml:4: {message}")


def test_bare_flags_of_refused_names_are_answered_as_such() -> None:
    assert problems(HEAD, "--hub_always_push", "--overwrite_output_dir") == [
        "--hub_always_push: every save that hub_strategy names is pushed, and none twice; leave it out",
        "--overwrite_output_dir: is gone from transformers; write fresh_start: true to move an earlier run aside",
    ]


def test_retired_names_are_read_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        config = load_file(HEAD + "warmup_ratio: 0.1\nepochs: 2\n", "--lr", "1e-3", "--no_cuda", "--do_train")
    assert config.trainer_arguments["warmup_steps"] == 0.1
    assert config.trainer_arguments["num_train_epochs"] == 2.0
    assert config.trainer_arguments["learning_rate"] == 1e-3
    assert config.trainer_arguments["use_cpu"] is True
    assert "do_train" not in config.trainer_arguments
    assert caplog.messages == [
        "run.yaml:4: warmup_ratio is read as warmup_steps",
        "run.yaml:5: epochs is read as num_train_epochs",
        "--lr: lr is read as learning_rate",
        "--no_cuda: no_cuda is read as use_cpu",
        "--do_train: do_train has no effect: every recipe trains",
    ]


def test_a_retired_name_beside_its_successor_is_given_twice() -> None:
    assert problems(HEAD + "seed: 1\nrandom_seed: 2\n") == [
        "run.yaml:5: random_seed: 2: is seed, which is given already at run.yaml:4; keep one of them"
    ]


@pytest.mark.parametrize("name", ["gradient_checkpointing", "activation_checkpointing"])
def test_checkpointing_is_passed_under_the_installed_name(name: str) -> None:
    installed = "activation_checkpointing" if "activation_checkpointing" in read_installed_fields() else None
    passed = [key for key in load(f"--{name}").trainer_arguments if key.endswith("_checkpointing")]
    assert passed == [installed or "gradient_checkpointing"]


@pytest.mark.parametrize(
    ("file", "words", "directory"),
    [
        (None, [], "runs/finetune_classifier"),
        ("mine.yaml", [], "runs/mine"),
        ("recipes/imdb/minilm.yaml", [], "runs/imdb-minilm"),
        ("recipes/mine.yaml", [], "runs/mine"),
        ("mine.yaml", ["output_dir=out"], "out"),
    ],
)
def test_the_run_directory(file: str | None, words: list[str], directory: str) -> None:
    if file is not None:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(HEAD)
        words = ["--config", file, *words]
    else:
        words = [*SOURCES, *words]
    assert load_config(words, recipe=FINETUNE).output_dir == Path(directory)


def test_pretraining_needs_texts_alone() -> None:
    config = load_config(["train_file=a.txt", "--config_overrides", "num_hidden_layers=2"], recipe=PRETRAIN)
    assert config.data.train_file == ("a.txt",)
    assert config.model.config_overrides == {"num_hidden_layers": 2}
    assert config.trainer_arguments["greater_is_better"] is False


def test_a_configuration_is_described_with_origins() -> None:
    lines = describe_config(load_file(HEAD + "learning_rate: 1e-4\n", "--eval_strategy", "steps", "--eval_steps=20"))
    assert lines[:4] == ["recipe: finetune_classifier", "run directory: runs/run", "Data:", lines[3]]
    words = [" ".join(line.split()) for line in lines]
    assert "dataset_name demo:imdb run.yaml:2" in words
    assert "save_steps 20 plan (follows from --eval_steps)" in words
    assert "learning_rate 0.0001 run.yaml:4" in words
    assert not any(line.startswith("seed") for line in words)
    everything = describe_config(load(), with_defaults=True)
    assert "seed 42 default" in [" ".join(line.split()) for line in everything]
    assert "text_column_delimiter ' ' default" in [" ".join(line.split()) for line in everything]


def test_a_planned_value_is_told_by_its_key() -> None:
    config = load("--label_delimiter", ";")
    assert config.place("label_delimiter") == "--label_delimiter"
    assert config.place("problem_type") == "problem_type (follows from --label_delimiter)"


@settings(max_examples=25)
@given(
    rate=st.floats(1e-12, 10, exclude_min=True),
    seed=st.integers(0, 2**32 - 1),
    prompts=st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), min_size=1, max_size=3),
)
def test_values_are_the_same_from_file_and_command_line(rate: float, seed: int, prompts: list[str]) -> None:
    values = {"learning_rate": rate, "seed": seed, "sample_texts": prompts}
    text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())
    from_file = load_file(HEAD + text).flat()
    from_words = load(*(f"--{key}={json.dumps(value)}" for key, value in values.items())).flat()
    assert {key: from_file[key] for key in values} == values
    assert from_file == from_words


@pytest.mark.parametrize("word", ["true", "True"])
def test_resuming_is_what_a_run_does_anyway(word: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert load(f"resume_from_checkpoint={word}").training.resume_from_checkpoint is None
    assert caplog.messages == [
        "resume_from_checkpoint: resume_from_checkpoint: true has no effect: a run is resumed in any case"
    ]


def test_not_resuming_is_beginning_anew() -> None:
    assert problems(HEAD + "resume_from_checkpoint: false\n") == [
        "run.yaml:4: resume_from_checkpoint: false: a run goes on from its newest checkpoint; "
        "remove it, or begin anew with fresh_start: true"
    ]

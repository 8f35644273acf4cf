"""What must be given, what follows, what contradicts, and what would have no effect."""

import logging
from pathlib import Path

import pytest

from hfpipe.config import RunConfig, load_config
from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.errors import ConfigError

DATA, MODEL = "dataset_name=demo:imdb", "model_name_or_path=demo:minilm"


def load(*words: str, recipe: str = FINETUNE) -> RunConfig:
    sources = (DATA, MODEL) if recipe == FINETUNE else (DATA,)
    return load_config([*sources, *words], recipe=recipe)


def problems(*words: str, recipe: str = FINETUNE) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(list(words), recipe=recipe)
    return [str(problem) for problem in caught.value.problems]


def test_data_and_model_must_be_given() -> None:
    assert problems() == [
        "train_file: no training data is given; set train_file, or dataset_name: demo:imdb",
        "model_name_or_path: no model to fine-tune is given; set it to a folder, a name on the Hub, or demo:minilm; "
        "for a new model set model_type",
    ]


def test_one_source_of_data(tmp_path: Path) -> None:
    assert problems(DATA, MODEL, "--train_file", "a.csv") == [
        "dataset_name=demo:imdb: given beside train_file (--train_file); set train_file to null"
    ]
    assert problems(MODEL, "--dataset_name", "demo:yelp") == [
        "--dataset_name demo:yelp: no such demo data set; the one there is: demo:imdb"
    ]
    assert problems(MODEL, f"dataset_name={tmp_path}") == [
        f"dataset_name={tmp_path}: is a folder here, and names data sets of the Hub; "
        "write train_file in place of dataset_name"
    ]
    assert problems(DATA, "model_name_or_path=demo:bert") == [
        "model_name_or_path=demo:bert: no such demo model; the one there is: demo:minilm"
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ("epoch", None, "epoch", 500, True)),
        (["eval_strategy=steps", "eval_steps=20"], ("steps", 20, "steps", 20, True)),
        (["eval_strategy=steps"], ("steps", 500, "steps", 500, True)),
        (["save_strategy=steps", "save_steps=60"], ("steps", 60, "steps", 60, True)),
        (["save_strategy=steps", "save_steps=20", "eval_steps=60"], ("steps", 60, "steps", 20, True)),
        (["eval_strategy=no"], ("no", None, "epoch", 500, False)),
        (["save_strategy=no"], ("epoch", None, "no", 500, False)),
        (["eval_strategy=steps", "save_strategy=no"], ("steps", 500, "no", 500, False)),
    ],
)
def test_saving_follows_evaluating(words: list[str], expected: tuple[object, ...]) -> None:
    config = load(*words)
    arguments, training = config.trainer_arguments, config.training
    assert (
        arguments["eval_strategy"],
        arguments.get("eval_steps"),
        training.save_strategy,
        training.save_steps,
        training.load_best_model_at_end,
    ) == expected


@pytest.mark.parametrize(
    ("metric", "recipe", "stored", "greater"),
    [
        ("eval_accuracy", FINETUNE, "accuracy", True),
        ("loss", FINETUNE, "loss", False),
        ("eval_perplexity", PRETRAIN, "perplexity", False),
        ("bits_per_byte", PRETRAIN, "bits_per_byte", False),
    ],
)
def test_metrics_are_normalised_and_their_direction_known(metric: str, recipe: str, stored: str, greater: bool) -> None:
    arguments = load(f"metric_for_best_model={metric}", recipe=recipe).trainer_arguments
    assert arguments["metric_for_best_model"] == stored
    assert arguments["greater_is_better"] is greater


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bf16=true", "--fp16"], "bf16=true: given beside fp16 (--fp16); keep one of them"),
        (
            ["load_best_model_at_end=true", "eval_strategy=no"],
            "load_best_model_at_end=true: needs eval_strategy other than 'no'; "
            "write eval_strategy: epoch, or load_best_model_at_end: false",
        ),
        (
            ["eval_strategy=epoch", "save_strategy=steps"],
            "save_strategy=steps: must be eval_strategy (epoch), so that the best model is among the checkpoints; "
            "write save_strategy: epoch, or load_best_model_at_end: false",
        ),
        (
            ["eval_strategy=steps", "eval_steps=20", "save_steps=60"],
            "eval_steps=20: eval_steps (20) must be a multiple of save_steps (60), so that every scored model is "
            "saved; write save_steps: 20, or load_best_model_at_end: false",
        ),
        (
            ["metric_for_best_model=perplexity"],
            "metric_for_best_model=perplexity: no such metric; use one of loss, accuracy, ",
        ),
        (
            ["metric_for_best_model=loss", "greater_is_better=yes"],
            "greater_is_better=true: loss is better when lower; ",
        ),
        (
            ["early_stopping_patience=2", "eval_strategy=no"],
            "early_stopping_patience=2: needs evaluations; write eval_strategy: steps or epoch",
        ),
        (["lr_scheduler_type=greedy", "eval_strategy=no"], "lr_scheduler_type=greedy: needs evaluations; "),
        (
            ["lr_scheduler_type=reduce_lr_on_plateau", "eval_strategy=no"],
            "lr_scheduler_type=reduce_lr_on_plateau: needs evaluations; write eval_strategy: steps or epoch",
        ),
        (
            ["eval_delay=4"],
            "eval_delay=4.0: is beyond num_train_epochs (3.0), so that nothing would be evaluated; "
            "lower it, or write eval_strategy: no",
        ),
        (
            ["eval_delay=2000", "eval_strategy=steps", "max_steps=1500"],
            "eval_delay=2000.0: is beyond max_steps (1,500), so that nothing would be evaluated; "
            "lower it, or write eval_strategy: no",
        ),
        (["class_weights=even"], "class_weights=even: must be 'balanced' or a mapping; "),
        (["class_weights=a=0"], "class_weights={a: 0.0}: weights must be above 0; "),
        (["report_to=dvclive"], "report_to=[dvclive]: dvclive is not installed; pip install dvclive"),
    ],
)
def test_contradictions(words: list[str], message: str) -> None:
    (problem,) = problems(DATA, MODEL, *words)
    assert problem.startswith(message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["save_steps=10"],
            "save_steps=10: has no effect while save_strategy is not 'steps'; add save_strategy: steps",
        ),
        (
            ["eval_steps=10"],
            "eval_steps=10: has no effect while eval_strategy is not 'steps'; add eval_strategy: steps",
        ),
        (["early_stopping_threshold=0.1"], "early_stopping_threshold=0.1: has no effect without early_stopping_pat"),
        (["logging_strategy=epoch", "logging_steps=5"], "logging_steps=5: has no effect while logging_strategy is "),
        (["max_steps=5", "num_train_epochs=2"], "num_train_epochs=2.0: has no effect beside max_steps, which decides"),
        (["text_column_names=text"], "text_column_names=[text]: has no effect beside this dataset_name, which brings"),
        (["label_names=0=a"], "label_names={0: a}: has no effect beside this dataset_name, which brings its own col"),
        (["test_file=x.csv"], "test_file=[x.csv]: has no effect beside dataset_name, which brings its own parts; "),
        (["train_split_name=all"], "train_split_name=all: has no effect without a dataset_name on the Hub; remove it"),
        (["cache_dir=c"], "cache_dir=c: has no effect where nothing comes from the Hub; remove it"),
        (["model_revision=v1"], "model_revision=v1: has no effect without a model_name_or_path on the Hub; remove it"),
        (["dataloader_prefetch_factor=2"], "dataloader_prefetch_factor=2: has no effect without workers; add "),
        (["activation_checkpointing_kwargs=a=1"], "activation_checkpointing_kwargs={a: 1}: has no effect without"),
        (["project=x", "report_to=none"], "project=x: has no effect without report_to: trackio; remove it"),
        (
            ["optim_args=alpha=1"],
            "optim_args=alpha=1: has no effect with this optim, which does not read it; remove it",
        ),
        (
            ["optim=adafactor", "optim_args=alpha=1"],
            "optim_args=alpha=1: has no effect with this optim, which does not read it; remove it",
        ),
        (
            ["optim=adamw_torch", "optim_target_modules=all-linear"],
            "optim_target_modules=all-linear: has no effect with this optim, which does not read it; remove it",
        ),
        (
            ["optim=sgd", "adam_beta2=0.9"],
            "adam_beta2=0.9: has no effect with this optim, which does not read it; remove it",
        ),
        (
            ["lr_scheduler_type=constant", "warmup_steps=10"],
            "warmup_steps=10: has no effect under an lr_scheduler_type without warm-up; "
            "write lr_scheduler_type: constant_with_warmup, or remove it",
        ),
        (["save_strategy=no", "save_total_limit=3"], "save_total_limit=3: has no effect while save_strategy is 'no'"),
    ],
)
def test_settings_without_effect(words: list[str], message: str) -> None:
    (problem,) = problems(DATA, MODEL, *words)
    assert problem.startswith(message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["max_predict_samples=5"], "max_predict_samples=5: has no effect without test data; add test_file"),
        (["validation_file=b.txt", "validation_fraction=0.2"], "validation_fraction=0.2: has no effect beside val"),
        (["model_name_or_path=gpt2", "model_size=tiny"], "model_size=tiny: has no effect beside model_name_or_path"),
        (["tokenizer_name=gpt2", "vocab_size=1000"], "vocab_size=1000: has no effect beside tokenizer_name, which"),
    ],
)
def test_settings_without_effect_in_pretraining(words: list[str], message: str) -> None:
    (problem,) = problems("train_file=a.txt", *words, recipe=PRETRAIN)
    assert problem.startswith(message)


def test_the_command_line_may_switch_settings_of_the_file_off(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "recipe: finetune_classifier\ndataset_name: demo:imdb\nmodel_name_or_path: demo:minilm\n"
        "num_train_epochs: 2\neval_strategy: steps\neval_steps: 20\nsave_steps: 10\nvalidation_fraction: 0.2\n"
    )
    quick = load_config(["--config", str(path), "--max_steps", "20", "--eval_strategy", "epoch"])
    assert quick.trainer_arguments["max_steps"] == 20
    assert quick.training.save_strategy == "epoch"
    with pytest.raises(ConfigError, match=r"--num_train_epochs 5\.0: has no effect beside max_steps"):
        path.write_text(path.read_text() + "max_steps: 10\n")
        load_config(["--config", str(path), "--num_train_epochs", "5"])


def test_weights_with_smoothing_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load("class_weights=balanced", "label_smoothing_factor=0.1")
    assert [message.partition(":")[0] for message in caplog.messages] == ["class_weights beside label_smoothing_factor"]


def test_an_evaluation_at_the_very_end_is_one() -> None:
    assert load("eval_delay=3").trainer_arguments["eval_delay"] == 3
    # How many epochs 10 steps are depends on the data.
    assert load("eval_delay=20", "max_steps=10").trainer_arguments["eval_delay"] == 20


def test_saving_may_be_rarer_than_scoring_where_the_last_weights_are_kept() -> None:
    config = load("eval_strategy=steps", "eval_steps=20", "save_steps=60", "load_best_model_at_end=false")
    assert (config.trainer_arguments["eval_steps"], config.training.save_steps) == (20, 60)

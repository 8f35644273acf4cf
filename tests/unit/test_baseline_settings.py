"""The setting `baselines`, and the configuration of a baseline that is trained: the run's own but for the model."""

import dataclasses
from pathlib import Path

import pytest

from hfpipe.config import Origin, RunConfig, load_config
from hfpipe.config.baseline_models import CLASSICAL, CLASSIFIER_BASELINES, LANGUAGE_BASELINES
from hfpipe.config.baseline_runs import derive_baseline
from hfpipe.config.describe import describe_recipe
from hfpipe.config.rules import find_conflicts
from hfpipe.config.sections import FINETUNE, PRETRAIN, HubSettings
from hfpipe.config.settled import Settled
from hfpipe.errors import ConfigError

CLASSIFIER = ("train_file=a.csv", "model_name_or_path=some-model", "--output_dir", "out")
LANGUAGE_MODEL = ("train_file=a.txt", "--output_dir", "out")


def load(*words: str, recipe: str = FINETUNE) -> RunConfig:
    return load_config([*(CLASSIFIER if recipe == FINETUNE else LANGUAGE_MODEL), *words], recipe=recipe)


def refusal(*words: str, recipe: str = FINETUNE) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(*words, recipe=recipe)
    return [str(problem) for problem in caught.value.problems]


def derive(config: RunConfig, name: str) -> RunConfig:
    return derive_baseline(config, name, data=config.data, model=config.model)


@pytest.mark.parametrize(
    ("recipe", "words", "expected"),
    [
        (FINETUNE, [], CLASSICAL),
        (PRETRAIN, [], ()),
        (FINETUNE, ["--baselines", "[]"], ()),
        (FINETUNE, ["--baselines", "[tfidf, bigru]"], ("tfidf", "bigru")),
        (FINETUNE, ["--baselines", "textcnn"], ("textcnn",)),
        (FINETUNE, ["--baselines", "null"], CLASSICAL),  # as everywhere: the default stands again
        (PRETRAIN, ["--baselines", "[lstm, gru]"], ("lstm", "gru")),
    ],
)
def test_what_a_model_is_compared_with(recipe: str, words: list[str], expected: tuple[str, ...]) -> None:
    assert load(*words, recipe=recipe).evaluation.baselines == expected


def test_baselines_that_cannot_be_are_refused() -> None:
    known = "majority, tfidf, lstm, gru, bilstm, bigru, textcnn"
    assert refusal("baselines=lstn") == [f"baselines=lstn: must be one of {known}; did you mean 'lstm'?"]
    assert refusal("baselines=[lstm, tfidf, lstm]") == [
        "baselines=[lstm, tfidf, lstm]: names lstm twice; write it once"
    ]
    assert refusal("baselines=[tfidf, lstm]", recipe=PRETRAIN) == [
        "baselines=[tfidf, lstm]: tfidf cannot predict a next token; use lstm or gru"
    ]
    assert refusal("baselines=[majority, tfidf, bilstm]", recipe=PRETRAIN) == [
        "baselines=[majority, tfidf, bilstm]: they cannot predict a next token; use lstm or gru"
    ]


def test_help_shows_the_default_of_each_recipe() -> None:
    shown = [
        line
        for recipe in (FINETUNE, PRETRAIN)
        for line in describe_recipe(recipe).splitlines()
        if "--baselines" in line
    ]
    assert [line.partition("[default: ")[2] for line in shown] == ["[majority, tfidf]]", "[]]"]


@pytest.mark.parametrize("name", CLASSIFIER_BASELINES)
def test_a_classifiers_baseline_reads_the_same_rows(name: str) -> None:
    words = ("max_train_samples=500", "seed=3", "class_weights=balanced", "per_device_train_batch_size=6")
    ours = ("gradient_accumulation_steps=8", "learning_rate=3e-5", "num_train_epochs=1", "use_peft=true", "bf16=true")
    config = load(*words, *ours, "push_to_hub=true", "sample_texts=[a]", "early_stopping_patience=2")
    derived = derive(config, name)
    assert derived.data == config.data and derived.output_dir == Path("out/baselines") / name
    assert (derived.training.seed, derived.training.class_weights, derived.training.bf16) == (3, "balanced", True)
    arguments = derived.trainer_arguments
    assert (arguments["per_device_train_batch_size"], arguments["gradient_accumulation_steps"]) == (24, 2)
    assert arguments["num_train_epochs"] == CLASSIFIER_BASELINES[name].num_train_epochs
    assert arguments["learning_rate"] == CLASSIFIER_BASELINES[name].learning_rate
    assert arguments["eval_strategy"] == derived.training.save_strategy == "epoch"
    assert derived.hub == HubSettings() and derived.evaluation.baselines == derived.evaluation.sample_texts == ()
    assert (derived.model.model_name_or_path, derived.model.use_peft) == (None, False)
    assert derived.model.model_type == CLASSIFIER_BASELINES[name].model_type
    assert derived.training.early_stopping_patience is None and derived.training.load_best_model_at_end
    assert conflicts(derived) == []


def test_a_language_models_baseline_sees_the_same_blocks() -> None:
    own = ("model_name_or_path=someone/model", "model_revision=v2", "num_train_epochs=3", "lr_scheduler_type=constant")
    assert derive(load(*own, "warmup_steps=0", recipe=PRETRAIN), "gru").trainer_arguments["num_train_epochs"] == 3.0
    own = (*own[:2], "lr_scheduler_type=constant")
    derived = derive(load(*own, "warmup_steps=0", "max_steps=7", "eval_strategy=steps", recipe=PRETRAIN), "gru")
    assert (derived.model.tokenizer_name, derived.model.tokenizer_revision) == ("someone/model", "v2")
    arguments = derived.trainer_arguments
    assert (arguments["max_steps"], arguments["eval_strategy"]) == (7, "steps")
    assert (arguments["lr_scheduler_type"], arguments["per_device_train_batch_size"]) == ("constant", 8)
    assert arguments["learning_rate"] == LANGUAGE_BASELINES["gru"].learning_rate
    named = derive(load("tokenizer_name=t", "tokenizer_revision=r", "model_size=tiny", recipe=PRETRAIN), "gru").model
    assert (named.tokenizer_name, named.tokenizer_revision) == ("t", "r")
    trained = derive(load("vocab_size=300", recipe=PRETRAIN), "lstm")
    assert (trained.model.tokenizer_name, trained.model.vocab_size) == (None, 300)
    assert conflicts(trained) == []


def test_what_a_launch_wishes_is_not_wished_of_a_baseline() -> None:
    derived = derive(load("fresh_start=true", "resume_from_checkpoint=checkpoint-4"), "lstm")
    assert (derived.training.fresh_start, derived.training.resume_from_checkpoint) == (False, None)


def test_each_value_says_whom_it_follows_from() -> None:
    derived = derive(load("seed=3", "learning_rate=3e-5"), "lstm")
    assert derived.place("seed") == "seed"
    assert derived.place("learning_rate") == "learning_rate (follows from baselines: lstm)"
    assert derived.place("model_type") == "model_type (follows from baselines: lstm)"
    assert derived.origins.keys() == derived.flat().keys()


def conflicts(config: RunConfig) -> list[str]:
    """Return what would be wrong with the configuration if a user had written it."""
    values = {key: value for section in config.sections().values() for key, value in section.items()}
    given = {
        key: Origin("file", "a.yaml:1") if key == "model_type" else origin for key, origin in config.origins.items()
    }
    settled = Settled(config.recipe, values, {key: dataclasses.replace(given[key]) for key in values})
    return [str(problem) for problem in find_conflicts(settled)]

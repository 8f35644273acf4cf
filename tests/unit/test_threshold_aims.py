"""What thresholds may be chosen for is checked before anything is imported that takes seconds."""

import pytest

from hfpipe.config import load_config
from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.config.threshold_aims import Aim, read_aim
from hfpipe.errors import ConfigError

SOURCES = ("dataset_name=demo:imdb", "model_name_or_path=demo:minilm")
KNOWN = "use one of f1, precision_at_recall=0.9, recall_at_precision=0.9, cost=1:5 (of a false alarm and of a miss)"


@pytest.mark.parametrize(
    ("text", "aim"),
    [
        ("f1", Aim("f1")),
        ("precision_at_recall=0.9", Aim("precision_at_recall", 0.9)),
        ("recall_at_precision=1", Aim("recall_at_precision", 1.0)),
        ("cost=1:5", Aim("cost", 0.0, 1.0, 5.0)),
        ("cost=0.5:2.25", Aim("cost", 0.0, 0.5, 2.25)),
    ],
)
def test_aims_are_read_from_the_command_line(text: str, aim: Aim) -> None:
    config = load_config([*SOURCES, f"threshold_for={text}"], recipe=FINETUNE)
    assert config.evaluation.threshold_for == text
    assert read_aim(text) == aim


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("f2", "no such aim"),
        ("f1=0.9", "no such aim"),
        ("precision_at_recall", "no such aim"),
        ("precision_at_recall=0", "a share is over 0 and at most 1"),
        ("recall_at_precision=1.01", "a share is over 0 and at most 1"),
        ("cost=1", "no such aim"),
        ("cost=0:5", "costs are over 0"),
        ("cost=1:-5", "no such aim"),
    ],
)
def test_other_aims_are_refused(text: str, rule: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config([*SOURCES, f"--threshold_for={text}"], recipe=FINETUNE)
    assert [str(problem) for problem in error.value.problems] == [f"--threshold_for {text}: {rule}; {KNOWN}"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("threshold_for=f1", "threshold_for=f1: has no effect on a number to predict (problem_type: regression)"),
        ("calibrate=true", "calibrate=true: has no effect on a number to predict (problem_type: regression)"),
    ],
)
def test_numbers_have_no_thresholds_and_no_temperature(word: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config([*SOURCES, "problem_type=regression", word], recipe=FINETUNE)
    assert [str(problem) for problem in error.value.problems] == [f"{message}; remove it"]


def test_language_models_have_neither() -> None:
    with pytest.raises(ConfigError) as error:
        load_config([SOURCES[0], "threshold_for=f1", "calibrate=false"], recipe=PRETRAIN)
    assert len(error.value.problems) == 2

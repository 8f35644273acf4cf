"""What the configuration says of the settings of the Hub before anything is trained."""

import pytest

from hfpipe.config import load_config
from hfpipe.config.hub_rules import is_branch_name, is_repository_name
from hfpipe.errors import ConfigError
from hfpipe.hub.download import find_reference

ARGV = ["--train_file", "x.csv", "--model_name_or_path", "owner/model", "--push_to_hub"]


def refusal(*words: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_config([*ARGV, *words], recipe="finetune_classifier")
    return str(error.value).removeprefix("the configuration has 1 problem:\n  - ")


def test_names_that_the_hub_would_not_take() -> None:
    assert refusal("--hub_model_id", "me/my model") == (
        "--hub_model_id me/my model: is no name of a repository: letters, digits, '-', '_' and '.', "
        "as name or owner/name; write it as in owner/my-model"
    )
    assert refusal("--hub_revision", "night run") == (
        "--hub_revision night run: is no name of a branch; write it as in experiments/long-texts"
    )


def test_saves_cannot_be_pushed_where_there_are_none() -> None:
    told = refusal("--hub_strategy", "every_save", "--save_strategy", "no")
    assert told == (
        "--hub_strategy every_save: pushes at every save, and save_strategy is 'no'; "
        "write save_strategy: epoch, or hub_strategy: end"
    )


@pytest.mark.parametrize("name", ["reviews", "me/reviews", "me/reviews-v1.2_x", "a/" + "b" * 96])
def test_repository_names(name: str) -> None:
    assert is_repository_name(name)


@pytest.mark.parametrize("name", ["", "/x", "me/", "a/b/c", "me/x--y", "me/x..y", "me/x.git", "a/" + "b" * 97, "-x"])
def test_no_repository_names(name: str) -> None:
    assert not is_repository_name(name)


def test_branch_names() -> None:
    assert all(map(is_branch_name, ("main", "night/run-1", "v1.0")))
    assert not any(map(is_branch_name, ("", "a b", "a..b", "/a", "a/", "a//b", "a/.b", "a.lock")))


@pytest.mark.parametrize(
    ("value", "name", "revision"),
    [
        ("me/run@v1", "me/run", "v1"),
        ("me/run@night/run", "me/run", "night/run"),
        ("me/run", "me/run", None),
    ],
)
def test_references_to_the_hub(value: str, name: str, revision: str | None) -> None:
    found = find_reference(value)
    assert found is not None
    assert (found.name, found.revision, str(found)) == (name, revision, value)


@pytest.mark.parametrize("value", [None, "checkpoint-500", "./runs/x", "runs/x/checkpoints/checkpoint-5", "/runs/x"])
def test_what_is_no_reference_to_the_hub(value: str | None) -> None:
    assert find_reference(value) is None

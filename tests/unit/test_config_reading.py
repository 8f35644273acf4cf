"""YAML files and command lines as settings with places, and every form that is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfpipe.config.argv import CommandLine, read_argv
from hfpipe.config.values import Scalar
from hfpipe.config.yaml_file import read_yaml
from hfpipe.errors import ConfigError

SWITCHES = {"bf16": True, "learning_rate": False, "max_steps": False, "optim_args": False, "seed": False}


def parse_words(*words: str) -> CommandLine:
    return read_argv(words, SWITCHES.get)


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "run.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refuse(folder: Path, text: str | bytes) -> str:
    """The problem of a file that cannot be read, with the folder taken out."""
    with pytest.raises(ConfigError) as caught:
        read_yaml(write(folder, text))
    assert len(caught.value.problems) == 1
    return str(caught.value.problems[0]).replace(f"{folder}/", "")


def test_a_file_has_its_recipe_and_settings_with_lines(tmp_path: Path) -> None:
    file = read_yaml(write(tmp_path, "# a word\nrecipe: finetune_classifier\nlearning-rate: 1e-4\n\nseed: null\n"))
    assert file.recipe is not None
    assert file.recipe.raw == Scalar("finetune_classifier")
    assert [(given.key, given.raw) for given in file.settings] == [("learning_rate", Scalar("1e-4")), ("seed", None)]
    assert [given.origin.place for given in file.settings] == [f"{file.path}:3", f"{file.path}:5"]
    assert file.problems == ()


def test_scalars_stay_as_written(tmp_path: Path) -> None:
    text = "recipe: x\na: 2024-01-01\nb: 010\nc: no\nd: '5'\ne: ~\nf:\ng: [1, {on: off}]\nh: 'null'\n"
    values = {given.key: given.raw for given in read_yaml(write(tmp_path, text)).settings}
    assert values == {
        "a": Scalar("2024-01-01"),
        "b": Scalar("010"),
        "c": Scalar("no"),
        "d": Scalar("5", quoted=True),
        "e": None,
        "f": None,
        "g": [Scalar("1"), {"on": Scalar("off")}],
        "h": Scalar("null", quoted=True),
    }


def test_escaped_pairs_are_one_character_and_halves_are_refused(tmp_path: Path) -> None:
    file = read_yaml(write(tmp_path, 'recipe: x\na: "\\ud83d\\ude00"\nb: "\\ud83d"\n'))
    assert file.settings[0].raw == Scalar("\U0001f600", quoted=True)
    assert [str(problem) for problem in file.problems] == [f"{file.path}:3: holds half a character; remove it"]


def test_the_recipe_must_come_first(tmp_path: Path) -> None:
    file = read_yaml(write(tmp_path, "seed: 1\nrecipe: finetune_classifier\n"))
    assert file.recipe is None
    assert [given.key for given in file.settings] == ["seed", "recipe"]


def test_byte_order_mark_and_windows_lines_are_fine(tmp_path: Path) -> None:
    file = read_yaml(write(tmp_path, b"\xef\xbb\xbfrecipe: x\r\nseed: 1\r\n"))
    assert [(given.key, given.raw) for given in file.settings] == [("seed", Scalar("1"))]


def test_duplicate_keys_are_named_with_both_lines(tmp_path: Path) -> None:
    file = read_yaml(write(tmp_path, "recipe: x\nseed: 1\nmax-steps: 2\nmax_steps: 3\nlabel_names: {a: 1, a: 2}\n"))
    assert [str(problem).replace(f"{tmp_path}/", "") for problem in file.problems] == [
        "run.yaml:4: max_steps: given already at run.yaml:3; keep one of them",
        "run.yaml:5: a: given twice; keep one of them",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "run.yaml: must be a mapping; begin it with 'recipe: NAME', one key a line"),
        ("- a\n", "run.yaml: must be a mapping; begin it with 'recipe: NAME', one key a line"),
        (
            "a: &x [1]\nb: *x\n",
            "run.yaml:1: anchors and aliases are not allowed; write the value out",
        ),
        ("a: 1\nb: !!python/name:os.system\n", "run.yaml:2: tag:yaml.org,2002:python/name:os.system: "),
        ("a: 1\n\tb: 2\n", "run.yaml:2: is not YAML: found character '\\t' that cannot start any token; indent"),
        ("a: 1\nb: [1, 2\nc: 3\n", "run.yaml:3: is not YAML: "),
        ("a: 1\n---\nb: 2\n", "run.yaml:2: is not YAML: but found another document; write one"),
        ("a: " + "[" * 20 + "]" * 20, "run.yaml:1: is nested more than 10 deep; write a flat mapping"),
        (b"a: 1\nb: \xff\n", "run.yaml: is not UTF-8 (byte 8); save it as UTF-8"),
        ("a: 1\nb: \x00\n", "run.yaml:2: holds a control character; remove it"),
        ("a: " + "x" * 1_000_000, "run.yaml: is over 1,000,000 bytes; give a configuration file"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert refuse(tmp_path, text).startswith(message)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file; `hfpipe recipes` lists the shipped ones"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path)


@given(st.binary(max_size=60))
def test_any_bytes_are_settings_or_a_problem(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    try:
        read_yaml(write(tmp_path_factory.getbasetemp(), text))
    except ConfigError as error:
        assert error.problems


@pytest.mark.parametrize(
    ("words", "key", "raw", "place"),
    [
        (["--learning_rate", "1e-4"], "learning_rate", Scalar("1e-4"), "--learning_rate"),
        (["--learning-rate=1e-4"], "learning_rate", Scalar("1e-4"), "--learning-rate"),
        (["learning_rate=1e-4"], "learning_rate", Scalar("1e-4"), "learning_rate"),
        (["--max_steps", "-1"], "max_steps", Scalar("-1"), "--max_steps"),
        (["--optim_args", "a=1,b=2"], "optim_args", Scalar("a=1,b=2"), "--optim_args"),
        (["--optim_args=--x"], "optim_args", Scalar("--x"), "--optim_args"),
        (["--seed", "null"], "seed", None, "--seed"),
        (["--bf16"], "bf16", Scalar("true"), "--bf16"),
        (["--bf16", "no"], "bf16", Scalar("no"), "--bf16"),
        (["--unknown"], "unknown", Scalar("true"), "--unknown"),
    ],
)
def test_forms_of_the_command_line(words: list[str], key: str, raw: Scalar | None, place: str) -> None:
    command = parse_words(*words)
    assert command.problems == ()
    (setting,) = command.settings
    assert (setting.key, setting.raw, setting.origin.place) == (key, raw, place)


def test_a_switch_leaves_the_next_setting_alone() -> None:
    command = parse_words("--bf16", "seed=3", "--config", "a.yaml", "--learning_rate", "1")
    assert [setting.key for setting in command.settings] == ["bf16", "seed", "learning_rate"]
    assert command.config_file == Path("a.yaml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed"], "--seed: needs a value"),
        (["--seed", "--bf16"], "--seed: needs a value"),
        (["--seed", "1", "--seed=2"], "--seed 2: given twice; keep one of them"),
        (["seed=1", "--seed", "2"], "--seed 2: given twice; keep one of them"),
        (["run.yaml"], "run.yaml: belongs to no setting; write --key value or key=value, and lists as '[a, b]'"),
        (["--seed", "\udcff"], "--seed: is not UTF-8; use a UTF-8 terminal"),
        (["-s", "1"], "-s: belongs to no setting; write --key value or key=value, and lists as '[a, b]'"),
    ],
)
def test_command_lines_that_are_refused(words: list[str], message: str) -> None:
    assert str(parse_words(*words).problems[0]) == message


@given(st.lists(st.text(max_size=12), max_size=6))
def test_any_words_are_settings_or_problems(words: list[str]) -> None:
    command = parse_words(*words)
    assert len(command.settings) + len(command.problems) <= len(words)

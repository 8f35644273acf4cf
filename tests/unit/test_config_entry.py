"""The entry point of recipes, the files that ship, and the generated page."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hfpipe.config import (
    RunConfig,
    find_accelerate_config,
    find_named_run,
    find_recipe_module,
    list_named_runs,
    run_recipe,
)
from hfpipe.config.exit_codes import EXIT_CODE_FILE, read_code, settle
from hfpipe.config.keys import read_keys
from hfpipe.config.reference import PAGE, build_page
from hfpipe.config.sections import FINETUNE
from hfpipe.config.stopping import STOPPING, current_watch
from hfpipe.errors import ConfigError, DataError, Problem, Stopped

SOURCES = ["dataset_name=demo:imdb", "model_name_or_path=demo:minilm"]


@pytest.fixture(autouse=True)
def _start_as_first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", EXIT_CODE_FILE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _give_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An entry point has the signals to the end of its process, and how tracebacks are printed."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def exit_code(run: Callable[[RunConfig], None], *words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        run_recipe(run, FINETUNE, [*SOURCES, *words])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def succeed(config: RunConfig) -> None:
    assert config.recipe == FINETUNE


def fail_on_data(config: RunConfig) -> None:
    raise DataError(Problem("train.csv:17", "", "no label", "add one"))


def stop(config: RunConfig) -> None:
    raise Stopped(signal.SIGTERM, 12)


def watched(config: RunConfig) -> None:
    assert current_watch() is not None


@pytest.mark.parametrize(
    ("run", "words", "code", "message"),
    [
        (succeed, [], 0, ""),
        (fail_on_data, [], 2, "the data has 1 problem:\n  - train.csv:17: no label; add one\n"),
        (succeed, ["--seed", "x"], 2, "the configuration has 1 problem:\n  - --seed x: must be a whole number\n"),
        (stop, [], 143, "stopped by signal 15 at step 12; the same command goes on from here\n"),
        (watched, [], 0, ""),
    ],
)
def test_outcomes_become_exit_codes_and_messages(
    run: Callable[[RunConfig], None], words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(run, *words) == code
    assert capsys.readouterr().err == message


def test_only_the_first_process_speaks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RANK", "1")
    assert exit_code(fail_on_data) == 2
    assert capsys.readouterr().err == ""


def test_a_bug_keeps_its_traceback() -> None:
    def divide(config: RunConfig) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_recipe(divide, FINETUNE, SOURCES)


def test_under_the_launcher_the_code_is_left_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(EXIT_CODE_FILE, str(tmp_path / "code"))
    assert exit_code(succeed) == 0
    assert not (tmp_path / "code").exists()
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        assert exit_code(fail_on_data) == 0
    assert (tmp_path / "code").read_text() == "2"
    assert capsys.readouterr().err.count("train.csv:17") == 1
    # what processes that were started again left is of no account any more
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert exit_code(succeed) == 0
    assert read_code(tmp_path / "code") is None
    assert exit_code(stop) == 0
    assert read_code(tmp_path / "code") == 143


def test_only_a_lost_run_tells_a_launcher_that_may_start_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    for allowed, codes in (("0", [0, 0, 0]), ("3", [1, 0, 0])):
        monkeypatch.setenv(EXIT_CODE_FILE, str(tmp_path / f"code{allowed}"))
        monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", allowed)
        assert [settle(code, "told", say=said.append) for code in (1, 2, 143)] == codes
        assert read_code(tmp_path / f"code{allowed}") == 1
    assert said == ["told", "told"]
    monkeypatch.delenv(EXIT_CODE_FILE)
    assert [settle(code, "told", say=said.append, speaker=1) for code in (1, 2, 143)] == [1, 2, 143]
    assert said == ["told", "told"]


def test_a_code_that_cannot_be_left_is_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a temporary folder that was cleaned away while the run went on for weeks
    monkeypatch.setenv(EXIT_CODE_FILE, str(tmp_path / "removed" / "code"))
    said: list[str] = []
    assert settle(143, "stopped", say=said.append) == 143
    assert said == ["stopped"]


def test_help_lists_every_setting_of_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(fail_on_data, "--help") == 0
    shown = capsys.readouterr().out
    for name, key in read_keys().items():
        assert (f"--{name} " in f"{shown} ".replace("\n", " ")) == (FINETUNE in key.recipes), name
    assert "1e-05" not in shown
    assert "5e-05 (this recipe's)" in shown
    assert max(map(len, shown.splitlines())) <= 140


def test_shipped_runs_are_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for run in list_named_runs():
        assert find_named_run(run.name) == run.path
        assert find_named_run(f"recipes/{run.name}.yaml").samefile(run.path)
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("recipe: finetune_classifier\n")
    assert find_named_run("mine.yaml") == Path("mine.yaml")
    with pytest.raises(ConfigError, match="no such file and no such run"):
        find_named_run("banana")


def test_accelerate_files_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    assert find_accelerate_config("cpu").name == "cpu.yaml"
    assert find_accelerate_config("accelerate_configs/multi_cpu.yaml").name == "multi_cpu.yaml"
    own = tmp_path / "cpu"
    own.write_text("")
    assert find_accelerate_config(str(own)) == own
    with pytest.raises(ConfigError, match="multi_cp: no such file and no such accelerate configuration; did you mean"):
        find_accelerate_config("multi_cp")


def test_an_unknown_recipe_has_no_module() -> None:
    with pytest.raises(ConfigError, match="recipe: banana: no such recipe; the recipes are pretrain_causal_lm, fin"):
        find_recipe_module("banana")


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == build_page(), "run python -m hfpipe.config.reference"
    assert os.fspath(PAGE).endswith("docs/configuration.md")

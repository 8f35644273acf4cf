"""The CSV example of the README, run as it stands: its files, its commands, and what it says they print."""

import contextlib
import csv
import io
import logging
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, load_recipe

from hfpipe.cli import app
from hfpipe.config import list_named_runs, load_config
from hfpipe.launch import prepare_launch

README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = README.partition("## A classifier from a CSV file in one minute")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", EXAMPLE, re.DOTALL)

# What depends on the processor: bfloat16 where there is none of it, and the sums of its kernels.
VARYING = re.compile(r"^(device |step |  loss )|^\[\.\.\.\]$")


def write_files(script: str) -> str:
    """Do what the here-documents of a script do, and return the rest of it."""

    def write(found: "re.Match[str]") -> str:
        program, name, text = found.groups()
        if program == "python -":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(text, {})
            text = printed.getvalue()
        Path(name).write_text(text, encoding="utf-8")
        return ""

    return re.sub(r"^(cat|python -) > (\S+) <<'EOF'\n(.*?)^EOF\n", write, script, flags=re.MULTILINE | re.DOTALL)


def run_commands(script: str) -> Iterator[str]:
    """Run what is left of a script in this process and yield what `cat` shows."""
    for line in script.splitlines():
        program, *words = shlex.split(line)
        if program == "cat":
            yield Path(words[0]).read_text(encoding="utf-8")
        elif words[0] == "run":
            # `hfpipe run` would replace this process by the recipe: what it would start is done here
            prepared = prepare_launch(words[1], words[2:])
            recipe = prepared.recipe.stem
            load_recipe(recipe).run(load_config(prepared.command[2:], recipe=recipe))
        else:
            assert program == "hfpipe"
            with pytest.raises(SystemExit) as ended:
                app(words)
            assert ended.value.code == 0


def test_the_example_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO, logger="hfpipe")
    commands = "".join(script for language, script in BLOCKS if language == "bash")
    shown = list(run_commands(write_files(commands)))
    assert commands.count("hfpipe ") == 2

    said = next(text.splitlines() for language, text in BLOCKS if language == "text")
    exact = [line for line in said if not VARYING.match(line)]
    assert len(exact) > 10
    assert [line for line in exact if line not in caplog.messages] == []
    names = [line.split()[0] for line in said if line.startswith("  ")]
    assert set(names) <= {line.split()[0] for line in caplog.messages if line.startswith("  ")}

    (expected,) = (text for language, text in BLOCKS if language == "csv")
    (got,) = shown
    rows, found = (list(csv.DictReader(io.StringIO(text))) for text in (expected, got))
    assert [row.keys() for row in found] == [row.keys() for row in rows]
    for row, other in zip(rows, found, strict=True):
        assert (row["id"], row["text"], row["predicted_label"]) == (
            other["id"],
            other["text"],
            other["predicted_label"],
        )
        assert float(other["probability_praise"]) == pytest.approx(float(row["probability_praise"]), abs=0.1)


def test_a_mistake_is_answered_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.csv").write_text("text;label\nGood;praise\nBad;complaint\n", encoding="utf-8")
    write_files("".join(script for language, script in BLOCKS if language == "bash"))
    with pytest.raises(SystemExit) as ended:
        app(["run", "reviews.yaml", "train_file=bad.csv"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.strip() == [text for language, text in BLOCKS if language == "text"][-1].strip()
    assert not Path("runs").exists()


def test_every_command_and_named_run_has_a_row() -> None:
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    commands |= {group.name for group in app.registered_groups if group.name}
    assert set(re.findall(r"^\| `hfpipe (\w+)", README, re.MULTILINE)) == commands
    assert set(re.findall(r"^\| `(\w+/\w+)`", README, re.MULTILINE)) == {run.name for run in list_named_runs()}


@pytest.mark.parametrize("recipe", ["finetune_classifier", "pretrain_causal_lm"])
def test_the_parts_of_a_run_are_those_of_the_recipe_in_its_order(recipe: str) -> None:
    flow = README.partition("## How a run flows")[2].partition("\n## ")[0]
    cells = " ".join(re.findall(r"^\| ([^|]+) \|", flow, re.MULTILINE))
    # `load_..._parts` stands for a name of each recipe
    parts = [part.replace("...", r"\w+") for part in re.findall(r"`([\w.]+)`", cells)]
    called = re.findall(r"\b([a-z_]+)\(", (ROOT / "recipes" / f"{recipe}.py").read_text(encoding="utf-8"))
    called = called[called.index("open_session") :]
    rows = [next((number for number, part in enumerate(parts) if re.fullmatch(part, name)), None) for name in called]
    assert [number for number in rows if number is not None] == sorted(number for number in rows if number is not None)
    without = {name for name, number in zip(called, rows, strict=True) if number is None}
    tasks = {"classification_task", "causal_lm_task"}
    assert without <= {"report_done", "describe_model", "run_recipe", *tasks}


def test_no_figure_is_left_open() -> None:
    log = (ROOT / "docs" / "LOG.md").read_text(encoding="utf-8")
    assert not re.findall(r"TODO", README + log)

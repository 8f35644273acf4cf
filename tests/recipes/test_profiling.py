"""`hfpipe profile` through both recipes: a table that adds up, a trace, and a run directory that stays as it was."""

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import to_argv
from test_resume import classifier_settings, language_model_settings

from hfpipe.cli import app

FEW_STEPS = ("--warm-up", "1", "--steps", "1")


def answer(recipe: str, settings: dict[str, object], *options: str) -> int:
    file = Path("run.yaml")
    file.write_text(f"recipe: {recipe}\n", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        app(["profile", str(file), *options, *to_argv(settings)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def shares_of(printed: str) -> dict[str, float]:
    table = printed.split("\n\n")[0].splitlines()[1:]
    return {line.rsplit(maxsplit=3)[0]: float(line.split()[-2]) for line in table}


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


def test_a_classifier(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = classifier_settings(reviews_csv(44), checkpoints("bert"))
    assert answer("finetune_classifier", settings, *FEW_STEPS, "--trace", "trace.json") == 0
    printed = capsys.readouterr().out
    shares = shares_of(printed)
    assert sum(share for kind, share in shares.items() if kind != "all") == pytest.approx(100, abs=0.6)
    # a step this small may have less than 0.05 % of one of them
    assert {"matrix products", "optimizer", "dropout and random numbers"} <= shares.keys()
    assert shares["matrix products"] > 0
    assert "tokens per second: " in printed and "MFU" in printed
    assert "with padding" not in printed  # layers leave it out
    names = {event.get("name") for event in json.loads(Path("trace.json").read_text())["traceEvents"]}
    assert "aten::addmm" in names
    assert sorted(path.name for path in Path().iterdir()) == ["run.yaml", "temporary", "trace.json"]
    assert list(Path("temporary").glob("hfpipe*")) == []


def test_a_language_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(f"a film with a plot and music number {index}" for index in range(60)))
    one_row = {**language_model_settings(corpus), "per_device_train_batch_size": 1}
    assert answer("pretrain_causal_lm", one_row, *FEW_STEPS) == 0
    printed = capsys.readouterr().out
    assert shares_of(printed)["matrix products"] > 0
    # a packed block of 16 tokens has no padding; steps under the profiler are not counted
    tokens = re.search(r"tokens per second: [\d,]+; (\d+) tokens a step", printed)
    assert tokens is not None and int(tokens[1]) == 16


def test_mistakes_are_answered_in_words(
    checkpoints: Callable[[str], Path], reviews_csv: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = classifier_settings(reviews_csv(44), checkpoints("bert"))
    Path("old.json").touch()
    assert answer("finetune_classifier", settings, "--trace", "old.json") == 2
    assert "--trace old.json: the file exists; add --overwrite to replace it" in capsys.readouterr().err
    assert answer("finetune_classifier", {**settings, "num_processes": 2}) == 2
    assert "--num_processes: 2: the steps of one process are profiled; add num_processes=1" in capsys.readouterr().err

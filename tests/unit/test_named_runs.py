"""The YAML files that ship: all resolve, all are listed, and the template names every key of the data."""

import dataclasses
import re
from pathlib import Path

import pytest

from hfpipe.cli import app
from hfpipe.config import DataSettings, find_named_run, list_named_runs, load_config
from hfpipe.config.baseline_models import CLASSIFIER_BASELINES

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
FILES = sorted(RECIPES.rglob("*.yaml"))
TEMPLATE = RECIPES / "custom_csv" / "template.yaml"


def test_none_is_lost() -> None:
    assert len(FILES) == 18


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(RECIPES).as_posix())
def test_it_resolves(file: Path) -> None:
    config = load_config(["--config", str(file)])
    name = file.relative_to(RECIPES).with_suffix("").as_posix()
    assert config.output_dir == Path("runs") / name.replace("/", "-")
    assert config.config_file == file
    assert find_named_run(name) == file


@pytest.mark.parametrize("name", ["lstm", "gru", "textcnn"])
def test_a_baseline_by_its_own_file_is_the_one_of_the_ladder(name: str) -> None:
    config = load_config(["--config", str(RECIPES / "imdb" / f"{name}.yaml")])
    wanted = {key: value for key, value in CLASSIFIER_BASELINES[name].settings().items() if value}
    flat = config.flat()
    assert {key: flat.get(key) for key in wanted} == wanted


def test_the_command_line_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["recipes"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for file in FILES:
        first, name = file.read_text(encoding="utf-8").splitlines()[0], file.relative_to(RECIPES).with_suffix("")
        assert first.startswith("# ") and first.endswith(".")
        assert re.search(rf"^{name.as_posix()} .*{re.escape(first[2:])}$", printed, re.MULTILINE)


def test_summaries_are_the_first_comment_and_differ() -> None:
    runs = list_named_runs()
    assert [run.path for run in runs] == FILES
    assert len({run.summary for run in runs}) == len(FILES)


def test_the_template_names_every_key_of_the_data() -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    named = set(re.findall(r"^(?:# )?(\w+):(?= )", text, re.MULTILINE))
    assert {field.name for field in dataclasses.fields(DataSettings)} <= named


def test_the_template_shows_the_defaults() -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    data, defaults = load_config(["--config", str(TEMPLATE)]).data, DataSettings()
    given = {
        field.name
        for field in dataclasses.fields(DataSettings)
        if getattr(data, field.name) != getattr(defaults, field.name)
    }
    assert given == {"train_file"}
    assert data.train_file == ("train.csv",)
    shown = ("document_per", "block_size", "validation_fraction", "max_seq_length", "problem_type", "long_texts")
    for key in (*shown, "doc_stride", "max_windows", "window_pooling", "dataset_revision", "train_split_name"):
        assert re.search(rf"^(?:# )?{key}: {getattr(defaults, key)}(?:\s|$)", text, re.MULTILINE)


def test_what_the_template_comments_out_can_be_switched_on(tmp_path: Path) -> None:
    lines = TEMPLATE.read_text(encoding="utf-8").splitlines()
    # those of the other recipe, of data from elsewhere, and those that only have an effect beside others
    not_here = (
        *(
            "document_per",
            "block_size",
            "streaming",
            "cross_document",
            "dataset_",
            "train_split",
            "validation_split",
            "test_split",
        ),
        *("validation_fraction", "text_column_delimiter", "label_delimiter", "doc_stride", "max_windows"),
        "window_pooling",
    )
    switched = [re.sub(r"\s+\(.*\)$", "", re.sub(r"^# (?=[a-z_]+: )", "", line)) for line in lines]
    kept = [line for line in switched if not line.startswith(not_here)]
    copy = tmp_path / "mine.yaml"
    copy.write_text("\n".join(kept) + "\n", encoding="utf-8")
    config = load_config(["--config", str(copy)])
    assert config.data.label_names == {"0": "negative", "1": "positive"}
    assert (config.data.max_train_samples, config.data.field_delimiter) == (1000, ";")
    assert (config.data.text_column_names, config.data.text_pair_column_name) == (("text",), "answer")
    assert config.training.class_weights == "balanced"

"""`hfpipe check`: what it says of a run before it starts, every refusal by its message, and that it writes nothing."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import run_recipe_here, to_argv

from hfpipe.config import load_config
from hfpipe.config.sections import FINETUNE, PRETRAIN
from hfpipe.errors import ConfigError
from hfpipe.training.checking import CheckReport, check

Checkpoints = Callable[[str], Path]
Reviews = Callable[[int], Path]


@pytest.fixture
def settings(checkpoints: Checkpoints, reviews_csv: Reviews, tmp_path: Path) -> dict[str, Any]:
    return {
        "train_file": reviews_csv(28),
        "model_name_or_path": checkpoints("bert"),
        "output_dir": tmp_path / "run",
        "max_seq_length": 24,
        "validation_fraction": 0.25,
        "per_device_train_batch_size": 4,
        "bf16": "false",
    }


def check_recipe(settings: dict[str, Any], recipe: str = FINETUNE) -> CheckReport:
    return check(load_config(to_argv(settings), recipe=recipe))


def problems(settings: dict[str, Any], recipe: str = FINETUNE) -> list[str]:
    return [str(problem) for problem in check_recipe(settings, recipe).problems]


def line(report: CheckReport, beginning: str) -> str:
    return next(each for each in report.lines if each.startswith(beginning))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


def test_steps_rows_and_tokens_of_a_csv(settings: dict[str, Any]) -> None:
    # 28 reviews leave 21 for training: windows of 8, 8 and 5 rows, and 2.5 epochs are 7.5 steps, rounded up
    report = check_recipe({**settings, "gradient_accumulation_steps": 2, "num_train_epochs": 2.5})
    assert report.problems == ()
    assert line(report, "rows_per_step") == (
        "rows_per_step 8 = 4 x 2 x 1 (rows x micro-batches x processes); a row is a text"
    )
    assert line(report, "steps") == "steps: 8 = 3 an epoch, epochs 2.667"
    assert line(report, "rows:") == "rows: 21 an epoch, 58 in total"
    assert line(report, "output_dir").endswith("run: a new run begins")
    # 390 tokens x 32, positions and types 66 x 32, 2 layers of 8,544, norm 64, pooler 1,056, head 66
    assert line(report, "BertForSequenceClassification") == (
        "BertForSequenceClassification: 32,866 parameters, 32,866 trainable"
    )
    assert line(report, "label 1") == "label 1: 'pos': 11 train, 3 validation"
    assert line(report, "disk").startswith(
        "disk: a checkpoint 395.4 kB = weights 132.5 kB + optimizer 262.9 kB; 3 written"
    )


def test_blocks_of_a_corpus_read_whole(checkpoints: Checkpoints, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(f'{{"text": "a film with a plot number {index}"}}\n' for index in range(40)))
    given = {"train_file": corpus, "model_size": "tiny", "vocab_size": 300, "block_size": 16, "bf16": "false"}
    report = check_recipe({**given, "output_dir": tmp_path / "run"}, PRETRAIN)
    assert report.problems == ()
    assert not any("estimated" in each for each in report.lines)
    assert line(report, "tokens of a document").startswith("tokens of a document: min ")
    run_recipe_here(PRETRAIN, {**given, "output_dir": tmp_path / "run", "max_steps": 1, "eval_strategy": "no"})
    again = check_recipe({**given, "output_dir": tmp_path / "run", "max_steps": 1, "eval_strategy": "no"}, PRETRAIN)
    assert line(again, "train:") == line(report, "train:")
    assert line(again, "LlamaForCausalLM") == line(report, "LlamaForCausalLM")


def test_max_seq_length_over_the_positions_is_refused_as_in_the_run(settings: dict[str, Any]) -> None:
    over = {**settings, "max_seq_length": 65}
    expected = "--max_seq_length 65: over the model's 64 positions; lower it, or choose a model for longer texts"
    report = check_recipe(over)
    assert [str(problem) for problem in report.problems] == [expected]
    assert line(report, "tokens:")  # what does not depend on it is still said
    with pytest.raises(ConfigError, match=expected):
        run_recipe_here(FINETUNE, over)


def test_block_size_over_the_positions_is_refused(
    checkpoints: Checkpoints, reviews_csv: Reviews, tmp_path: Path
) -> None:
    given = {"train_file": reviews_csv(64), "model_name_or_path": checkpoints("llama"), "block_size": 65}
    assert problems({**given, "output_dir": tmp_path / "run", "bf16": "false"}, PRETRAIN) == [
        "block_size 65: over the model's 64 positions; lower it, or raise max_position_embeddings by config_overrides"
    ]


def test_models_that_would_not_train_are_refused(
    settings: dict[str, Any], reviews_csv: Reviews, tmp_path: Path
) -> None:
    small_vocabulary = {**settings, "config_overrides": "vocab_size=5"}
    assert problems(small_vocabulary) == [
        "tokenizer_name: 390 tokens: more than the model's vocabulary of 5; use the tokenizer of the checkpoint"
    ]
    given = {"train_file": reviews_csv(64), "output_dir": tmp_path / "run", "block_size": 16, "bf16": "false"}
    new = {**given, "model_size": "tiny", "vocab_size": 300}
    (found,) = problems({**new, "config_overrides": "num_attention_heads=3"}, PRETRAIN)
    assert found.startswith("model_type: llama: does not run: ")
    (found,) = problems({**new, "model_type": "bert", "config_overrides": "is_decoder=false"}, PRETRAIN)
    assert found.startswith("model_type: bert: is not causal: ")
    assert problems({**new, "model_type": "bert"}, PRETRAIN) == []
    assert problems({**given, "model_name_or_path": settings["model_name_or_path"]}, PRETRAIN) == []


def test_a_language_model_is_asked_what_the_run_will_ask(reviews_csv: Reviews, tmp_path: Path) -> None:
    given = {"train_file": reviews_csv(64), "output_dir": tmp_path / "run", "block_size": 16, "bf16": "false"}
    new = {**given, "model_size": "tiny", "vocab_size": 300}
    scaled = {**new, "model_type": "granite", "config_overrides": "logits_scaling=4.0"}
    rule = "the logits of this model are not those of a plain linear head"
    report = check_recipe(scaled, PRETRAIN)
    assert report.problems == ()
    assert f"plain loss ({rule})" in line(report, "performance plan")
    assert report.lines.index(line(report, "performance plan")) == 2  # behind the folder and the device
    # the estimate is that of the plain loss: 256 tokens over 20,000 entries are 20 MB of logits, passed over often
    large = {**scaled, "config_overrides": "logits_scaling=4.0,vocab_size=20000", "per_device_train_batch_size": 16}
    plain = {**large, "config_overrides": "logits_scaling=1.0,vocab_size=20000"}
    assert memory_of_a_step(check_recipe(large, PRETRAIN)) > 20 + memory_of_a_step(check_recipe(plain, PRETRAIN))
    assert problems({**scaled, "fused_loss": "true"}, PRETRAIN) == [f"--fused_loss: true: {rule}; remove it"]
    apart = {**new, "cross_document_attention": "false"}
    assert problems(apart, PRETRAIN) == []
    (found,) = problems({**apart, "model_type": "opt"}, PRETRAIN)
    assert found.startswith("cross_document_attention: false: opt: has no document masks: a document changes what it ")


def memory_of_a_step(report: CheckReport) -> float:
    """Return the megabytes of activations and gradients."""
    found = re.search(r"activations and gradients ([\d.,]+) MB", line(report, "memory of a step"))
    assert found is not None
    return float(found[1].replace(",", ""))


def test_problems_of_all_parts_come_together(settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    wrong = {**settings, "max_seq_length": 65, "class_weights": "pos=1,neu=2", "bf16": "null", "fp16": "true"}
    assert problems(wrong) == [
        f"{tmp_path}/run: holds files (notes.txt) but no run.json, so it is not a run of ours; "
        "choose another output_dir",
        "--fp16: needs a GPU; use bf16 or leave it out",
        "--max_seq_length 65: over the model's 64 positions; lower it, or choose a model for longer texts",
        "class_weights: neu: no label of this data; the labels are neg, pos",
        "class_weights: neg: has no weight; give every label one",
    ]


def test_data_and_model_that_are_not_there_are_both_told(settings: dict[str, Any], tmp_path: Path) -> None:
    found = problems({**settings, "train_file": tmp_path / "none.csv", "model_name_or_path": "no-such/model"})
    assert len(found) == 2
    assert "none.csv" in found[0]
    assert found[1].startswith("model_name_or_path: no-such/model: is not in the cache ")


def test_a_run_that_is_to_push_needs_a_token(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    (told,) = problems({**settings, "push_to_hub": "true"})
    assert told.startswith("--push_to_hub: true: pushing needs an access token, and there is none; set HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", "hf_any")
    assert problems({**settings, "push_to_hub": "true"}) == []


def test_too_little_text_for_a_block_is_refused(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"text": "a"}\n{"text": "b"}\n')
    given = {"train_file": corpus, "output_dir": tmp_path / "run", "vocab_size": 300, "bf16": "false"}
    assert problems({**given, "model_size": "tiny"}, PRETRAIN) == [
        "train: 3 tokens: fewer than one block of block_size 512; lower block_size or add text"
    ]


def test_training_part_below_one_step_is_a_warning(settings: dict[str, Any]) -> None:
    report = check_recipe({**settings, "per_device_train_batch_size": 32})
    assert report.problems == ()
    assert line(report, "warning") == (
        "warning: the training part (21 rows) is smaller than one step (32 rows): every epoch is one short step"
    )


def test_earlier_run_is_told_and_left_alone(settings: dict[str, Any], tmp_path: Path) -> None:
    given = {**settings, "max_steps": 2, "disable_tqdm": "true"}
    run_recipe_here(FINETUNE, given)
    before = files(tmp_path)
    assert line(check_recipe(given), "output_dir").endswith(
        "run: the run in it is done, and the same command would change nothing"
    )
    assert problems({**given, "seed": 7}) == [
        "--seed: 7: another value than the run began with, 42; "
        "set it back, or begin anew with fresh_start: true or another output_dir"
    ]
    fresh = check_recipe({**given, "seed": 7, "fresh_start": "true"})
    assert fresh.problems == ()
    assert line(fresh, "output_dir").endswith("run: the run in it is moved aside")
    assert files(tmp_path) == before


def test_nothing_is_written(settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_recipe(settings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("architecture", ["distilbert", "modernbert", "gpt2", "llama"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_memory_of_every_architecture(
    architecture: str, attention: str, settings: dict[str, Any], checkpoints: Checkpoints
) -> None:
    model = {"model_name_or_path": checkpoints(architecture), "attn_implementation": attention}
    report = check_recipe({**settings, **model, "gradient_accumulation_steps": 2})
    assert report.problems == ()
    assert "activations and gradients" in line(report, "memory of a step")


def test_model_that_needs_numbers_is_told(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(f'{{"text": "a film with a plot number {index}"}}\n' for index in range(40)))
    given = {"train_file": corpus, "output_dir": tmp_path / "run", "vocab_size": 300, "block_size": 16}
    small = {"model_size": "tiny", "model_type": "mixtral", "config_overrides": "num_local_experts=2"}
    report = check_recipe({**given, **small, "bf16": "false"}, PRETRAIN)
    assert report.problems == ()
    assert line(report, "memory of a step").startswith(
        "memory of a step: not known: this model does not run without numbers ("
    )


def test_metric_of_two_labels_is_refused_for_three(settings: dict[str, Any], tmp_path: Path) -> None:
    csv = tmp_path / "three.csv"
    csv.write_text("text,label\n" + "".join(f"a film number {index},{'abc'[index % 3]}\n" for index in range(30)))
    found = problems({**settings, "train_file": csv, "metric_for_best_model": "f1"})
    assert [problem for problem in found if "f1" in problem] == [
        "--metric_for_best_model: f1: defined for 2 labels, and there are 3; choose one of loss, accuracy, "
        "balanced_accuracy, precision_macro, recall_macro, f1_macro, precision_weighted, recall_weighted, f1_weighted, "
        "mcc, roc_auc, average_precision, log_loss, brier, ece"
    ]


def test_metric_that_the_validation_part_does_not_define_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    csv = tmp_path / "one_sided.csv"
    csv.write_text("text,label\n" + "".join(f"a fine film of its own number {index},pos\n" for index in range(6)))
    given = {key: value for key, value in settings.items() if key != "validation_fraction"}
    found = problems({**given, "validation_file": csv, "metric_for_best_model": "roc_auc"})
    assert [problem for problem in found if "roc_auc" in problem] == [
        "--metric_for_best_model: roc_auc: needs validation rows with and without each label; choose one of loss, "
        "accuracy, balanced_accuracy, precision_macro, recall_macro, f1_macro, precision_weighted, recall_weighted, "
        "f1_weighted, mcc, precision, recall, f1, log_loss, brier, ece"
    ]


def test_windows_are_counted_and_take_memory(settings: dict[str, Any]) -> None:
    windows = {**settings, "max_seq_length": 8, "long_texts": "windows", "doc_stride": 2, "max_windows": 3}
    report = check_recipe(windows)
    assert report.problems == ()
    # the tokenizer adds no special tokens, so three windows keep 8 + 2 * 6 tokens
    told = (
        r"train: (\d+) of 21 texts are over 8 tokens: (\d+) windows in all; (\d+) were cut after 3 \(.* of all tokens\)"
    )
    found = re.fullmatch(told, line(report, "train: 1"))
    assert found is not None
    over, count, cut = map(int, found.groups())
    assert 21 + over <= count <= 21 + 2 * over
    (chosen,) = [each for each in report.lines if each.endswith("<- this run")]
    assert chosen.split()[:2] == ["8", f"{100 * cut / 21:.1f}"]
    assert "  max_seq_length (train)  texts cut  tokens cut  (at most 3 windows sharing 2 tokens)" in report.lines
    # four texts of three windows each may come together
    assert "(12 x 8 tokens; " in line(report, "memory of a step")


@pytest.mark.parametrize(
    ("labels", "given", "expected"),
    [
        (
            ("a", "a;b"),
            {"label_delimiter": ";", "class_weights": "a=2,b=1"},
            "what a label weighs where it is there: a 2",
        ),
        (("1", "2.5"), {"problem_type": "regression"}, "steps: "),
    ],
)
def test_other_problems_are_surveyed_as_they_will_run(
    labels: tuple[str, str], given: dict[str, Any], expected: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    csv = tmp_path / "rows.csv"
    rows = [f"a film number {index},{labels[index % 2]}" for index in range(28)]
    csv.write_text("text,label\n" + "\n".join(rows) + "\n")
    report = check_recipe({**settings, **given, "train_file": csv})
    assert report.problems == ()
    assert line(report, expected)
    assert line(report, "memory of a step")

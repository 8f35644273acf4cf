"""The command line: what it prints, its exit codes, and what it must not import."""

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM, TokenizersBackend

from hfpipe.cli import AnsweringGroup, app
from hfpipe.errors import ConfigError, Problem, Stopped
from hfpipe.inference.loading import load_classifier
from hfpipe.inference.predict import score_texts
from hfpipe.records.inference_settings import InferenceSettings, write_inference_settings
from hfpipe.records.sessions import begin_session, describe_settings, end_session

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "good", "bad", "film", "very", "long", "dull", "fine")
SHAPE: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
LABELS = ("neg", "pos")
ROWS = [("7", "a good film"), ("8", ""), ("9", "a very long, very dull film"), ("10", "bad"), ("11", " "), ("12", "NA")]


def hfpipe(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app([str(word) for word in words])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def tiny_tokenizer() -> TokenizersBackend:
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return TokenizersBackend(tokenizer_object=tokenizer, model_max_length=32, **names)


def record_done(folder: Path, settings: dict[str, object]) -> None:
    begin_session(folder, {"config": describe_settings(settings, {})}, from_step=0)
    end_session(folder, status="done", to_step=1)


@pytest.fixture(scope="module")
def classifier_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(0)
    names = dict(enumerate(LABELS))
    config = BertConfig(vocab_size=len(WORDS), id2label=names, label2id={"neg": 0, "pos": 1}, pad_token_id=0, **SHAPE)
    model = BertForSequenceClassification(config)
    torch.nn.init.normal_(model.classifier.weight, std=3.0)
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    record_done(folder, {"max_seq_length": 16})
    names = {"0": "neg", "1": "pos"}
    treated = InferenceSettings(("review",), label_column_name="label", label_names=names, max_seq_length=16)
    write_inference_settings(folder, treated)
    return folder


@pytest.fixture(scope="module")
def generator_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generator")
    LlamaForCausalLM(LlamaConfig(vocab_size=len(WORDS), eos_token_id=3, bos_token_id=2, **SHAPE)).save_pretrained(
        folder
    )
    tiny_tokenizer().save_pretrained(folder)
    record_done(folder, {"block_size": 16})
    return folder


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def probabilities(run_dir: Path, texts: Sequence[str]) -> list[list[float]]:
    loaded = load_classifier(run_dir)
    scored = score_texts(loaded.model, loaded.tokenizer, texts, treatment=loaded.treatment, batch_size=1)
    return [scores.tolist() for scores in scored]


# predict


def test_predict_keeps_every_row_and_column_in_order(
    classifier_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_csv(tmp_path / "in.csv", ("id", "review"), ROWS)
    output = tmp_path / "scored.csv"
    assert hfpipe("predict", classifier_run, file, "--output", output, "--batch-size", 2) == 0
    assert (
        "6 rows, 2 of them without text and so without a label; texts from column 'review'" in capsys.readouterr().err
    )
    with output.open(newline="", encoding="utf-8") as scored:
        rows = list(csv.DictReader(scored))
    assert list(rows[0]) == ["id", "review", "predicted_label", "probability_neg", "probability_pos"]
    assert [(row["id"], row["review"]) for row in rows] == ROWS
    empty = [row for row in rows if not row["review"].strip()]
    assert [(row["predicted_label"], row["probability_neg"]) for row in empty] == [("", "")] * 2
    expected = probabilities(classifier_run, [text for _, text in ROWS if text.strip()])
    for row, (neg, pos) in zip([row for row in rows if row["review"].strip()], expected, strict=True):
        assert float(row["probability_neg"]) == pytest.approx(neg, abs=2e-6)
        assert row["predicted_label"] == LABELS[pos > neg]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "scored.csv"]


def test_predict_writes_json_lines_with_their_types(classifier_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text('{"n": 1, "text": "a good film", "tags": ["x"]}\n{"n": null, "text": null, "tags": []}\n')
    assert hfpipe("predict", classifier_run, file, "--output", tmp_path / "out.jsonl") == 0
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert (first["n"], first["tags"], first["predicted_label"] in LABELS) == (1, ["x"], True)
    assert second == {
        **{"n": None, "text": None, "tags": []},
        **{"predicted_label": None, "probability_neg": None, "probability_pos": None},
    }
    assert hfpipe("predict", classifier_run, file, "--output", tmp_path / "out.tsv") == 0
    assert (tmp_path / "out.tsv").read_text().splitlines()[1].startswith('1\ta good film\t"[""x""]"\t')


def test_predict_writes_to_standard_output(
    classifier_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_csv(tmp_path / "in.csv", ("id", "review"), ROWS)
    assert hfpipe("predict", classifier_run, file, "--text-column", "review") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "id,review,predicted_label,probability_neg,probability_pos"
    assert len(lines) == 1 + len(ROWS)


def test_predict_refuses_before_it_writes(
    classifier_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_csv(tmp_path / "in.csv", ("id", "review"), ROWS)
    scored = write_csv(tmp_path / "scored.csv", ("review", "predicted_label"), [("a film", "pos")])
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("id,review\n1,good\n2,bad,film\n")
    for words, message in (
        ((file, "--output", scored), f"--output {scored}: the file exists; add --overwrite to replace it"),
        ((file, "--output", "x.xlsx"), "--output x.xlsx: the format is told by the suffix: .csv .tsv .jsonl; choose"),
        ((file, "--output", tmp_path / "no" / "x.csv"), "its folder does not exist; make it first"),
        ((file, "--text-column", "rview"), f"{file}:1: no column 'rview': the columns are 'id', 'review'; change"),
        ((scored, "--output", tmp_path / "y.csv"), f"{scored}:1: column 'predicted_label': the output would have it"),
        ((ragged, "--output", tmp_path / "y.csv"), f"{ragged}:3: 3 fields: the header has 2"),
    ):
        assert hfpipe("predict", classifier_run, *words) == 2
        assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "ragged.csv", "scored.csv"]
    assert scored.read_text().startswith("review,predicted_label")
    assert hfpipe("predict", classifier_run, file, "--output", scored, "--overwrite") == 0
    assert scored.read_text().startswith("id,review,predicted_label")


# evaluate


def test_evaluate_scores_a_labelled_file(
    classifier_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["a good film", "bad", "a very long film", "dull"]
    expected = probabilities(classifier_run, texts)
    predicted = [int(pos > neg) for neg, pos in expected]
    # the last label is wrong; the first is written as the file of the training had it
    labels = [str(predicted[0]), LABELS[predicted[1]], LABELS[predicted[2]], LABELS[1 - predicted[3]]]
    rows = [*zip(texts, labels, strict=True), ("no label", ""), ("", "pos")]
    file, output = write_csv(tmp_path / "in.csv", ("review", "label"), rows), tmp_path / "scores.json"
    assert hfpipe("evaluate", classifier_run, file, "--output", output) == 0
    printed = capsys.readouterr()
    assert "accuracy" in printed.out
    assert "6 rows from" in printed.err
    scores = json.loads(output.read_text())
    assert scores["eval_accuracy"] == 0.75
    truths = [*predicted[:3], 1 - predicted[3]]
    losses = [-torch.tensor(row[truth]).log().item() for row, truth in zip(expected, truths, strict=True)]
    assert scores["eval_loss"] == pytest.approx(sum(losses) / 4, rel=1e-5)
    assert sum(scores["per_class"][label]["support"] for label in LABELS) == 4


def test_predict_and_evaluate_read_compressed_files_in_their_encoding(
    classifier_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, output = tmp_path / "in.csv.gz", tmp_path / "out.csv"
    file.write_bytes(gzip.compress("review,label\nfilm é bad,neg\n".encode("cp1252")))
    for command, *words in (("predict", "--output", output), ("evaluate",)):
        assert hfpipe(command, classifier_run, file, *words) == 2
        assert f"{file}:2: byte 0xE9 at offset 18: not UTF-8" in capsys.readouterr().err
        assert hfpipe(command, classifier_run, file, "--encoding", "cp1252", *words) == 0
    assert output.read_text(encoding="utf-8").splitlines()[1].startswith("film é bad,neg,")


def test_evaluate_refuses_labels_the_model_does_not_know(
    classifier_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_csv(tmp_path / "in.csv", ("review", "label"), [("good", "Pos"), ("bad", "neg")])
    assert hfpipe("evaluate", classifier_run, file) == 2
    assert "no row of the training part has it; did you mean 'pos'?" in capsys.readouterr().err
    file = write_csv(tmp_path / "empty.csv", ("review", "label"), [("good", ""), ("", "neg")])
    assert hfpipe("evaluate", classifier_run, file) == 2
    assert f"{file}: 2 rows: none has both a text and a label" in capsys.readouterr().err


# generate


def test_generate_continues_each_prompt_the_same_way_for_the_same_seed(
    generator_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("generate", generator_run, "--prompt", "a good", "--prompt", "bad", "--max-new-tokens", 4)
    assert hfpipe(*words) == 0
    first = capsys.readouterr().out
    assert hfpipe(*words) == 0
    assert capsys.readouterr().out == first
    assert len(first.split("\n\n")) == 2
    assert first.startswith("a good")
    assert hfpipe(*words, "--top-p", 0) == 2
    assert "top_p: 0.0: must be above 0 and at most 1" in capsys.readouterr().err


# recipes, check, run


def test_recipes_lists_runs_and_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert hfpipe("recipes") == 0
    printed = capsys.readouterr().out
    assert "\nimdb/demo " in printed
    assert "\npretrain_causal_lm   Pretrain a causal language model from scratch" in printed


def test_mistakes_in_the_configuration_are_listed_with_their_places(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: finetune_classifier\nlearning_rte: 1e-4\ntrain_file: x.csv\nmodel_name_or_path: bert\n")
    for command in ("run", "check"):
        assert hfpipe(command, path, "--num_train_epochs", "-3") == 2
        message = capsys.readouterr().err
        assert "the configuration has 2 problems:" in message
        assert f"{path}:2: learning_rte" in message
        assert "did you mean 'learning_rate'?" in message
        assert "--num_train_epochs" in message


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError(Problem("--seed", "x", "must be a number")), 2, "--seed: x: must be a number"),
        (Stopped(15, 7), 143, "stopped by signal 15 at step 7; the same command goes on from here"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_every_command_answers_errors_in_the_same_way(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = typer.Typer(cls=AnsweringGroup)

    @failing.command()
    def fail() -> None:
        raise error

    @failing.command()
    def other() -> None: ...

    with pytest.raises(SystemExit) as ended:
        failing(["fail"])
    assert ended.value.code == code
    assert capsys.readouterr().err.strip().endswith(said)


def test_help_and_mistakes_import_no_framework(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: finetune_classifier\nlearning_rte: 1e-4\n")
    program = """
import contextlib, sys
from hfpipe.cli import AnsweringGroup, app
from hfpipe.errors import ConfigError, Problem, Stopped
for words in (["--help"], ["recipes"], ["run", sys.argv[1]], ["check", sys.argv[1]], ["run", "--help"]):
    with contextlib.suppress(SystemExit):
        app(words)
slow = ("torch", "transformers", "datasets", "pyarrow", "sklearn", "numpy", "pandas", "accelerate", "huggingface_hub")
print("imported:", *(name for name in slow if name in sys.modules))
"""
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported:"
    assert done.stderr.count("learning_rte") == 2

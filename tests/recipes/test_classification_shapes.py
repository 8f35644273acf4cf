"""Several labels, numbers, pairs and windows through the recipe: exact losses, and what plain transformers see."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, make_review, save_tiny_checkpoint
from test_exact_losses import CUTS, classify
from torch.nn import functional

from hfpipe.config import load_config
from hfpipe.config.plan import METRICS
from hfpipe.config.sections import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hfpipe.data.parts import LabelledPart, load_labelled_parts
from hfpipe.errors import ConfigError
from hfpipe.records.run_directory import read_json

Checkpoints = Callable[[str], Path]

WINDOWS = {"long_texts": "windows", "max_seq_length": 8, "doc_stride": 2, "max_windows": 3}
MULTI = {"label_delimiter": ";"}
NUMBER = {"problem_type": "regression", "label_column_name": "stars"}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """28 reviews each: with two labels that may both be there, with a number, and as pairs."""
    folder = tmp_path_factory.mktemp("tables")
    reviews = [make_review(index) for index in range(28)]
    labels = [";".join([label] + ["long"] * (len(text) > 60)) for text, label in reviews]
    lines = {
        "multi": ["text,labels", *(f"{text},{label}" for (text, _), label in zip(reviews, labels, strict=True))],
        "numbers": ["text,stars", *(f"{text},{index % 5 - 1.5}" for index, (text, _) in enumerate(reviews))],
        "pairs": [
            "first,second,label",
            *(f"{text},{reviews[(index * 3) % 28][0]},{label}" for index, (text, label) in enumerate(reviews)),
        ],
        "single": ["text,label", *(f"{text},{label}" for text, label in reviews)],
    }
    for name, rows in lines.items():
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")
    return {name: folder / f"{name}.csv" for name in lines}


PAIRS = {"text_column_names": "first", "text_pair_column_name": "second"}


@pytest.mark.parametrize(
    ("table", "architecture", "settings", "problem_type"),
    [
        ("multi", "bert", {**MULTI, "class_weights": "neg=1,pos=3,long=2", "label_smoothing_factor": 0.1}, MULTI_LABEL),
        ("numbers", "llama", NUMBER, REGRESSION),
        ("single", "bert", WINDOWS, SINGLE_LABEL),
        ("multi", "gpt2", {**MULTI, **WINDOWS, "window_pooling": "max"}, MULTI_LABEL),
    ],
)
def test_losses_are_equal_for_every_cut_and_scores_at_every_batch_size(
    table: str,
    architecture: str,
    settings: dict[str, Any],
    problem_type: str,
    tables: dict[str, Path],
    checkpoints: Checkpoints,
    tmp_path: Path,
) -> None:
    runs, scores = [], []
    for rows, micro_batches in CUTS[::2]:
        sizes = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": micro_batches}
        sizes["per_device_eval_batch_size"] = 9 - rows
        runs.append(classify(tables[table], checkpoints(architecture), tmp_path / str(rows), **settings, **sizes))
        scores.append(read_json(tmp_path / str(rows) / "metrics.json"))
    whole, cut = runs
    assert len(whole) == 6
    for name in ("loss", "grad_norm"):
        assert [event[name] for event in cut] == pytest.approx([event[name] for event in whole], rel=2e-5)
    for name in (f"eval_{name}" for name in METRICS[problem_type]):
        assert scores[1][name] == pytest.approx(scores[0][name], rel=2e-5), name


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_texts_that_fit_are_trained_on_as_without_windows(
    pooling: str, tables: dict[str, Path], checkpoints: Checkpoints, tmp_path: Path
) -> None:
    settings = {"max_seq_length": 60, "num_train_epochs": 1}
    plain = classify(tables["single"], checkpoints("bert"), tmp_path / "plain", **settings)
    windowed = {**settings, "long_texts": "windows", "doc_stride": 4, "window_pooling": pooling}
    events = classify(tables["single"], checkpoints("bert"), tmp_path / "windows", **windowed)
    assert [event["loss"] for event in events] == [event["loss"] for event in plain]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("plain", "windows")]
    assert weights[0] == weights[1]


def load_validation(table: Path, settings: dict[str, Any]) -> LabelledPart:
    given = {**settings, "train_file": table, "model_name_or_path": "x", "validation_fraction": 0.25}
    argv = [word for key, value in given.items() for word in (f"--{key}", str(value))]
    return load_labelled_parts(load_config(argv, recipe="finetune_classifier").data, seed=42).validation


def load_result(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval().requires_grad_(False)
    return model, AutoTokenizer.from_pretrained(folder)


def test_the_loss_of_windows_is_that_of_their_pooled_logits(
    tables: dict[str, Path], checkpoints: Checkpoints, tmp_path: Path
) -> None:
    classify(tables["single"], checkpoints("llama"), tmp_path, **WINDOWS, num_train_epochs=1)
    model, tokenizer = load_result(tmp_path)
    losses, counts = [], []
    part = load_validation(tables["single"], WINDOWS)
    for text, label in zip(part.texts, part.targets, strict=True):
        cut = {"truncation": True, "max_length": 8, "stride": 2, "return_overflowing_tokens": True}
        windows = tokenizer([text], **cut)["input_ids"][:3]
        logits = torch.cat([model(input_ids=torch.tensor([ids])).logits for ids in windows]).mean(dim=0)
        losses.append(functional.cross_entropy(logits, torch.tensor(label)).item())
        counts.append(len(windows))
    assert {1, 3} <= set(counts)
    assert read_json(tmp_path / "metrics.json")["eval_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_several_labels_come_back_as_probabilities_of_each(
    tables: dict[str, Path], checkpoints: Checkpoints, tmp_path: Path
) -> None:
    from transformers import pipeline

    settings = {**MULTI, "max_seq_length": 60, "sample_texts": "[a good film, bad]"}
    classify(tables["multi"], checkpoints("bert"), tmp_path, **settings, metric_for_best_model="f1_micro")
    model, tokenizer = load_result(tmp_path)
    assert model.config.problem_type == "multi_label_classification"
    assert model.config.id2label == {0: "long", 1: "neg", 2: "pos"}
    part = load_validation(tables["multi"], MULTI)
    logits = torch.cat([model(**tokenizer(text, return_tensors="pt")).logits for text in part.texts])
    expected = functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(part.targets))
    metrics = read_json(tmp_path / "metrics.json")
    assert metrics["eval_loss"] == pytest.approx(expected.item(), rel=1e-5)
    right = (logits >= 0).float() == torch.from_numpy(part.targets)
    assert metrics["eval_subset_accuracy"] == pytest.approx(right.all(dim=1).float().mean().item())
    answers = pipeline("text-classification", model=str(tmp_path), device="cpu")(part.texts[:1], top_k=None)[0]
    found = {answer["label"]: answer["score"] for answer in answers}
    assert found == pytest.approx(
        dict(zip(("long", "neg", "pos"), logits[0].sigmoid().tolist(), strict=True)), abs=1e-5
    )
    samples = read_json(tmp_path / "run.json")["samples"]
    assert [set(sample["labels"]) <= {"long", "neg", "pos"} for sample in samples] == [True, True]


def test_a_number_comes_back_as_it_is(tables: dict[str, Path], checkpoints: Checkpoints, tmp_path: Path) -> None:
    from transformers import pipeline

    settings = {**NUMBER, "max_seq_length": 60, "sample_texts": "[a good film]"}
    classify(tables["numbers"], checkpoints("gpt2"), tmp_path, **settings, metric_for_best_model="rmse")
    model, tokenizer = load_result(tmp_path)
    assert (model.config.problem_type, model.config.id2label) == ("regression", {0: "stars"})
    part = load_validation(tables["numbers"], NUMBER)
    found = torch.cat([model(**tokenizer(text, return_tensors="pt")).logits[:, 0] for text in part.texts])
    metrics = read_json(tmp_path / "metrics.json")
    expected = functional.mse_loss(found, torch.from_numpy(part.targets)).item()
    assert metrics["eval_loss"] == pytest.approx(expected, rel=1e-5)
    assert metrics["eval_rmse"] == pytest.approx(expected**0.5, rel=1e-5)
    (answer,) = pipeline("text-classification", model=str(tmp_path), device="cpu")(part.texts[0])
    assert answer == {"label": "stars", "score": pytest.approx(found[0].item(), abs=1e-5)}
    (sample,) = read_json(tmp_path / "run.json")["samples"]
    value = model(**tokenizer("a good film", return_tensors="pt")).logits.item()
    assert sample == {"text": "a good film", "value": pytest.approx(value, abs=1e-4)}


def save_bert_with_types(folder: Path, words: Sequence[str]) -> Path:
    """Save a tiny BERT and a tokenizer that tells the texts of a pair apart."""
    from transformers import BertConfig, BertModel, BertTokenizer

    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate((*special, *sorted(set(words))))})
    torch.manual_seed(0)
    model = BertModel(BertConfig(**TINY["bert"], vocab_size=len(tokenizer), pad_token_id=0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8)  # so that a wrong type shows
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_pair_is_scored_as_plain_transformers_score_it(tables: dict[str, Path], tmp_path: Path) -> None:
    from transformers import pipeline

    words = tables["pairs"].read_text().replace(",", " ").split()
    checkpoint = save_bert_with_types(tmp_path / "bert", words)
    classify(tables["pairs"], checkpoint, tmp_path / "run", **PAIRS, num_train_epochs=1)
    model, tokenizer = load_result(tmp_path / "run")
    part = load_validation(tables["pairs"], PAIRS)
    assert part.text_pairs is not None
    encoded = [
        tokenizer(first, second, truncation="longest_first", max_length=24, return_tensors="pt")
        for first, second in zip(part.texts, part.text_pairs, strict=True)
    ]
    assert all(each["token_type_ids"].max() == 1 for each in encoded)
    logits = torch.cat([model(**each).logits for each in encoded])
    loss = functional.cross_entropy(logits, torch.from_numpy(part.targets)).item()
    assert read_json(tmp_path / "run" / "metrics.json")["eval_loss"] == pytest.approx(loss, rel=1e-5)
    ignoring = torch.cat([model(input_ids=each["input_ids"]).logits for each in encoded])
    assert not torch.allclose(ignoring, logits, atol=1e-3)
    classifier = pipeline("text-classification", model=str(tmp_path / "run"), device="cpu")
    pair = {"text": part.texts[0], "text_pair": part.text_pairs[0]}
    answer = classifier(pair, truncation="longest_first", max_length=24)
    assert answer["score"] == pytest.approx(logits[0].softmax(dim=0).max().item(), abs=1e-5)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_causal_model_pools_a_real_end_of_text_by_the_mask(
    architecture: str, tables: dict[str, Path], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    checkpoint = tmp_path / "checkpoint"
    save_tiny_checkpoint(architecture, checkpoint)
    tokenizer, model = AutoTokenizer.from_pretrained(checkpoint), AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer.pad_token, model.config.pad_token_id = tokenizer.eos_token, tokenizer.eos_token_id
    tokenizer.save_pretrained(checkpoint)
    model.save_pretrained(checkpoint)
    csv = tmp_path / "ends.csv"
    ended = [f"{text}{tokenizer.eos_token},{label}" for text, label in map(make_review, range(28))]
    csv.write_text("text,label\n" + "\n".join(ended) + "\n")
    classify(csv, checkpoint, tmp_path / "run", max_seq_length=60)

    model, tokenizer = load_result(tmp_path / "run")
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    part = load_validation(csv, {})
    batch = tokenizer(part.texts, padding=True, return_tensors="pt")
    together = model(**batch).logits
    alone = torch.cat([model(**tokenizer(text, return_tensors="pt")).logits for text in part.texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    last = batch["attention_mask"].sum(dim=1) - 1
    rows = torch.arange(len(last))
    assert (batch["input_ids"][rows, last] == tokenizer.eos_token_id).all()
    hidden = model.base_model(**batch).last_hidden_state[rows, last]
    torch.testing.assert_close(model.score(hidden), together, atol=1e-5, rtol=1e-5)
    loss = functional.cross_entropy(together, torch.from_numpy(part.targets)).item()
    assert read_json(tmp_path / "run" / "metrics.json")["eval_loss"] == pytest.approx(loss, rel=1e-5)
    answers = pipeline("text-classification", model=str(tmp_path / "run"), device="cpu")(part.texts, batch_size=7)
    scores = together.softmax(dim=1).max(dim=1).values
    assert [answer["score"] for answer in answers] == pytest.approx(scores.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ("single", {**WINDOWS, "doc_stride": 7}, r"--doc_stride 7: over half of max_seq_length \(8\)"),
        ("single", {**WINDOWS, "max_seq_length": 4, "doc_stride": 2}, "a doc_stride of 2 a window holds nothing new"),
        ("pairs", {**PAIRS, **WINDOWS}, "--long_texts windows: windows is for single texts"),
        ("pairs", {**PAIRS, "sample_texts": "[a]"}, "a sample is one text"),
        ("multi", {**MULTI, "metric_for_best_model": "accuracy"}, "--metric_for_best_model accuracy: no such metric"),
        ("numbers", {**NUMBER, "metric_for_best_model": "f1"}, "no such metric of regression; use one of loss, mse, "),
        ("multi", {**MULTI, "class_weights": "pos=1,neg=2"}, "class_weights: long: has no weight"),
    ],
)
def test_what_does_not_go_together_is_refused(
    shape: str, settings: dict[str, Any], message: str, tables: dict[str, Path], tmp_path: Path
) -> None:
    checkpoint = save_bert_with_types(tmp_path / "bert", ["good", "bad"])
    with pytest.raises(ConfigError, match=message):
        classify(tables[shape], checkpoint, tmp_path / "run", **settings)

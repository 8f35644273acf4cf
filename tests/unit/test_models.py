"""Models: padding tokens and pooling, named sizes, overrides, and tokenizers trained on the spot."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_review
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from hfpipe.config import ModelSettings
from hfpipe.data.places import Places
from hfpipe.data.tokens import LengthRule, tokenize_texts
from hfpipe.errors import ConfigError
from hfpipe.models.causal import load_causal_lm, new_config
from hfpipe.models.classifiers import load_classifier
from hfpipe.models.sizes import SIZES
from hfpipe.models.tokenizers import END_OF_TEXT, load_tokenizer, train_tokenizer
from hfpipe.training.datasets import LabelledRows

TOKENIZER = train_tokenizer([make_review(index)[0] for index in range(40)], 320, show_progress=False)


@given(st.text())
def test_a_byte_level_tokenizer_gives_every_text_back(text: str) -> None:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids) == text or END_OF_TEXT in text or "<|pad|>" in text


def test_padding_and_end_of_text_are_different_tokens() -> None:
    assert (TOKENIZER.eos_token, TOKENIZER.pad_token) == (END_OF_TEXT, "<|pad|>")
    assert len(TOKENIZER) == 320


@pytest.mark.parametrize(("size", "millions"), [("tiny", 3), ("small", 34), ("base", 98)])
def test_named_sizes_have_the_parameters_they_promise(size: str, millions: int) -> None:
    settings = ModelSettings(model_size=size, config_overrides={"vocab_size": 16_384})
    config = new_config(settings, TOKENIZER, 1_024)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6) == millions


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "qwen3", "gpt_neox"])
def test_other_architectures_take_the_size(model_type: str) -> None:
    model = load_causal_lm(ModelSettings(model_size="tiny", model_type=model_type), TOKENIZER, block_size=32)
    assert model.config.hidden_size == SIZES["tiny"]["hidden_size"]
    assert model.config.num_hidden_layers == SIZES["tiny"]["num_hidden_layers"]
    assert model.config.max_position_embeddings == 32
    assert model.config.vocab_size == 320


def test_a_block_over_the_positions_is_refused() -> None:
    settings = ModelSettings(model_size="tiny", config_overrides={"max_position_embeddings": 16})
    with pytest.raises(ConfigError) as error:
        load_causal_lm(settings, TOKENIZER, block_size=32)
    assert str(error.value) == (
        "the configuration has 1 problem:\n  - block_size 32: over the model's 16 positions; lower it, or raise "
        "max_position_embeddings by config_overrides"
    )


def test_an_override_that_names_no_field_is_refused() -> None:
    settings = ModelSettings(model_size="tiny", config_overrides={"hiden_size": 16})
    with pytest.raises(ConfigError, match="hiden_size: no field of a llama config; did you mean 'hidden_size'"):
        load_causal_lm(settings, TOKENIZER, block_size=32)


def test_an_override_of_another_type_is_refused() -> None:
    settings = ModelSettings(model_size="tiny", config_overrides={"hidden_size": "wide"})
    with pytest.raises(ConfigError, match="config_overrides: hidden_size=wide: "):
        load_causal_lm(settings, TOKENIZER, block_size=32)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_real_end_of_text_is_pooled_although_the_checkpoint_pads_with_it(
    architecture: str, checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    source = checkpoints(architecture)
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(source)
    model.config.pad_token_id = tokenizer.eos_token_id
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)

    settings = ModelSettings(model_name_or_path=str(tmp_path))
    loaded_tokenizer = load_tokenizer(settings)
    torch.manual_seed(0)
    loaded = load_classifier(settings, ("neg", "pos"), loaded_tokenizer)
    assert loaded_tokenizer.pad_token_id != loaded_tokenizer.eos_token_id
    assert loaded.model.config.pad_token_id == loaded_tokenizer.pad_token_id
    assert loaded.new_parameters == ("score.weight",)

    # the second text ends in a real end of text; padded beside a longer one it must score as it does alone
    texts = ["a good film with music and a plot", f"bad{END_OF_TEXT}"]
    rows = LabelledRows(
        tokenize_texts(loaded_tokenizer, texts, rule=LengthRule(32)),
        np.zeros(2, dtype=np.int64),
        Places(("t.csv",), np.zeros(2, dtype=np.int64), np.array([2, 3])),
        loaded_tokenizer.pad_token_id,
    )
    together, alone = rows.__getitems__([0, 1]), rows.__getitems__([1])
    model = loaded.model.eval()
    with torch.inference_mode():
        padded = model(input_ids=together["input_ids"], attention_mask=together["attention_mask"]).logits[1]
        single = model(input_ids=alone["input_ids"], attention_mask=alone["attention_mask"]).logits[0]
    torch.testing.assert_close(padded, single)
    end = alone["input_ids"][0, -1]
    assert end == loaded_tokenizer.eos_token_id
    with torch.inference_mode():
        before = model(input_ids=alone["input_ids"][:, :-1], attention_mask=alone["attention_mask"][:, :-1]).logits[0]
    assert not torch.allclose(padded, before), "the token before the end of text was pooled"


def test_tokenizer_files_cannot_cut_or_pad_on_their_own(tmp_path: Path) -> None:
    tokenizer = train_tokenizer([make_review(index)[0] for index in range(40)], 320, show_progress=False)
    tokenizer.backend_tokenizer.enable_truncation(max_length=3)
    tokenizer.backend_tokenizer.enable_padding(length=7, pad_id=1, pad_token="<|pad|>")
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(ModelSettings(model_name_or_path=str(tmp_path)))
    texts = ["good", "a good film with music and a plot"]
    whole = tokenize_texts(loaded, texts, rule=LengthRule(None))
    assert [loaded.decode(whole.row(index)) for index in (0, 1)] == texts
    cut = tokenize_texts(loaded, texts, rule=LengthRule(5))
    assert cut.lengths.tolist() == [len(whole.row(0)), 5]
    assert cut.full_lengths.tolist() == whole.full_lengths.tolist()
    assert cut.cut_rows.tolist() == [1]


def test_a_folder_that_is_not_there_is_named() -> None:
    settings = replace(ModelSettings(), model_name_or_path="./nowhere")
    with pytest.raises(ConfigError, match=r"model_name_or_path: \./nowhere: no such folder"):
        load_tokenizer(settings)


def test_types_of_tokens_are_left_out_where_the_model_knows_one_only(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, BertConfig, BertModel, BertTokenizer

    tokenizer = BertTokenizer(
        vocab={word: index for index, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"))}
    )
    for types, expected in ((2, True), (1, False)):
        folder = tmp_path / str(types)
        config = BertConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, type_vocab_size=types
        )
        config.vocab_size = len(tokenizer)
        BertModel(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        settings = ModelSettings(model_name_or_path=str(folder))
        own = load_tokenizer(settings)
        load_classifier(settings, ("neg", "pos"), own)
        found = tokenize_texts(own, ["a"], text_pairs=["a"], rule=LengthRule(8)).type_ids
        assert (found is not None) == expected
        own.save_pretrained(folder / "run")
        assert ("token_type_ids" in AutoTokenizer.from_pretrained(folder / "run")("a", "a")) == expected


@pytest.mark.parametrize(
    ("problem_type", "names"),
    [
        ("multi_label_classification", ("a", "b", "c")),
        ("regression", ("stars",)),
        ("single_label_classification", "ab"),
    ],
)
def test_the_config_says_what_the_labels_are(
    problem_type: str, names: tuple[str, ...], checkpoints: Callable[[str], Path]
) -> None:
    settings = ModelSettings(model_name_or_path=str(checkpoints("bert")))
    loaded = load_classifier(settings, names, load_tokenizer(settings), problem_type=problem_type)
    assert loaded.model.config.problem_type == problem_type
    assert loaded.model.config.id2label == dict(enumerate(names))
    assert loaded.model.config.num_labels == len(names)


def test_texts_are_cut_on_the_right_whatever_the_tokenizer_file_says(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["a good film"], 300, show_progress=False)
    tokenizer.truncation_side = "left"
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(ModelSettings(model_name_or_path=str(tmp_path))).truncation_side == "right"

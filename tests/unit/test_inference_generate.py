"""Continuations of tiny models: the same under a seed, ended and cut where they must be, refusals."""

import dataclasses
import logging
import math

import pytest
import torch
from tiny_models import SENTENCES, llama_config, make_generator, make_tokenizer
from tokenizers import Tokenizer
from tokenizers.decoders import Metaspace as MetaspaceDecoder
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing
from transformers import GPT2Config, PreTrainedModel, PreTrainedTokenizerFast

from hfpipe.errors import ConfigError
from hfpipe.inference.generate import GenerationSettings, continue_prompts


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="module")
def generator() -> PreTrainedModel:
    return make_generator(llama_config())


def test_continuations_are_seeded(generator: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    drawn = GenerationSettings(max_new_tokens=12, temperature=1.0, top_p=1.0, seed=1)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    found = continue_prompts(generator, tokenizer, ["The film", "A plot"], drawn)
    assert torch.equal(torch.get_rng_state(), before)
    assert found[0].startswith("The film") and found[1].startswith("A plot")
    assert all(len(text) > 12 for text in found)
    assert continue_prompts(generator, tokenizer, ["A plot", "The film"], drawn) == found[::-1]
    assert continue_prompts(generator, tokenizer, ["The film"], dataclasses.replace(drawn, seed=2)) != found[:1]


def test_temperature_0_takes_the_likeliest_token(
    generator: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    greedy = GenerationSettings(max_new_tokens=6, temperature=0.0)
    ids = tokenizer("The film")["input_ids"]
    new: list[int] = []
    with torch.inference_mode():
        while len(new) < 6 and 0 not in new:
            new.append(int(generator(torch.tensor([ids + new])).logits[0, -1].argmax()))
    expected = tokenizer.decode(ids + new, skip_special_tokens=True)
    assert continue_prompts(generator, tokenizer, ["The film"], greedy) == [expected]
    assert continue_prompts(generator, tokenizer, ["The film"], dataclasses.replace(greedy, seed=3)) == [expected]


def make_generator_of_one_token(token_id: int) -> PreTrainedModel:
    model = make_generator(llama_config(num_hidden_layers=0, tie_word_embeddings=False))
    with torch.no_grad():
        model.model.embed_tokens.weight.fill_(1.0)
        model.lm_head.weight.fill_(0.0)
        model.lm_head.weight[token_id] = 10.0
    return model


def test_a_continuation_stops_at_the_end_of_text(tokenizer: PreTrainedTokenizerFast) -> None:
    model = make_generator_of_one_token(tokenizer.eos_token_id)
    assert continue_prompts(model, tokenizer, ["The film"], GenerationSettings(max_new_tokens=9)) == ["The film"]


def test_a_token_that_closes_every_text_does_not_close_the_prompt(
    generator: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    closing = make_tokenizer()
    closing.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)]
    )
    assert closing("film")["input_ids"] == [*tokenizer("film")["input_ids"], 0]
    drawn = GenerationSettings(max_new_tokens=8)
    assert continue_prompts(generator, closing, ["film"], drawn) == continue_prompts(
        generator, tokenizer, ["film"], drawn
    )


def test_the_space_before_a_continuation_is_kept() -> None:
    words = Tokenizer(WordLevel({"<unk>": 0, "▁a": 1, "▁b": 2}, unk_token="<unk>"))
    words.pre_tokenizer, words.decoder = Metaspace(), MetaspaceDecoder()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
    model = make_generator_of_one_token(2)
    assert tokenizer.decode([2, 2]) == "b b"  # decoded alone, it loses its space
    assert continue_prompts(model, tokenizer, ["a"], GenerationSettings(max_new_tokens=2)) == ["a b b"]


def test_an_empty_prompt_begins_a_text(generator: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    [found] = continue_prompts(generator, tokenizer, [""], GenerationSettings(max_new_tokens=5))
    assert found


def test_an_empty_prompt_without_a_token_to_begin_with(generator: PreTrainedModel) -> None:
    bare = make_tokenizer()
    bare.bos_token = bare.eos_token = None
    with pytest.raises(ConfigError) as caught:
        continue_prompts(generator, bare, [""], GenerationSettings())
    assert str(caught.value) == (
        "the configuration has 1 problem:\n  - prompt: '': the tokenizer has no token to begin a text with; "
        "give a prompt of at least one character"
    )


@pytest.mark.parametrize("new_tokens", [10, 47, 500])
def test_a_long_prompt_is_cut_from_the_left(
    new_tokens: int, tokenizer: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    gpt2 = GPT2Config(vocab_size=300, n_embd=16, n_layer=1, n_head=2, n_positions=48, eos_token_id=0, bos_token_id=0)
    model = make_generator(gpt2)
    prompt = " ".join(SENTENCES)
    count, room = len(tokenizer(prompt)["input_ids"]), 48 - min(new_tokens, 47)
    assert count > 48
    greedy = GenerationSettings(max_new_tokens=new_tokens, temperature=0.0)
    with caplog.at_level(logging.WARNING, logger="hfpipe"):
        [found] = continue_prompts(model, tokenizer, [prompt], greedy)
    kept = tokenizer.decode(tokenizer(prompt)["input_ids"][-room:])
    assert [found.removeprefix(prompt)] == [
        text.removeprefix(kept) for text in continue_prompts(model, tokenizer, [kept], greedy)
    ]
    assert found.startswith(prompt)
    assert [record.getMessage() for record in caplog.records] == [
        f"prompt of {count:,} tokens: the model has room for {room:,} before the continuation; "
        f"the first {count - room:,} do not count"
    ]


def test_sampling_settings_out_of_range() -> None:
    with pytest.raises(ConfigError) as caught:
        GenerationSettings(max_new_tokens=0, temperature=math.nan, top_p=0.0, seed=-1)
    assert str(caught.value) == (
        "the configuration has 4 problems:\n"
        "  - max_new_tokens: 0: must be at least 1\n"
        "  - temperature: nan: must be 0 (greedy) or above, and finite\n"
        "  - top_p: 0.0: must be above 0 and at most 1\n"
        "  - seed: -1: must be between 0 and 4,294,967,295"
    )

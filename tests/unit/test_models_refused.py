"""Models that would not train as asked: encoders as language models, shapes, vocabularies and files that do not fit."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_review
from transformers import AutoConfig, AutoModelForCausalLM

from hfpipe.config import ModelSettings
from hfpipe.errors import ConfigError
from hfpipe.models.causal import check_causal, load_causal_lm
from hfpipe.models.classifiers import load_classifier
from hfpipe.models.tokenizers import PADDING, load_tokenizer, train_tokenizer

TOKENIZER = train_tokenizer([make_review(index)[0] for index in range(40)], 320, show_progress=False)


def message(load: Callable[[], object]) -> str:
    """Return what the one problem says that `load` refuses."""
    with pytest.raises(ConfigError) as error:
        load()
    (problem,) = error.value.problems
    return str(problem)


def test_a_folder_without_a_tokenizer_is_refused(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(checkpoints("bert") / name, tmp_path)
    expected = f"{tmp_path}: holds no tokenizer; save the model's tokenizer beside it, or name one by tokenizer_name"
    assert message(lambda: load_tokenizer(ModelSettings(model_name_or_path=str(tmp_path)))) == (
        f"model_name_or_path: {expected}"
    )
    settings = ModelSettings(model_name_or_path="./any", tokenizer_name=str(tmp_path))
    assert message(lambda: load_tokenizer(settings)) == f"tokenizer_name: {expected}"


SMALL_BERT = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def says_of_earlier_tokens(model: Any, last: int) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(input_ids=torch.tensor([[5, 6, 7, 8, last]])).logits[:, :-1]


def test_an_encoder_trained_as_a_language_model_looks_back_only(checkpoints: Callable[[str], Path]) -> None:
    new = ModelSettings(model_size="tiny", model_type="bert", config_overrides=SMALL_BERT)
    checkpoint = checkpoints("bert")
    continued = ModelSettings(model_name_or_path=str(checkpoint))
    for settings, tokenizer in ((new, TOKENIZER), (continued, load_tokenizer(continued))):
        model = load_causal_lm(settings, tokenizer, block_size=32)
        assert model.config.is_decoder
        torch.testing.assert_close(says_of_earlier_tokens(model, 9), says_of_earlier_tokens(model, 10))


def test_an_encoder_kept_one_by_an_override_is_refused(checkpoints: Callable[[str], Path]) -> None:
    overrides = {**SMALL_BERT, "is_decoder": False}
    new = ModelSettings(model_size="tiny", model_type="bert", config_overrides=overrides)
    assert message(lambda: load_causal_lm(new, TOKENIZER, block_size=32)).startswith(
        "model_type: bert: is not causal: what it says of a token depends on later ones (by 0.0"
    )
    path = str(checkpoints("bert"))
    settings = ModelSettings(model_name_or_path=path, config_overrides={"is_decoder": False})
    assert message(lambda: load_causal_lm(settings, load_tokenizer(settings), block_size=32)).startswith(
        f"model_name_or_path: {path}: is not causal: "
    )


def test_an_architecture_that_looks_ahead_is_refused() -> None:
    config = AutoConfig.for_model("xlnet", vocab_size=320, d_model=32, n_layer=1, n_head=2, d_inner=32)
    model = AutoModelForCausalLM.from_config(config)
    assert message(lambda: check_causal(ModelSettings(model_type="xlnet"), model)).startswith(
        "model_type: xlnet: is not causal: what it says of a token depends on later ones (by 0.0"
    )


def test_an_architecture_that_does_not_come_in_the_size_is_refused() -> None:
    settings = ModelSettings(model_size="tiny", model_type="xlnet")
    assert message(lambda: load_causal_lm(settings, TOKENIZER, block_size=32)) == (
        "model_type: xlnet: cannot be loaded; ValueError: `d_head` (64) should be equal to `d_model // n_head` (32)"
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("model_type", ["llama", "gpt2", "mixtral", "bert"])
def test_models_that_look_back_are_taken_in_every_type_and_draw_what_they_drew(model_type: str, dtype: str) -> None:
    overrides = {"num_local_experts": 4} if model_type == "mixtral" else None
    settings = ModelSettings(model_size="tiny", model_type=model_type, config_overrides=overrides, dtype=dtype)
    torch.manual_seed(3)
    model = load_causal_lm(settings, TOKENIZER, block_size=32)
    after = torch.rand(1)
    assert model.training  # as it was built
    torch.manual_seed(3)
    AutoModelForCausalLM.from_config(model.config, dtype=model.dtype)
    assert torch.equal(torch.rand(1), after)


def test_shapes_that_do_not_go_together_are_refused() -> None:
    settings = ModelSettings(model_size="tiny", config_overrides={"num_attention_heads": 3})
    found = message(lambda: load_causal_lm(settings, TOKENIZER, block_size=32))
    assert found.startswith("model_type: llama: does not run: ")
    assert found.endswith("; see config_overrides and dtype")


def test_weights_of_other_shapes_are_refused(checkpoints: Callable[[str], Path]) -> None:
    path = str(checkpoints("gpt2"))
    settings = ModelSettings(model_name_or_path=path, config_overrides={"n_embd": 64})
    assert message(lambda: load_causal_lm(settings, load_tokenizer(settings), block_size=32)) == (
        f"model_name_or_path: {path}: cannot be loaded; its weights have other shapes than this config; "
        "see config_overrides"
    )


def test_weights_cut_short_are_refused(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "cut"
    shutil.copytree(checkpoints("gpt2"), path)
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    settings = ModelSettings(model_name_or_path=str(path))
    tokenizer = load_tokenizer(settings)
    expected = f"model_name_or_path: {path}: cannot be loaded; its weights are cut short or broken ("
    assert message(lambda: load_causal_lm(settings, tokenizer, block_size=32)).startswith(expected)
    assert message(lambda: load_classifier(settings, ("neg", "pos"), tokenizer)).startswith(expected)


def test_a_head_may_have_other_labels_and_nothing_else_another_shape(
    checkpoints: Callable[[str], Path], tmp_path: Path
) -> None:
    source = ModelSettings(model_name_or_path=str(checkpoints("bert")))
    tokenizer = load_tokenizer(source)
    load_classifier(source, ("neg", "pos"), tokenizer).model.save_pretrained(tmp_path)
    three = load_classifier(ModelSettings(model_name_or_path=str(tmp_path)), ("a", "b", "c"), tokenizer)
    assert three.new_parameters == ("classifier.weight", "classifier.bias")
    # the checkpoint has 2 types of tokens, and 3 is the number of labels too
    for overrides, name in (({"hidden_size": 64}, "bert.embeddings.LayerNorm.bias"), ({"type_vocab_size": 3}, "bert")):
        settings = ModelSettings(model_name_or_path=str(tmp_path), config_overrides=overrides)
        found = message(lambda settings=settings: load_classifier(settings, ("a", "b", "c"), tokenizer))
        assert found.startswith(f"model_name_or_path: {tmp_path}: {name}")
    assert found == (
        f"model_name_or_path: {tmp_path}: bert.embeddings.token_type_embeddings.weight has shape (2, 32) there and "
        "(3, 32) in this config; see config_overrides"
    )


def test_a_classifier_knows_every_token_of_its_tokenizer(checkpoints: Callable[[str], Path]) -> None:
    settings = ModelSettings(model_name_or_path=str(checkpoints("bert")), config_overrides={"vocab_size": 5})
    tokenizer = load_tokenizer(settings)
    assert message(lambda: load_classifier(settings, ("neg", "pos"), tokenizer)) == (
        f"tokenizer_name: {len(tokenizer)} tokens: more than the model's vocabulary of 5; "
        "use the tokenizer of the checkpoint"
    )


@pytest.mark.parametrize("role", ["unk_token", "mask_token"])
def test_padding_is_no_other_special_token(role: str, checkpoints: Callable[[str], Path]) -> None:
    settings = ModelSettings(model_name_or_path=str(checkpoints("bert")))
    tokenizer = load_tokenizer(settings)
    token = tokenizer.convert_ids_to_tokens(300)
    tokenizer.add_special_tokens({role: token, "pad_token": token})
    assert tokenizer.pad_token_id == 300
    model = load_classifier(settings, ("neg", "pos"), tokenizer).model
    assert tokenizer.pad_token == PADDING
    assert model.config.pad_token_id == tokenizer.pad_token_id


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is an accelerator, where it trains")
def test_flex_attention_without_an_accelerator_is_refused(checkpoints: Callable[[str], Path]) -> None:
    settings = ModelSettings(model_name_or_path=str(checkpoints("llama")), attn_implementation="flex_attention")
    tokenizer = load_tokenizer(settings)
    expected = (
        "attn_implementation: flex_attention: has no backward pass on a CPU, and there is no accelerator; "
        "use sdpa or leave it out"
    )
    assert message(lambda: load_causal_lm(settings, tokenizer, block_size=32)) == expected
    assert message(lambda: load_classifier(settings, ("neg", "pos"), tokenizer)) == expected

"""What is put right before a model is sharded, what is checked afterwards, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.dataclasses import DeepSpeedPlugin
from tiny_models import bert_config, llama_config, make_classifier, make_generator
from transformers import TrainingArguments
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled, set_hf_deepspeed_config

from hfpipe.config import load_config
from hfpipe.errors import ConfigError, TrainingError
from hfpipe.training.arguments import check_baselines
from hfpipe.training.sharding import check_launcher, check_trained, choose_units, give_memory, prepare_fsdp


def told(call: Callable[[], object]) -> str:
    with pytest.raises(TrainingError) as caught:
        call()
    return str(caught.value).removeprefix("the training has 1 problem:\n  - ")


def plugin(version: int = 2, **given: list[str]) -> FullyShardedDataParallelPlugin:
    return FullyShardedDataParallelPlugin(fsdp_version=version, auto_wrap_policy="transformer_based_wrap", **given)


def test_embeddings_are_no_unit_of_their_own() -> None:
    bert = make_classifier(bert_config())
    assert "BertEmbeddings" in bert._no_split_modules
    assert choose_units(bert) == ["BertLayer"]
    assert choose_units(make_generator(llama_config())) == ["LlamaDecoderLayer"]


def test_units_that_the_launcher_names_are_kept() -> None:
    chosen, named = plugin(), plugin(transformer_cls_names_to_wrap=["BertAttention"])
    for each in (chosen, named):
        prepare_fsdp(each, make_classifier(bert_config()))
    assert chosen.transformer_cls_names_to_wrap == ["BertLayer"]
    assert named.transformer_cls_names_to_wrap == ["BertAttention"]


def test_parameters_without_memory_get_some_of_their_own() -> None:
    model = make_generator(llama_config(tie_word_embeddings=True))
    kept = model.model.norm.weight
    model.model.layers[0].to("meta")
    on_meta = model.lm_head.weight.detach().to("meta")
    model.lm_head.weight = model.model.embed_tokens.weight = torch.nn.Parameter(on_meta)
    give_memory(model)
    assert not any(each.is_meta for each in model.parameters())
    addresses = [each.data_ptr() for each in model.parameters()]
    assert len(set(addresses)) == len(addresses)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.model.norm.weight is kept


def test_an_optimizer_that_misses_a_parameter_is_refused() -> None:
    model = torch.nn.Linear(2, 2)
    check_trained(model, torch.optim.SGD(model.parameters()))
    optimizer = torch.optim.SGD(model.parameters())
    optimizer.param_groups[0]["params"][1] = model.weight  # as two addresses that are equal lead to
    assert told(lambda: check_trained(model, optimizer)) == (
        "the accelerate file: weight: after sharding, the optimizer does not train it, or not once; "
        "set fsdp_cpu_ram_efficient_loading: false"
    )


def test_what_cannot_be_sharded_is_refused(tmp_path: Path) -> None:
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    first = {"ACCELERATE_USE_FSDP": "true"}
    for version in ({}, {"FSDP_VERSION": "1"}):
        assert told(lambda given=version: check_launcher(args, first | given)) == (
            "the accelerate file: fsdp_version 1: its flat parameters have no names to be saved by; set fsdp_version: 2"
        )
    check_launcher(args, first | {"FSDP_VERSION": "2"})
    args.deepspeed_plugin = DeepSpeedPlugin(zero_stage=3, zero3_init_flag=True)
    assert told(lambda: check_launcher(args, {})) == (
        "the accelerate file: zero3_init_flag true: the model would be cut up while it is loaded, and its new parts "
        "and sizes not be seen whole; set zero3_init_flag: false in deepspeed_config; each process then cuts it up "
        "once it is loaded"
    )


def test_networks_are_no_baselines_of_a_sharded_model(tmp_path: Path) -> None:
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    words = ["train_file=a.csv", "model_name_or_path=m"]
    config = load_config([*words, "baselines=[tfidf, lstm, gru]"], recipe="finetune_classifier")
    rule = "lstm, gru: networks are not trained as baselines where the launcher shards the model; leave them out"
    check_baselines(config, args, {})
    with pytest.raises(ConfigError, match=rule):
        check_baselines(config, args, {"ACCELERATE_USE_FSDP": "true"})
    args.deepspeed_plugin = DeepSpeedPlugin(zero_stage=2)
    with pytest.raises(ConfigError, match=rule):
        check_baselines(config, args, {})
    check_baselines(load_config(words, recipe="finetune_classifier"), args, {})


def test_a_model_is_loaded_whole_under_zero_3(tmp_path: Path) -> None:
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    args.deepspeed_plugin = DeepSpeedPlugin(zero_stage=3, zero3_init_flag=False)
    set_hf_deepspeed_config(args.deepspeed_plugin.hf_ds_config)
    assert is_deepspeed_zero3_enabled()
    check_launcher(args, {})
    assert not is_deepspeed_zero3_enabled()

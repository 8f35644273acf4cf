"""What is put right before a model is sharded, what is checked afterwards, and what is refused."""

from collections.abc import Callable

import pytest
import torch
from accelerate.utils import FullyShardedDataParallelPlugin
from tiny_models import bert_config, llama_config, make_classifier, make_generator

from hfpipe.errors import TrainingError
from hfpipe.training.sharding import check_trained, choose_units, give_memory, prepare_fsdp
from hfpipe.training.zero_state import refuse_stage_3


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


def test_what_cannot_be_sharded_is_refused() -> None:
    model = make_classifier(bert_config())
    assert told(lambda: prepare_fsdp(plugin(1), model)) == (
        "the accelerate file: fsdp_version 1: its flat parameters have no names to be saved by; set fsdp_version: 2"
    )
    model.classifier.weight.requires_grad_(False)
    assert told(lambda: prepare_fsdp(plugin(), model)) == (
        "the accelerate file: FSDP: a model with frozen parameters is not sharded here; "
        "launch an adapter with accelerate_configs/multi_gpu.yaml"
    )
    refuse_stage_3(2)
    assert told(lambda: refuse_stage_3(3)) == (
        "the accelerate file: zero_stage 3: its weights are in pieces that are not put together here; "
        "set zero_stage: 2, or shard the weights too with accelerate_configs/fsdp2.yaml"
    )

"""A last layer computed for the first token alone: the logits, losses and gradients are those of the whole layer."""

import copy
from typing import Any

import pytest
import torch
from test_packed_layers import (
    CONFIGS,
    NO_DROPOUT,
    SIZES,
    TOKENS,
    batch,
    build,
    check_same,
    compute_anew,
    packed,
    train,
)
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, ElectraConfig, PreTrainedConfig, PreTrainedModel

from hfpipe.config.model_settings import ModelSettings
from hfpipe.models.adapters import add_adapter
from hfpipe.models.compute import count_token_cost
from hfpipe.models.dropout import quicken_dropout
from hfpipe.models.layer_stacks import Unsuited
from hfpipe.models.pooled_layer import find_pooled, pool_last_layer

ENCODERS = {name: CONFIGS[name] for name in ("bert", "roberta", "distilbert")}
ENCODERS["electra"] = ElectraConfig(**SIZES, **NO_DROPOUT, embedding_size=16)
FEED_FORWARD = ("intermediate.dense", "ffn.lin1")
OTHER_FORM = "are not built like those of BERT or DistilBERT"


def pooled(model: PreTrainedModel) -> PreTrainedModel:
    other = copy.deepcopy(model)
    pool_last_layer(other)
    return other


def watch_feed_forward(model: PreTrainedModel) -> list[tuple[int, ...]]:
    """Return a list that gets rows and tokens of what the feed-forward of each layer is given."""
    shapes = list[tuple[int, ...]]()
    for name, part in model.named_modules():
        if name.endswith(FEED_FORWARD):
            part.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape[:2])))
    return shapes


@pytest.mark.parametrize("attention", ["hfpipe", "sdpa"])
@pytest.mark.parametrize("name", ENCODERS)
def test_losses_and_gradients_are_those_of_the_whole_layer(name: str, attention: str) -> None:
    whole = build(ENCODERS[name], attn_implementation=attention)
    model = pooled(whole)
    shapes = watch_feed_forward(model)
    check_same(train(model, batch()), train(whole, batch()))
    assert shapes == [(4, TOKENS), (4, 1)]
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(**batch()).logits, whole.eval()(**batch()).logits)
    # without padding there is no mask
    check_same(train(model, batch(lengths=(TOKENS, TOKENS))), train(whole, batch(lengths=(TOKENS, TOKENS))))


@pytest.mark.parametrize("name", ENCODERS)
def test_layers_before_it_are_packed(name: str) -> None:
    whole = build(ENCODERS[name])
    model = packed(pooled(whole))
    shapes = watch_feed_forward(model)
    check_same(train(model, batch()), train(whole, batch()))
    # 24, 13, 4 and 13 tokens, to multiples of 16
    assert shapes == [(1, 24 + 16 + 16 + 16), (4, 1)]
    single = build(BertConfig(**{**SIZES, "num_hidden_layers": 1}))
    with pytest.raises(Unsuited, match="are a single one, which is computed for one token"):
        packed(pooled(single))


@pytest.mark.parametrize("reentrant", [False, True])
def test_dropout_computed_anew_in_backward_is_the_same(reentrant: bool) -> None:
    model = build(BertConfig(**SIZES, hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3))
    quicken_dropout(model)
    pool_last_layer(model)
    inputs, results = batch(), []
    for seed, checkpointing in ((1, False), (1, True), (2, True)):
        if checkpointing:
            compute_anew(model, reentrant=reentrant)
            model.get_input_embeddings().register_forward_hook(lambda _, args, output: output.requires_grad_())
        torch.manual_seed(seed)
        results.append(train(model, inputs))
    check_same(*results[:2])
    assert results[2][0] != results[0][0]


def test_adapters_learn_the_same() -> None:
    settings = ModelSettings(use_peft=True, lora_r=2, lora_dropout=0.0)
    whole = add_adapter(settings, build(CONFIGS["bert"]), new_parameters=("classifier.weight", "classifier.bias"))
    for name, parameter in whole.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)  # they begin at 0, where the others have no gradient
    check_same(train(pooled(whole.train()), batch()), train(whole, batch()))


def test_names_weights_and_random_numbers_stay_and_a_copy_computes_with_its_own_weights() -> None:
    whole = build(CONFIGS["bert"])
    before = torch.get_rng_state()
    model = pooled(whole)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert model.state_dict().keys() == whole.state_dict().keys()
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.bert.encoder.layer[-1].parameters():
            parameter.zero_()
        assert torch.equal(model(**batch()).logits, pooled(whole)(**batch()).logits)
        assert not torch.equal(other(**batch()).logits, model(**batch()).logits)


class BertOfMeans(BertForSequenceClassification):
    """A classifier whose head looks at all tokens."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: Any = None) -> Any:
        outputs = self.bert(input_ids, attention_mask=attention_mask)
        outputs.logits = self.classifier(outputs.last_hidden_state.mean(1))
        return outputs


@pytest.mark.parametrize(
    ("config", "options", "reason"),
    [
        (CONFIGS["llama"], {}, OTHER_FORM),
        (CONFIGS["modernbert"], {}, OTHER_FORM),
        (BertConfig(**SIZES, is_decoder=True), {}, OTHER_FORM),
        (CONFIGS["bert"], {"attn_implementation": "eager"}, "have attention eager"),
    ],
)
def test_what_cannot_be_pooled_is_told(config: PreTrainedConfig, options: dict[str, Any], reason: str) -> None:
    model = build(config, **options)
    with pytest.raises(Unsuited) as error:
        pool_last_layer(model)
    assert str(error.value) == reason
    assert find_pooled(model) is None


def test_heads_that_look_at_other_tokens_are_found() -> None:
    model = BertOfMeans._from_config(copy.deepcopy(CONFIGS["bert"]), attn_implementation="sdpa")
    with pytest.raises(Unsuited, match=r"^compute otherwise for the first token alone \(by \d"):
        pool_last_layer(model)
    assert find_pooled(model) is None
    nn.init.zeros_(model.classifier.weight)
    with pytest.raises(Unsuited, match=r"^give every text the same logits, so that nothing can be compared$"):
        pool_last_layer(model)


def test_only_keys_and_values_of_the_last_layer_cost_operations() -> None:
    whole = build(CONFIGS["bert"])
    model = pooled(whole)
    # of 32 x 32 + 32 each for queries and output, 32 x 48 + 48, 48 x 32 + 32, and two norms of 64
    left_out = 2 * (32 * 32 + 32) + (32 * 48 + 48) + (48 * 32 + 32) + 2 * 64
    costs = count_token_cost(whole), count_token_cost(model)
    assert costs[0].per_token - costs[1].per_token == 6 * left_out
    assert (costs[0].per_pair, costs[1].per_pair) == (12 * 2 * 32, 12 * 1 * 32)

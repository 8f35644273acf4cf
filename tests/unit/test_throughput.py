"""What a token costs, counted by hand and by torch; the clock that leaves evaluations out; the pace of processes."""

import time

import pytest
import torch
from tiny_models import bert_config, llama_config, make_classifier, make_generator
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, PreTrainedConfig, PreTrainedModel

from hfpipe.models.compute import TokenCost, count_token_cost, find_gpu_limit, probe_limit
from hfpipe.training.progress import describe_event
from hfpipe.training.throughput import Pace, Stopwatch, Work, count_work

BIG = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 4}


def counted_by_torch(model: PreTrainedModel, rows: int, tokens: int) -> int:
    ids = torch.ones((rows, tokens), dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        model(ids).logits.sum().backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize(
    "config",
    [
        llama_config(**BIG, attn_implementation="eager"),
        llama_config(**BIG, attn_implementation="eager", tie_word_embeddings=True),
        GPT2Config(vocab_size=300, n_embd=64, n_layer=2, n_head=4, n_positions=64),
    ],
    ids=["llama", "tied llama", "gpt2, tied"],
)
def test_the_cost_of_a_token_is_what_torch_counts(config: PreTrainedConfig) -> None:
    model = make_generator(config).train()
    rows, tokens = 3, 40
    told = count_token_cost(model).of(rows * tokens, rows * tokens**2)
    # the first layer's input has a gradient here as everywhere: what differs are norms and biases, counted as products
    assert told == pytest.approx(counted_by_torch(model, rows, tokens), rel=0.03)


def test_frozen_parameters_cost_no_gradient_of_their_own() -> None:
    model = make_classifier(bert_config())
    whole = count_token_cost(model)
    for parameter in model.parameters():
        parameter.requires_grad = False
    frozen = count_token_cost(model)
    assert frozen.per_token == pytest.approx(whole.per_token * 4 / 6)
    assert whole.per_pair == frozen.per_pair == 12 * 2 * 16


def test_work_counts_texts_and_padding() -> None:
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    padded = {"input_ids": torch.zeros(2, 4, dtype=torch.int64), "attention_mask": mask}
    packed = {"input_ids": torch.zeros(3, 5, dtype=torch.int64)}
    assert count_work([padded]) == Work(4, 8, 9 + 1)
    assert count_work([padded, packed]) == Work(19, 23, 10 + 75)
    assert count_work([padded, packed], padding_free=True) == Work(19, 19, 10 + 75)


def test_pace_by_name() -> None:
    cost = TokenCost(per_token=10.0, per_pair=1.0)
    pace = Pace(Work(100, 125, 1_000), 2.0, 4_000.0, 5_000_000)
    assert pace.describe(cost) == {
        "tokens_per_second": 50.0,
        "padded_tokens_per_second": 62.5,
        "mfu": 0.25,
        "peak_memory_mb": 5.0,
    }
    assert Pace(Work(100, 100, 0), 2.0, 0.0, 1e6).describe(cost) == {"tokens_per_second": 50.0, "peak_memory_mb": 1.0}
    assert Pace(Work(), 0.0, 1.0, 1.0).describe(cost) == {}


def test_the_clock_leaves_out_what_is_between_steps_only_when_held(monkeypatch: pytest.MonkeyPatch) -> None:
    # made, first step, its end, end of the second after a wait for data, third after an evaluation, its end
    moments = iter((0.0, 100.0, 101.0, 104.0, 200.0, 205.0))
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))
    watch = Stopwatch()
    for held in (False, True, False):
        watch.go_on()
        watch.note()
        if held:
            watch.hold()
    assert watch.total == watch.seconds == 1.0 + 3.0 + 5.0


def test_limits() -> None:
    assert find_gpu_limit("NVIDIA H100 80GB HBM3", torch.bfloat16) == 989e12
    assert find_gpu_limit("NVIDIA H100 PCIe", torch.float16) == 756e12
    assert find_gpu_limit("NVIDIA H100 80GB HBM3", torch.float32) is None
    assert find_gpu_limit("NVIDIA GeForce GTX 970", torch.bfloat16) is None
    before = torch.get_rng_state()
    assert 1e8 < probe_limit(torch.device("cpu"), torch.float32, seconds=0.01) < 1e14
    assert torch.equal(torch.get_rng_state(), before)


def test_the_line_of_an_event_ends_with_the_pace() -> None:
    logs = {"loss": 0.5, "epoch": 1.0, "tokens_per_second": 12_345.6, "mfu": 0.1234, "peak_memory_mb": 800.0}
    assert describe_event(3, 9, logs) == "step 3 of 9 (epoch 1.00): loss 0.5000, 12,346 tokens/s, MFU 12.3 %"

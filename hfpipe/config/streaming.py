"""What a run under `streaming` needs and cannot have: its data have no known length, and each process sees a part."""

from collections.abc import Iterator

from hfpipe.config.settled import Settled
from hfpipe.errors import Problem

_STRATEGIES = ("eval_strategy", "save_strategy", "logging_strategy")
_DEMO = "demo:"


def plan_streaming(settled: Settled) -> Settled:
    """A stream has no epoch to wait for: evaluations and checkpoints go by steps where nothing else was said."""
    if not settled.get("streaming"):
        return settled
    for key, other in (("eval_strategy", "save_strategy"), ("save_strategy", "eval_strategy")):
        follows = settled.is_given(other) and settled.get(other) != "no"  # one that was named decides the other
        if not settled.is_given(key) and not follows:
            settled = settled.plan(key, "steps", cause="streaming")
    return settled


def check_streaming(settled: Settled) -> Iterator[Problem]:
    """Yield what keeps a stream from being read."""
    if not settled.get("streaming"):
        return
    if settled.get("max_steps") in (None, -1):
        yield Problem("max_steps", "", "a stream has no length that would end the run", "set max_steps")
    if not settled.has("max_eval_samples"):
        rule = "validation documents of a stream are taken from its head, and how many is not said"
        yield Problem("max_eval_samples", "", rule, "set max_eval_samples, as in max_eval_samples: 1000")
    if not (settled.has("tokenizer_name") or settled.has("model_name_or_path")):
        rule = "no tokenizer is trained on a stream"
        yield Problem("tokenizer_name", "", rule, "set tokenizer_name, as in tokenizer_name: gpt2")
    if settled.get("cross_document_attention") is False:
        rule = "documents of a stream are not masked from each other in this version"
        yield settled.problem("cross_document_attention", rule, "remove it, or remove streaming")
    yield from _check_sources(settled)
    yield from _check_loading(settled)


def _check_sources(settled: Settled) -> Iterator[Problem]:
    if settled.has("dataset_mixture"):
        rule = "is not streamed in this version: its sources are weighed by their sizes, which a stream does not know"
        yield settled.problem("dataset_mixture", rule, "remove streaming, or stream one source")
    name = str(settled.get("dataset_name") or "")
    if name.startswith(_DEMO):
        yield settled.problem("streaming", f"{name} is one small file in memory", "remove it")
    if settled.has("max_train_samples"):
        rule = "a stream is not sampled: its length is max_steps"
        yield settled.problem("max_train_samples", rule, "remove it")


def _check_loading(settled: Settled) -> Iterator[Problem]:
    for key in _STRATEGIES:
        if settled.get(key) == "epoch" and settled.is_given(key):
            rule = "a stream has no epochs that all processes end together"
            yield settled.problem(key, rule, f"write {key}: steps")
    if settled.get("dataloader_num_workers"):
        rule = "a stream is read by the process that trains, which knows where it stands"
        yield settled.problem("dataloader_num_workers", rule, "remove it")

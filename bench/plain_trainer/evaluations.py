"""`eval_loss` at several batch sizes and process counts, against the mean over all items scored one row at a time."""

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional

from bench.plain_trainer import ours
from bench.plain_trainer.plain import build_plain, plain_arguments
from bench.plain_trainer.table import Finding, relative_difference
from bench.plain_trainer.workshop import Case, Feed, Workshop, feed
from bench.quiet import silence

BATCH_SIZES = (1, 4, 7)
BATCH_SIZE_ON_TWO = 4

Losses = Mapping[str, Mapping[str, float]]
"""`eval_loss` by side ('plain', 'ours') and by batch size as told, '7' or '4 on 2'."""


def run_evaluations(workshop: Workshop, case: Case, batch_sizes: Mapping[str, int]) -> Losses:
    """Return the loss on both sides at each of the `batch_sizes`, in the processes there are."""
    names = "-".join(batch_sizes).replace(" ", "-")
    data = feed(workshop, case, f"eval-{names}")
    plain = {name: _plain_loss(workshop, case, data, size) for name, size in batch_sizes.items()}
    our = {}
    for name, size in batch_sizes.items():
        output_dir = workshop.run(f"eval-{names}-{case.name}-{size}".replace(" ", "-"))
        config = case.config(output_dir, per_device_eval_batch_size=size, **ours.STEPS_ONLY)
        our[name] = ours.assemble(config).validation_loss()
    return {"plain": plain, "ours": our}


@torch.inference_mode()
def true_loss(workshop: Workshop, case: Case) -> float:
    """Return the mean over all labels (rows, or predicted tokens), each row alone, summed in float64."""
    data = feed(workshop, case, "true")
    model = case.model().eval()
    losses = []
    for row in data.validation:
        logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0].double()
        labels = torch.tensor(row["labels"]) if case.causal_lm else torch.tensor([row["labels"]])
        if case.causal_lm:
            logits, labels = logits[:-1], labels[1:]
        else:
            logits = logits[None]
        kept = labels != -100
        losses.append(functional.cross_entropy(logits[kept], labels[kept], reduction="none"))
    return float(torch.cat(losses).mean())


def compare_evaluations(found: Sequence[Losses], right: float, title: str) -> Finding:
    """Return the finding over all evaluations of one case."""
    told, largest = {}, {}
    for side in ("plain", "ours"):
        losses = {name: loss for each in found for name, loss in each[side].items()}
        told[side] = ", ".join(f"{loss:.5f} at {name}" for name, loss in losses.items())
        largest[side] = max(relative_difference(loss, right) for loss in losses.values())
    return Finding(f"{title} (true mean {right:.5f})", told["plain"], told["ours"], largest["plain"], largest["ours"])


def _plain_loss(workshop: Workshop, case: Case, data: Feed, batch_size: int) -> float:
    args = plain_arguments(workshop.run("plain-eval"), per_device_eval_batch_size=batch_size)
    trainer = build_plain(case.model(), args, data.tokenizer, validation=data.validation)
    with silence():
        return trainer.evaluate()["eval_loss"]

"""Label smoothing and class weights: the loss of a first step against torch's own, over all eight rows at once."""

from typing import Any

import torch
from torch.nn import functional
from transformers import Trainer

from bench.plain_trainer import ours
from bench.plain_trainer.plain import build_plain, labelled_rows, plain_arguments, train_plain
from bench.plain_trainer.table import Finding, relative_difference
from bench.plain_trainer.tiny import LABEL_NAMES
from bench.plain_trainer.windows import WHOLE, Cut
from bench.plain_trainer.workshop import Workshop

SMOOTHING = 0.2
WEIGHTS = {"neg": 0.75, "pos": 2.5}
NARROW = Cut(2, 4)


def mean_cross_entropy(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | None = None
) -> torch.Tensor:
    """Return a loss as Trainer's documentation of `compute_loss_func` asks for: the sum over the number of items."""
    count = len(labels) if num_items_in_batch is None else num_items_in_batch
    return functional.cross_entropy(outputs.logits, labels, reduction="sum") / count


class WeightedTrainer(Trainer):
    """The usual recipe for class weights: `compute_loss` overridden with a weighted CrossEntropyLoss."""

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        weight = torch.tensor([WEIGHTS[name] for name in LABEL_NAMES])
        loss = torch.nn.CrossEntropyLoss(weight=weight)(outputs.logits, labels)
        return (loss, outputs) if return_outputs else loss


def compare_smoothing(workshop: Workshop) -> Finding:
    """Return what `label_smoothing_factor` does beside a loss function."""
    right = _right_loss(workshop, label_smoothing=SMOOTHING)
    extras = {"compute_loss_func": mean_cross_entropy}
    plain = _plain_loss(workshop, WHOLE, extras, label_smoothing_factor=SMOOTHING)
    without = _plain_loss(workshop, WHOLE, extras)
    our = _our_loss(workshop, WHOLE, label_smoothing_factor=SMOOTHING)
    return Finding(
        f"label smoothing {SMOOTHING} beside a loss function (true loss {right:.5f})",
        f"{plain:.5f} with it, {without:.5f} without it",
        f"{our:.5f}",
        relative_difference(plain, right),
        relative_difference(our, right),
    )


def compare_class_weights(workshop: Workshop) -> Finding:
    """Return the class-weighted loss at 8x1 and 2x4; plain Trainer has none, so the usual recipe stands for it."""
    right = _right_loss(workshop, weight=torch.tensor([WEIGHTS[name] for name in LABEL_NAMES]))
    given = ",".join(f"{name}={weight}" for name, weight in WEIGHTS.items())
    cuts = (WHOLE, NARROW)
    plain = {cut.name: _plain_loss(workshop, cut, {}, trainer_class=WeightedTrainer) for cut in cuts}
    our = {cut.name: _our_loss(workshop, cut, class_weights=given) for cut in cuts}
    plain_told = ", ".join(f"{loss:.5f} at {name}" for name, loss in plain.items())
    return Finding(
        f"class-weighted loss (true loss {right:.5f})",
        f"{plain_told}; a quarter of the latter is {plain[NARROW.name] / NARROW.micro_batches:.5f}",
        ", ".join(f"{loss:.5f} at {name}" for name, loss in our.items()),
        max(relative_difference(loss, right) for loss in plain.values()),
        max(relative_difference(loss, right) for loss in our.values()),
    )


@torch.inference_mode()
def _right_loss(workshop: Workshop, **given: Any) -> float:
    """Return torch's loss over all training rows under the weights both sides start from."""
    rows = _assemble(workshop, "right").rows.train
    batch = rows.__getitems__(list(range(len(rows))))
    labels = batch.pop("labels")
    return float(functional.cross_entropy(workshop.short().model().eval()(**batch).logits, labels, **given))


def _plain_loss(
    workshop: Workshop, cut: Cut, extras: dict[str, Any], *, trainer_class: type[Trainer] = Trainer, **given: Any
) -> float:
    assembled = _assemble(workshop, f"objective-feed-{cut.name}-{len(given)}-{trainer_class.__name__}")
    args = plain_arguments(
        workshop.run("plain-objective"),
        num_train_epochs=1,
        per_device_train_batch_size=cut.rows,
        gradient_accumulation_steps=cut.micro_batches,
        **given,
    )
    rows = labelled_rows(assembled.rows.train)
    trainer = build_plain(
        workshop.short().model(),
        args,
        assembled.trainer.tokenizer,
        train=rows,
        extras=extras,
        trainer_class=trainer_class,
    )
    return train_plain(trainer)[0]["loss"]


def _our_loss(workshop: Workshop, cut: Cut, **given: Any) -> float:
    output_dir = workshop.run(f"objective-{cut.name}-{'-'.join(given)}")
    sizes = {"per_device_train_batch_size": cut.rows, "gradient_accumulation_steps": cut.micro_batches}
    config = workshop.short().config(output_dir, num_train_epochs=1, **sizes, **given, **ours.STEPS_ONLY)
    return ours.run_whole(config)[0]["loss"]


def _assemble(workshop: Workshop, name: str) -> ours.Assembled:
    return ours.assemble(workshop.short().config(workshop.run(name), **ours.STEPS_ONLY))

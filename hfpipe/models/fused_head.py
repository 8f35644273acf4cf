"""Cross entropy of a language model straight from its hidden states: the logits never exist whole.

The logits of 8 x 512 tokens over 16,384 entries are 268 MB of float32, which a plain loss writes, reads and copies
several times. Here they are made for some tokens at a time, turned into losses and slopes while they are near, and
forgotten; the gradients of hidden states and head are made in the same pass, so that backward only multiplies by one
number. Products are computed in the type of autocast, everything between them in float32, and the head's gradient is
added up in float32.

The decision worth knowing: the loss is computed where the head would compute logits, inside the model's own forward
pass. DDP finds the head among what a loss depends on, autocast and checkpointing see one pass, and no model has to be
taken apart. Refused are heads that are no plain linear layer, or whose output the model changes afterwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

IGNORED = -100
TOKENS_AT_ONCE = 1_024
"""Tokens a product is made of on a CPU; half or twice as many were slower there (2026-11, 16k entries)."""
BYTES_AT_ONCE_ELSEWHERE = 2**30
"""Float32 logits between two products elsewhere. Each turn adds to the whole gradient of the head, which takes a GPU as
long as 1,000 tokens of the product: by more of them it is spread further. Three copies of this size exist at once."""
TOKENS_TOGETHER = 256
"""What their number is a multiple of elsewhere, as the tiles of products like it."""
BYTES_AT_ONCE = 2 * 2**20
"""Float32 logits between two products on a CPU: what stays in the cache of a core is passed over three times faster."""


@dataclass(frozen=True)
class FusedLosses:
    """What a model gives in place of its logits: a sum over tokens, or the sum of each row, float32 in nats."""

    losses: torch.Tensor


class FusedHead:
    """The head of a language model, which gives losses in place of logits while it is asked to.

    The head stays the module it is: nothing of it is replaced or saved otherwise.
    """

    def __init__(self, head: torch.nn.Linear) -> None:
        self.head = head
        self.passes = 0  # through the head, since the last question
        self._labels = torch.empty(0)
        self._smoothing = 0.0
        self._by_row = False
        # one object for as long as it lives: a compiled model looks whether the head has changed
        self._replacement = torch.compiler.disable(self._score)

    @contextmanager
    def scoring(self, labels: torch.Tensor, *, label_smoothing: float = 0.0, by_row: bool = False) -> Iterator[None]:
        """Have the head give the loss of `labels` (rows, tokens), which equal the inputs and are shifted here.

        `by_row` gives (rows,) without a gradient, else one number with it.
        """
        self.passes, self._labels, self._smoothing, self._by_row = 0, labels, label_smoothing, by_row
        self.head.forward = self._replacement  # type: ignore[method-assign]
        try:
            yield
        finally:
            del self.head.forward
            self._labels = torch.empty(0)

    def _score(self, hidden: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        labels, head = self._labels, self.head
        if hidden.shape[:-1] != labels.shape:
            # a model that drops positions, or brings them in another order: what comes out is no loss, and is found so
            return functional.linear(hidden, head.weight, head.bias)
        targets = labels[:, 1:].to(hidden.device)
        predicting = hidden[:, :-1].flatten(0, 1)
        if self._by_row:
            return score_tokens(predicting, head, targets.flatten()).view(targets.shape).sum(dim=1)
        return sum_cross_entropy(predicting, head, targets.flatten(), label_smoothing=self._smoothing)


def find_plain_head(model: torch.nn.Module) -> torch.nn.Linear | None:
    """Return the head of `model` where it is a plain linear layer; None for an adapted, quantized or hooked one."""
    head = cast("Any", model).get_output_embeddings()
    # a hook on its forward pass expects logits
    is_hooked = head is not None and "forward" in vars(head)
    return head if type(head) is torch.nn.Linear and not is_hooked else None


def count_tokens_at_once(device: str, entries: int) -> int:
    """Return the tokens a product of matrices is made of, on a kind of device and over a vocabulary of `entries`."""
    if device == "cpu":
        return TOKENS_AT_ONCE
    fitting = BYTES_AT_ONCE_ELSEWHERE // (4 * entries)
    return max(fitting // TOKENS_TOGETHER, 1) * TOKENS_TOGETHER


def sum_cross_entropy(
    hidden: torch.Tensor, head: torch.nn.Linear, targets: torch.Tensor, *, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Return the cross entropy of `targets` (tokens,) summed, float32; `hidden` is (tokens, width).

    Its gradient can be taken once. Tokens whose target is ignored add nothing, whatever stands there.
    """
    dtype = _computing_type(hidden, head)
    return cast(
        "torch.Tensor", _SummedCrossEntropy.apply(hidden, head.weight, head.bias, targets, label_smoothing, dtype)
    )


@torch.no_grad()
def score_tokens(hidden: torch.Tensor, head: torch.nn.Linear, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of each of `targets` (tokens,), float32, 0 where one is ignored; without a gradient."""
    known, hidden, weight, bias = _prepare(hidden, head.weight, head.bias, targets, _computing_type(hidden, head))
    losses = []
    with torch.autocast(hidden.device.type, enabled=False):
        size = count_tokens_at_once(hidden.device.type, len(weight))
        for start in range(0, len(hidden), size):
            tokens = slice(start, start + size)
            logits = functional.linear(hidden[tokens], weight, bias)
            losses += [_find_losses(part.float(), own, 0.0)[0] for part, own in _cut_for_cache(logits, targets[tokens])]
    return torch.cat(losses).where(known, 0.0)


class _SummedCrossEntropy(torch.autograd.Function):
    """The sum of cross entropies; gradients of hidden states, weight and bias are made in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        label_smoothing: float,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """Return the sum, and keep the gradients it would have with a slope of one."""
        needs_hidden, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        known, inputs, matrix, offset = _prepare(hidden, weight, bias, targets, dtype)
        of_hidden = torch.empty_like(inputs) if needs_hidden else None
        of_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        of_bias = torch.zeros_like(weight[:, 0], dtype=torch.float32) if needs_bias else None
        losses = []
        with torch.autocast(hidden.device.type, enabled=False):
            size = count_tokens_at_once(inputs.device.type, len(matrix))
            for start in range(0, len(inputs), size):
                tokens = slice(start, start + size)
                logits = functional.linear(inputs[tokens], matrix, offset)
                parts = _cut_for_cache(logits, targets[tokens])
                losses += [_turn_into_slopes(part, own, label_smoothing) for part, own in parts]
                if of_hidden is not None:
                    torch.mm(logits, matrix, out=of_hidden[tokens])
                if of_weight is not None:
                    of_weight += torch.mm(logits.t(), inputs[tokens])
                if of_bias is not None:
                    of_bias += known[tokens].to(logits.dtype) @ logits
        if of_hidden is not None:
            of_hidden = of_hidden.masked_fill_(~known[:, None], 0.0).to(hidden.dtype)
        ctx.save_for_backward(of_hidden, of_weight, of_bias)
        ctx.weight_type = weight.dtype
        return torch.cat(losses).where(known, 0.0).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients times `slope`, in place: a second backward pass is refused by autograd."""
        of_hidden, of_weight, of_bias = ctx.saved_tensors
        return (
            None if of_hidden is None else of_hidden.mul_(slope),
            None if of_weight is None else of_weight.mul_(slope).to(ctx.weight_type),
            None if of_bias is None else of_bias.mul_(slope).to(ctx.weight_type),
            *(None, None, None),
        )


def _computing_type(hidden: torch.Tensor, head: torch.nn.Linear) -> torch.dtype:
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else head.weight.dtype


def _prepare(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return which targets are known, and the operands as they are multiplied; hidden states of the others are zero.

    So they add nothing to the gradient of the head, whatever their slopes are.
    """
    known = targets != IGNORED
    zeroed = hidden.detach().to(dtype).masked_fill(~known[:, None], 0.0)
    return known, zeroed, weight.detach().to(dtype), None if bias is None else bias.detach().to(dtype)


def _cut_for_cache(logits: torch.Tensor, targets: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield `logits` (tokens, vocabulary) and their targets, on a CPU as few at a time as a cache holds."""
    fitting = max(1, BYTES_AT_ONCE // (4 * logits.shape[1]))
    size = fitting if logits.device.type == "cpu" else len(logits)
    yield from zip(logits.split(size), targets.split(size), strict=True)


def _find_losses(
    logits: torch.Tensor, targets: torch.Tensor, smoothing: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the losses (tokens,) of float32 `logits`, the probabilities, and the entries looked up, (tokens, 1)."""
    chosen = targets.clamp(min=0)[:, None]
    probabilities = torch.softmax(logits, dim=1)
    # the logarithm of the sum, from the entry whose probability is no rounding error
    total = logits.amax(dim=1) - probabilities.amax(dim=1).log()
    losses = total - (1 - smoothing) * logits.gather(1, chosen)[:, 0]
    if smoothing:
        losses -= smoothing * logits.mean(dim=1)
    return losses, probabilities, chosen


def _turn_into_slopes(logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Return the losses (tokens,) of `logits` (tokens, vocabulary), and leave their slopes where they stood."""
    losses, slopes, chosen = _find_losses(logits.float(), targets, smoothing)
    slopes.scatter_add_(1, chosen, torch.full(chosen.shape, smoothing - 1.0, device=slopes.device))
    if smoothing:
        slopes -= smoothing / slopes.shape[1]
    logits.copy_(slopes)
    return losses

"""Memory of a training step, found by walking through one without any numbers.

Model, forward pass, loss and backward pass run on fake tensors of the device they will run on: shapes, types and the
kernels chosen are the real ones, and no memory is taken. Every storage is counted from its first appearance until
nothing refers to it any more, so what autograd saves, bfloat16 copies of weights, float32 logits and gradients are in
the peak by themselves. Left out: scratch memory inside kernels and what an allocator cannot reuse.
"""

import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from accelerate.utils import convert_to_fp32
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel

from hfpipe.models.fused_head import FusedHead, find_plain_head
from hfpipe.training.datasets import Batch
from hfpipe.training.fused_loss import run_fused
from hfpipe.training.objectives import Objective
from hfpipe.training.precision import Precision

STATES_OF_OPTIMIZERS: Mapping[str, int] = {"sgd": 0, "adafactor": 0, "rmsprop": 1, "adagrad": 1, "lion": 1}
"""Tensors of a parameter's shape that an optimizer keeps, by the first word of its name; others count as Adam: two.

Adafactor keeps a row and a column of each matrix, which is next to nothing.
"""

MakeBatch = Callable[[int, int], Batch]


@dataclass(frozen=True)
class Outline:
    """A model without numbers: every parameter has its shape, type and device, and none takes memory."""

    model: PreTrainedModel
    mode: FakeTensorMode
    device: torch.device

    @property
    def parameters(self) -> int:
        """Parameters; tied ones count once."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def trainable(self) -> int:
        """Parameters that are trained."""
        return sum(parameter.numel() for parameter in self._trained())

    @property
    def weight_bytes(self) -> int:
        """Bytes of parameters and buffers."""
        return _storage_bytes([*self.model.parameters(), *self.model.buffers()])

    @property
    def gradient_bytes(self) -> int:
        """Bytes of all gradients."""
        return _storage_bytes(self._trained())

    def optimizer_bytes(self, optim: str) -> int:
        """Return the bytes of the state that the optimizer named `optim` keeps."""
        return count_optimizer_bytes(self._trained(), optim)

    def _trained(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]


@dataclass(frozen=True)
class StepShape:
    """What a step computes: rows and tokens of the largest micro-batch, and how they are computed."""

    rows: int
    tokens: int
    precision: Precision
    accumulates: bool = False
    """Whether a step has several micro-batches: the gradients of one are then there while the next is computed."""
    gradient_checkpointing: bool = False
    fused_loss: bool = False
    """Whether the loss is computed in the head, where that is a plain one; logits are then never whole.

    Rows are counted with their padding: where layers compute none (`padding_free`), the peak is an upper bound. Under a
    budget of tokens padding is left out, of embeddings and head too, which do have it.
    """


def count_optimizer_bytes(trained: Iterable[torch.nn.Parameter], optim: str) -> int:
    """Return the bytes of the state that the optimizer named `optim` keeps for the parameters `trained`."""
    states = STATES_OF_OPTIMIZERS.get(optim.partition("_")[0], 2)
    bytes_per_value = 1 if "8bit" in optim else None
    return states * sum(p.numel() * (bytes_per_value or p.element_size()) for p in trained)


def outline(build: Callable[[], PreTrainedModel], device: torch.device) -> Outline:
    """Return the model that `build` makes, without numbers, as it would lie on `device`."""
    mode = FakeTensorMode()
    with mode, _AnswerNo(), device:
        model = build()
    model.config.use_cache = False  # as Trainer does for training
    return Outline(model, mode, device)


def outline_adapted(build: Callable[[], PreTrainedModel], device: torch.device) -> Outline:
    """Return what `outline` does, for a model with an adapter: peft moves modules, which fake tensors do not allow."""
    mode = FakeTensorMode()
    with torch.device("meta"):
        model = build()
    # tied parameters are one before and after; the old ones stay alive, or a new one could get their id
    held = [*model.parameters(), *model.buffers()]
    with mode:
        made = {id(tensor): _on_device(tensor, device) for tensor in held}
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            replaced = {name: made[id(tensor)] for name, tensor in tensors.items() if tensor is not None}
            cast("dict[str, torch.Tensor]", tensors).update(replaced)
    model.config.use_cache = False
    return Outline(model, mode, device)


def _on_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
    is_parameter = isinstance(tensor, torch.nn.Parameter)
    return torch.nn.Parameter(empty, requires_grad=tensor.requires_grad) if is_parameter else empty


def trace_training(outlined: Outline, shape: StepShape, *, make_batch: MakeBatch, objective: Objective) -> int:
    """Return the peak bytes of forward and backward passes, weights included, optimizer state not.

    `make_batch` gives a micro-batch of so many rows and tokens; its numbers are never looked at. Once it has run with
    `gradient_checkpointing`, the model keeps it.
    """
    model = outlined.model.train()
    if shape.gradient_checkpointing:
        # on fake tensors there is no state of a random generator to keep
        options = {"use_reentrant": False, "preserve_rng_state": False}
        with warnings.catch_warnings():
            # transformers 5.23 has a new name for it, which the oldest version we support does not know
            warnings.simplefilter("ignore", FutureWarning)
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)

    def step() -> None:
        for _ in range(2 if shape.accumulates else 1):
            _loss(outlined, shape, make_batch=make_batch, objective=objective).backward()

    try:
        return _peak(outlined, step)
    finally:
        model.zero_grad(set_to_none=True)


def trace_evaluation(outlined: Outline, shape: StepShape, *, make_batch: MakeBatch, objective: Objective) -> int:
    """Return the peak bytes of scoring one batch, weights included."""
    outlined.model.eval()

    def step() -> None:
        with torch.no_grad():
            _loss(outlined, shape, make_batch=make_batch, objective=objective)

    return _peak(outlined, step)


def _peak(outlined: Outline, step: Callable[[], None]) -> int:
    with outlined.mode, _LiveBytes([*outlined.model.parameters(), *outlined.model.buffers()]) as live:
        step()
    return live.peak


def _loss(outlined: Outline, shape: StepShape, *, make_batch: MakeBatch, objective: Objective) -> torch.Tensor:
    batch = {name: tensor.to(outlined.device) for name, tensor in make_batch(shape.rows, shape.tokens).items()}
    labels = batch.pop("labels")
    dtype = torch.float16 if shape.precision == "fp16" else torch.bfloat16
    head = find_plain_head(outlined.model) if shape.fused_loss else None
    with torch.autocast(outlined.device.type, dtype=dtype, enabled=shape.precision != "no"):
        if head is None:
            outputs = outlined.model(**batch)
        else:
            outputs = run_fused(FusedHead(head), outlined.model, batch, labels=labels, objective=objective)
    if shape.precision != "no" and head is None:  # accelerate gives the caller float32
        outputs = convert_to_fp32(outputs)
    return objective.loss_sum(outputs, labels) / shape.rows


class _AnswerNo(TorchDispatchMode):
    """Answers questions about values, which fake tensors do not have, with no.

    Models ask whether a mask is all ones, to leave it out. A padded batch says no.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return False if args[0].dtype == torch.bool else 0
        return func(*args, **(kwargs or {}))


class _LiveBytes(_AnswerNo):
    """Counts the bytes of all storages that operations return, until nothing refers to them."""

    def __init__(self, present: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.peak = 0
        self._now = 0
        self._known: set[int] = set()
        for tensor in present:
            self._add(tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = super().__torch_dispatch__(func, types, args, kwargs)
        for each in tree_leaves(result):
            if isinstance(each, torch.Tensor):
                self._add(each)
        return result

    def _add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._known:
            self._known.add(key)
            self._now += storage.nbytes()
            self.peak = max(self.peak, self._now)
            weakref.finalize(storage, self._drop, key, storage.nbytes())

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size


def _storage_bytes(tensors: Iterable[torch.Tensor]) -> int:
    storages = [tensor.untyped_storage() for tensor in tensors]
    return sum({storage._cdata: storage.nbytes() for storage in storages}.values())

"""One of two processes that shard a tiny model with `fully_shard`, without Trainer: gather, write, read, deal out.

To be run as a trial of two; its setting is the folder they share.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tiny_models import bert_config, llama_config, make_classifier, make_generator
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, get_optimizer_state_dict
from torch.distributed.fsdp import fully_shard
from transformers import PreTrainedModel

from hfpipe.training.gathering import gather_weights, is_sharded, put_weights
from hfpipe.training.optimizer_state import collect_optimizer_state, restore_optimizer_state
from hfpipe.training.state_files import read_state, write_state

STEPS = 3
ROWS = 4


def make_model(name: str) -> PreTrainedModel:
    """Return the tiny model `name`: its layers are sharded one by one, its embeddings are tied in the llama."""
    return make_generator(llama_config(tie_word_embeddings=True)) if name == "llama" else make_classifier(bert_config())


def make_optimizer(model: torch.nn.Module) -> torch.optim.Optimizer:
    """Return AdamW over two groups, as Trainer makes them; its epsilon hides the noise of gradients that are zero."""
    matrices = [each for each in model.parameters() if each.ndim > 1]
    rest = [each for each in model.parameters() if each.ndim < 2]
    return torch.optim.AdamW(
        [{"params": matrices}, {"params": rest, "weight_decay": 0.0}], lr=1e-3, eps=1e-3, amsgrad=True
    )


def compute_loss(model: PreTrainedModel, step: int, rows: slice = slice(None)) -> torch.Tensor:
    """Return the mean loss of some rows of the batch of `step`."""
    generator = torch.Generator().manual_seed(step)
    ids = torch.randint(2, 300, (ROWS, 9), generator=generator)[rows]
    labels = ids if "ForCausalLM" in type(model).__name__ else ids[:, 0] % 3
    return model(input_ids=ids, labels=labels).loss


def take_step(model: PreTrainedModel, optimizer: torch.optim.Optimizer, step: int, rows: slice = slice(None)) -> float:
    """Make an update with some rows of the batch of `step`, and return their loss before it."""
    loss = compute_loss(model, step, rows)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def shard(model: PreTrainedModel, *, layers: bool) -> PreTrainedModel:
    """Shard the model whole, and before that each of its layers where asked."""
    blocks = [module for module in model.modules() if type(module).__name__ in (model._no_split_modules or ())]
    for block in blocks if layers else ():
        if not any(each is model.get_input_embeddings() for each in block.modules()):
            fully_shard(block)
    fully_shard(model)
    assert is_sharded(model)
    return model


def go_through(name: str, rank: int, world: int, folder: Path) -> None:
    """Train, save as `name`, load into a model sharded otherwise, and train both on: they stay equal to the bit."""
    own = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    model = shard(make_model(name), layers=True)
    optimizer = make_optimizer(model)
    for step in range(STEPS):
        take_step(model, optimizer, step, own)
    weights = gather_weights(model, keep=rank == 0)
    state = collect_optimizer_state(model, optimizer, keep=rank == 0)
    if rank == 0:
        save_file({key: value.clone() for key, value in weights.items()}, folder / f"{name}.safetensors")
        write_state(folder, f"{name}_optimizer", state, owner="optimizer")
    else:
        assert weights == {}
    compare_with_torch(model, optimizer, weights, state)
    torch.distributed.barrier()

    fresh = make_model(name)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.zero_()
    other = shard(fresh, layers=False)
    # only what the first process has counts, as where transformers reads a file there alone
    read = load_file(folder / f"{name}.safetensors")
    put_weights(other, read if rank == 0 else {key: torch.empty_like(value) for key, value in read.items()})
    resumed = make_optimizer(other)
    restore_optimizer_state(other, resumed, read_state(folder, f"{name}_optimizer"), place=folder)
    compare(model, optimizer, other, resumed)
    losses = [take_step(each, mine, STEPS, own) for each, mine in ((model, optimizer), (other, resumed))]
    assert losses[0] == losses[1]
    compare(model, optimizer, other, resumed)
    total = torch.tensor(losses[0], dtype=torch.float64)
    torch.distributed.all_reduce(total)
    if rank == 0:
        (folder / f"{name}_loss.txt").write_text(repr(total.item() / world))


def compare_with_torch(
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    weights: dict[str, torch.Tensor],
    state: dict[str, Any],
) -> None:
    """Assert that what was gathered is what torch.distributed.checkpoint gathers, name by name and bit by bit."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    theirs, optimizers = (
        get_model_state_dict(model, options=options),
        get_optimizer_state_dict(model, optimizer, options=options),
    )
    assert weights.keys() == theirs.keys()
    assert [name for name in weights if not weights[name].equal(theirs[name])] == []
    if not weights:  # not the process that writes
        return
    assert state["param_groups"] == optimizers["param_groups"]
    assert state["state"].keys() == optimizers["state"].keys()
    for name, own in state["state"].items():
        assert own.keys() == optimizers["state"][name].keys()
        assert [key for key, value in own.items() if not value.equal(optimizers["state"][name][key])] == []


def compare(
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    other: PreTrainedModel,
    resumed: torch.optim.Optimizer,
) -> None:
    """Assert that weights and states are equal to the bit."""
    mine, theirs = gather_weights(model), gather_weights(other)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not mine[name].equal(theirs[name])] == []
    states = [collect_optimizer_state(*pair)["state"] for pair in ((model, optimizer), (other, resumed))]
    assert states[0].keys() == states[1].keys() == {name for name, _ in model.named_parameters()}
    for name, state in states[0].items():
        assert state.keys() == {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
        assert [key for key in state if not state[key].equal(states[1][name][key])] == []


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    for each in ("llama", "bert"):
        go_through(each, torch.distributed.get_rank(), torch.distributed.get_world_size(), Path(sys.argv[2]))
    torch.distributed.destroy_process_group()

"""Run a recipe, given by its path and arguments, through accelerate's FSDP2 on processes without a GPU.

Accelerate shards only where it finds GPUs. Here it is told that the processes are GPUs' ones, and
ACCELERATE_TORCH_DEVICE=cpu says what they compute on; everything after that is what runs on GPUs.
"""

import runpy
import sys
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType

_prepare = PartialState._prepare_backend


def _prepare_as_on_gpus(self: PartialState, *arguments: Any, **named: Any) -> tuple[str, DistributedType]:
    backend, _ = _prepare(self, *arguments, **named)
    return backend, DistributedType.MULTI_GPU


if __name__ == "__main__":
    PartialState._prepare_backend = _prepare_as_on_gpus
    torch.distributed.init_process_group("gloo")
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")

"""What processes of a run tell each other beside tensors: JSON as bytes, so that none of them unpickles anything.

torch's and accelerate's own `gather_object` and `broadcast_object_list` pickle. Every process has to call these, in
the same order; with a single one they give its own value back, as JSON would.
"""

import json
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast, gather


def gather_items(own: Sequence[Any]) -> list[Any]:
    """Return the items of all processes, those of the first one first; tuples come back as lists."""
    content = json.dumps(list(own)).encode()
    device = PartialState().device
    sizes = gather(torch.tensor([len(content)], device=device)).tolist()
    row = torch.zeros(1, max(sizes), dtype=torch.uint8)
    row[0, : len(content)] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    rows = gather(row.to(device)).cpu()
    found = (bytes(row[:size].tolist()) for row, size in zip(rows, sizes, strict=True))
    return [item for each in found for item in json.loads(each)]


def share_from_main(value: Any) -> Any:
    """Return the main process's `value` in all of them; tuples come back as lists."""
    state = PartialState()
    content = json.dumps(value).encode() if state.is_main_process else b""
    size = int(broadcast(torch.tensor([len(content)], device=state.device)).item())
    sent = torch.zeros(size, dtype=torch.uint8)
    if content:
        sent = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return json.loads(bytes(broadcast(sent.to(state.device)).cpu().tolist()))

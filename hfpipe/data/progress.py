"""One look for every progress bar: main process only, and only for what takes over two seconds."""

import os
from typing import Any


def is_main_process() -> bool:
    """Tell whether this is the process that speaks; launchers number their processes in RANK."""
    return os.environ.get("RANK", "0") == "0"


def progress_options(*, delay_seconds: float = 2.0) -> dict[str, Any]:
    """Return the arguments of `tqdm` shared by all bars."""
    return {"disable": not is_main_process(), "delay": delay_seconds, "leave": False, "dynamic_ncols": True}

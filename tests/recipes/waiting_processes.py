"""Two processes of which the first works longer than their collectives may wait; to be run as a trial."""

import sys
import time
from datetime import timedelta
from pathlib import Path

SLOW_SECONDS = 5.0
TIMEOUT_SECONDS = 3.0


def work() -> str:
    time.sleep(SLOW_SECONDS)
    return "done"


def main(folder: Path) -> None:
    import torch
    from transformers import TrainingArguments

    from hfpipe.training import main_work

    main_work.SECONDS_BETWEEN_SIGNS = 0.5
    torch.distributed.init_process_group("gloo", timeout=timedelta(seconds=TIMEOUT_SECONDS))
    args = TrainingArguments(output_dir=str(folder), use_cpu=True, ddp_backend="gloo")
    found = main_work.work_in_main(work, args)
    (folder / str(args.process_index)).write_text(str(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[2]))

"""Leaves a mark once the first step is done; the process that measures waits for it."""

from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class MarkFirstStep(TrainerCallback):
    """Writes `first_step` in the output directory after a step."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        folder = Path(str(args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "first_step").write_text("1")

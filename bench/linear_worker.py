"""One process of a run that `bench.linear` times: makes steps through the recipe and writes their seconds."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from bench.made_up import Shape
from bench.pretrain import LEARNING_RATE, STEPS_OF_A_LONG_RUN
from bench.quiet import quiet_libraries
from bench.recipe_run import configure, run_to_training, train
from hfpipe.config.sections import PRETRAIN
from hfpipe.training.session import Session
from hfpipe.training.trainer import PlannedTrainer


class StepTimes(TrainerCallback):
    """Notes when each step ends, and ends training after so many."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.ends: list[float] = []

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())
        control.should_training_stop = control.should_training_stop or state.global_step >= self.steps

    @property
    def seconds(self) -> list[float]:
        """From the end of a step to the end of the next one."""
        return [later - earlier for earlier, later in zip(self.ends, self.ends[1:], strict=False)]


def main() -> None:
    """Make the steps that the argument describes."""
    quiet_libraries()
    told = json.loads(sys.argv[1])
    folder, shape, times = Path(told["folder"]), Shape(*told["shape"]), StepTimes(told["steps"] + 1)
    config = configure(
        PRETRAIN,
        folder / told["name"],
        model_name_or_path=folder / "model",
        train_file=folder / "train.txt",
        validation_file=folder / "validation.txt",
        block_size=shape.length,
        max_steps=STEPS_OF_A_LONG_RUN,
        per_device_train_batch_size=shape.rows,
        learning_rate=LEARNING_RATE,
        use_cpu="true",
    )

    def trained(session: Session, trainer: PlannedTrainer) -> None:
        trainer.add_callback(times)
        train(session, trainer)
        if session.is_main:
            (folder / f"{told['name']}.json").write_text(json.dumps(times.seconds))

    run_to_training(config, trained)


if __name__ == "__main__":
    main()

"""What a user sees while a run trains: one bar, and one line for each log event and evaluation.

Replaces Trainer's bar, which prints raw dictionaries. Without a terminal the bar is drawn every half
minute, so that a log file stays readable.
"""

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

# The history has every value; a line has room for those one watches.
SHOWN = (
    *("loss", "grad_norm", "learning_rate", "accuracy", "f1_micro", "f1_macro"),
    *("mae", "r2", "perplexity", "bits_per_byte"),
)

SECONDS_BETWEEN_DRAWS = 0.2
SECONDS_BETWEEN_DRAWS_IN_A_FILE = 30.0


class AboveBars(logging.Handler):
    """Writes to stderr without tearing a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as a line above the bars."""
        _write_line(self.format(record))


def log_above_bars() -> None:
    """Replace the root logger's plain handlers of stderr, which an entry point has set up, by ones that spare bars."""
    root = logging.getLogger()
    for plain in [handler for handler in root.handlers if type(handler) is logging.StreamHandler]:
        handler = AboveBars(plain.level)
        handler.setFormatter(plain.formatter)
        root.removeHandler(plain)
        root.addHandler(handler)


class ProgressBars(TrainerCallback):
    """Bars of training and evaluation, and log lines that do not tear them; given to the main process only."""

    def __init__(self) -> None:
        self._training: Any = None
        self._evaluation: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar, at the step the run goes on from."""
        self._training = _bar(state.max_steps, "training", args, initial=state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move on by a step."""
        self._training.update(state.global_step - self._training.n)

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move on by a batch of an evaluation; opens its bar at the first."""
        if self._evaluation is None:
            self._evaluation = _bar(len(kwargs["eval_dataloader"]), "evaluating", args)
        self._evaluation.update()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Close the bar of the evaluation."""
        if self._evaluation is not None:
            self._evaluation.close()
        self._evaluation = None

    on_predict = on_evaluate

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Print the event as one line."""
        line = describe_event(state.global_step, state.max_steps, logs or {}, watched=args.metric_for_best_model)
        if line:
            _write_line(line)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        self._training.close()


def _write_line(line: str) -> None:
    """Write above the bars; where stderr is a file on a full disk the line is lost, and the run goes on."""
    with suppress(OSError):
        tqdm.write(line, file=sys.stderr)


def describe_event(step: int, last_step: int, logs: Mapping[str, float], *, watched: str | None = None) -> str:
    """Return a log event as a line: step, epoch, then losses, scores, the one `watched` too, and the learning rate."""
    epoch = logs.get("epoch")
    shown = {name: value for name, value in logs.items() if name.removeprefix("eval_") in (*SHOWN, watched)}
    if not shown:
        return ""
    values = ", ".join(f"{name} {_short(value)}" for name, value in shown.items())
    values += _describe_pace(logs)
    head = f"step {step:,} of {last_step:,}"
    return f"{head} (epoch {epoch:.2f}): {values}" if epoch is not None else f"{head}: {values}"


def _describe_pace(logs: Mapping[str, float]) -> str:
    pace = f", {logs['tokens_per_second']:,.0f} tokens/s" if "tokens_per_second" in logs else ""
    return pace + (f", MFU {100 * logs['mfu']:.1f} %" if "mfu" in logs else "")


def _short(value: float) -> str:
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e6 or value == 0 else f"{value:.3g}"


def _bar(total: int, description: str, args: TrainingArguments, *, initial: int = 0) -> Any:
    return tqdm(
        total=total,
        desc=description,
        initial=initial,
        unit="step",
        leave=False,
        dynamic_ncols=True,
        disable=args.disable_tqdm,
        mininterval=SECONDS_BETWEEN_DRAWS if sys.stderr.isatty() else SECONDS_BETWEEN_DRAWS_IN_A_FILE,
    )

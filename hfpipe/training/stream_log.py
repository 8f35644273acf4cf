"""What became of the documents of a stream: in the history at each log event, in the record at the end."""

import logging
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfpipe.data.streams import FATES
from hfpipe.records.sessions import add_facts
from hfpipe.training.session import Session
from hfpipe.training.streaming import StreamedBlocks, count_documents

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer

logger = logging.getLogger(__name__)


class StreamCounts(TrainerCallback):
    """Adds the counts of all processes to log events; it has to stand before the history, in every process."""

    def __init__(self, trainer: "PlannedTrainer", session: Session) -> None:
        self.trainer = trainer
        self.session = session
        self.epoch = 0

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add documents by fate, tokens, and the epoch of the stream that every process has reached."""
        if not logs or "loss" not in logs:
            return
        logs |= add_up(count_documents(self.trainer))
        if logs["stream_epoch"] > self.epoch and self.session.is_main:
            logger.info("the stream begins again: every process has read its shards of epoch %d", self.epoch)
        self.epoch = int(logs["stream_epoch"])

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Know the epoch a run goes on in: it is no news."""
        self.epoch = int(add_up(count_documents(self.trainer))["stream_epoch"])

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Enter the counts in the record, process by process and together, and close the stream."""
        processes = count_documents(self.trainer)
        if self.session.is_main:
            total = add_up(processes)
            add_facts(self.session.directory, {"stream": {**total, "processes": processes}})
            logger.info(describe(total))
        rows = self.trainer.train_rows
        assert isinstance(rows, StreamedBlocks)
        rows.close()


def add_up(processes: list[dict[str, int]]) -> dict[str, float]:
    """Return the counts of all processes: sums, and the least epoch."""
    fates = {f"documents_{fate}": sum(each[fate] for each in processes) for fate in FATES}
    tokens = sum(each["tokens"] for each in processes)
    return {
        "documents_read": sum(fates.values()),
        **fates,
        "stream_tokens": tokens,
        "stream_epoch": min(each["epoch"] for each in processes),
    }


def describe(total: dict[str, float]) -> str:
    """Return the counts as a line of the log, in the words of every other account."""
    terms = " + ".join(f"{int(total[f'documents_{fate}']):,} {fate.replace('_', ' ')}" for fate in FATES)
    read = f"{int(total['documents_read']):,} documents read = {terms}"
    return f"train: {read}; {int(total['stream_tokens']):,} tokens trained on (documents are read somewhat ahead)"

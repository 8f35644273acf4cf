"""What a language model writes to fixed prompts at each evaluation, kept in `samples.jsonl` for the report.

The prompts and the random numbers are the same each time, so only the weights differ. Training does not notice: the
process's random state is put back, and only the main process writes. A model that is sharded needs all processes for
each token; it is sampled at the end alone.
"""

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfpipe.config.sections import EvaluationSettings
from hfpipe.inference.generate import GenerationSettings, continue_prompts
from hfpipe.records.run_directory import SAMPLES_FILE, append_history
from hfpipe.training.agreement import Attempt, raise_in_all
from hfpipe.training.gathering import is_sharded

if TYPE_CHECKING:
    from hfpipe.training.trainer import PlannedTrainer


class Continuations(TrainerCallback):
    """Appends the continuations of `sample_prompts` at each evaluation; where that fails, all processes end."""

    def __init__(self, trainer: "PlannedTrainer", wanted: EvaluationSettings) -> None:
        self.trainer = trainer
        self.wanted = wanted

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write step, prompts and texts."""
        file = self.trainer.run_directory / SAMPLES_FILE
        attempt = Attempt(file)
        with attempt:
            if args.process_index == 0 and not is_sharded(self.trainer.network):
                append_history(file, {"step": state.global_step, "samples": self._continue(args.seed)})
        raise_in_all(attempt.error(), args)

    def _continue(self, seed: int) -> list[dict[str, str]]:
        network, prompts = self.trainer.network, self.wanted.sample_prompts
        settings = GenerationSettings(max_new_tokens=self.wanted.sample_max_new_tokens, seed=seed)
        was_training = network.training
        network.eval()
        texts = continue_prompts(network, self.trainer.tokenizer, prompts, settings)
        network.train(was_training)
        return [{"prompt": prompt, "text": text} for prompt, text in zip(prompts, texts, strict=True)]

"""The settings hfpipe adds to `TrainingArguments`, one frozen dataclass a part of the library.

The dataclass field is the only home of a default. A name stands once over all sections and `TrainingArguments`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from hfpipe.config.baseline_models import BASELINES, MAJORITY, TFIDF
from hfpipe.config.data_settings import MULTI_LABEL, REGRESSION, SINGLE_LABEL, DataSettings
from hfpipe.config.model_settings import ModelSettings
from hfpipe.config.setting import FINETUNE, PRETRAIN, Change, Setting, setting

__all__ = [
    "FINETUNE",
    "MULTI_LABEL",
    "PRETRAIN",
    "REGRESSION",
    "SECTIONS",
    "SINGLE_LABEL",
    "SKIP",
    "STOP",
    "Change",
    "DataSettings",
    "EvaluationSettings",
    "HubSettings",
    "ModelSettings",
    "Setting",
    "TrainingSettings",
]

STOP, SKIP = "stop", "skip"


@dataclass(frozen=True)
class TrainingSettings:
    """How the run trains, saves and goes on; everything else of training is a `TrainingArguments` key."""

    output_dir: str | None = setting(
        None, "The run directory; without it 'runs/<name of the YAML file>', or of the recipe.", change="free"
    )
    fresh_start: bool = setting(
        False, "Move an earlier run in output_dir aside and begin anew instead of resuming it.", change="free"
    )
    resume_from_checkpoint: str | None = setting(
        None,
        "Checkpoint of this run to go on from, or one on the Hub as repository@revision; without it the newest one.",
        change="free",
    )
    seed: int = setting(
        42,
        "Seed of the data order, new weights and dropout, and of the split where split_seed is not given.",
        minimum=0,
        maximum=2**32 - 1,
    )
    num_processes: int | None = setting(
        None,
        "Processes the run must have; it stops where the launcher started another number.",
        minimum=1,
        change="free",
    )
    bf16: bool | None = setting(
        None,
        "Mixed precision in bfloat16; without it as accelerate was launched, else on if the hardware computes in it.",
    )
    fp16: bool | None = setting(None, "Mixed precision in float16, for GPUs without bfloat16.")
    quick_dropout: bool | None = setting(
        None,
        "Draw the random numbers of dropout many at a time, at the same rates; without it where that is faster.",
        change="free",
    )
    fused_loss: bool | None = setting(
        None,
        "Compute the loss of a language model without holding its logits; without it where the model allows it.",
        change="free",
        recipes=(PRETRAIN,),
    )
    pooled_last_layer: bool | None = setting(
        None,
        "Compute the last layer of a classifier for the token its head looks at; without it where the model allows it.",
        change="free",
        recipes=(FINETUNE,),
    )
    padding_free: bool | None = setting(
        None,
        "Leave padding out of a classifier's layers in training; without it where model and attention allow it.",
        change="free",
        recipes=(FINETUNE,),
    )
    save_strategy: str = setting(
        "epoch", "When a checkpoint is written.", choices=("no", "steps", "epoch"), change="free"
    )
    save_steps: int = setting(
        500, "Steps between checkpoints where save_strategy is 'steps'.", minimum=1, change="free"
    )
    save_total_limit: int | None = setting(
        2, "Checkpoints kept, the best one always among them; a large number keeps all.", minimum=1, change="free"
    )
    load_best_model_at_end: bool = setting(
        True, "Finish with the weights that scored best on validation, rather than with the last ones."
    )
    early_stopping_patience: int | None = setting(
        None, "Stop after this many evaluations without improvement of metric_for_best_model.", minimum=1
    )
    early_stopping_threshold: float = setting(0.0, "Improvement below this does not count.", minimum=0.0)
    nonfinite_policy: str = setting(
        STOP,
        "What a loss or gradient that is not finite leads to, before its update: 'stop' ends the run, 'skip' leaves "
        "that step without effect and goes on, ten times in a row at most.",
        choices=(STOP, SKIP),
        change="free",
    )
    watch_loss: bool = setting(
        True, "Report steps whose training loss leaps above what those before it let expect.", change="free"
    )
    max_tokens_per_batch: int | None = setting(
        None,
        "Token positions that a micro-batch of one process may have, in training and evaluation: as many texts as fit, "
        "padding counted where it is computed (see padding_free). In place of a number of rows.",
        minimum=1,
        recipes=(FINETUNE,),
    )
    class_weights: str | Mapping[str, float] | None = setting(
        None,
        "Weights of the classes in the loss: 'balanced' (by inverse frequency) or a mapping by label name; "
        "of several labels a row, what a label that is there weighs against one that is not.",
        recipes=(FINETUNE,),
    )


@dataclass(frozen=True)
class EvaluationSettings:
    """How the finished model is judged, and what is shown beside its scores."""

    calibrate: bool = setting(
        True,
        "Fit a temperature on the validation part, so that probabilities are as high as the share that is right; "
        "predict divides the logits by it.",
        change="free",
        recipes=(FINETUNE,),
    )
    threshold_for: str | None = setting(
        None,
        "What the probability from which on a label is given is chosen for, on the validation part: f1, "
        "precision_at_recall=0.9, recall_at_precision=0.9, or cost=1:5, the costs of a false alarm and of a miss; "
        "without it a half. For two labels, of which the second has the threshold, and for several labels a row.",
        change="free",
        recipes=(FINETUNE,),
    )
    baselines: tuple[str, ...] = setting(
        (MAJORITY, TFIDF),
        "Simpler models trained on the same rows, which the model is compared with after training; '[]' for none. Of "
        "language models lstm and gru, none unless asked for.",
        change="free",
        choices=BASELINES,
    )
    sample_texts: tuple[str, ...] = setting(
        (), "Texts classified by the finished model and shown.", change="free", recipes=(FINETUNE,)
    )
    sample_prompts: tuple[str, ...] = setting(
        (),
        "Prompts continued at every evaluation and by the finished model, shown and kept for the report.",
        change="free",
        recipes=(PRETRAIN,),
    )
    sample_max_new_tokens: int = setting(
        60, "Tokens in each continuation.", minimum=1, change="free", recipes=(PRETRAIN,)
    )
    score_test: bool = setting(
        True,
        "Score the test part at the end. While it is false the part is held back; made true on a finished run, the "
        "same command scores it without a further step.",
        change="completing",
    )


@dataclass(frozen=True)
class HubSettings:
    """What is pushed to the Hub, and when; the token is the one of HF_TOKEN or `hf auth login`, never a setting."""

    push_to_hub: bool = setting(False, "Push the model and its card to the Hub.", change="free")
    hub_model_id: str | None = setting(
        None,
        "The repository, as name or owner/name; without it the run directory's name, under the token's owner.",
        change="free",
    )
    hub_strategy: str = setting(
        "end",
        "When and what: the finished model at the end; also the weights of every_save; also the newest checkpoint, "
        "resumable, as last-checkpoint/; or all_checkpoints.",
        change="free",
        choices=("end", "every_save", "checkpoint", "all_checkpoints"),
    )
    hub_private_repo: bool = setting(
        True, "Whether a repository that is created is private; one that exists stays what it is.", change="free"
    )
    hub_revision: str | None = setting(None, "The branch to push to; without it the main one.", change="free")
    hub_tag_steps: bool = setting(False, "Tag every pushed save with its step, as in step-500.", change="free")
    card_examples: bool | None = setting(
        None,
        "Quote a validation text for each label in the model card; without it texts of your own files are quoted in "
        "private repositories alone.",
        change="free",
        recipes=(FINETUNE,),
    )


SECTIONS: Mapping[str, type] = {
    "data": DataSettings,
    "model": ModelSettings,
    "training": TrainingSettings,
    "evaluation": EvaluationSettings,
    "hub": HubSettings,
}

"""The settings hfpipe adds to `TrainingArguments`, one frozen dataclass a part of the library.

The dataclass field is the only home of a default. Each field carries its documentation, its bounds,
the recipes it has an effect in, and what a change means to a run that is resumed.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

PRETRAIN = "pretrain_causal_lm"
FINETUNE = "finetune_classifier"

Change = Literal["identity", "extendable", "free"]


@dataclass(frozen=True)
class Setting:
    """What is known of a field beside its name, type and default; lives in the field's metadata."""

    help: str
    change: Change = "identity"
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    recipes: tuple[str, ...] = (PRETRAIN, FINETUNE)


def setting(
    default: object,
    help: str,
    *,
    change: Change = "identity",
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] = (),
    recipes: tuple[str, ...] = (PRETRAIN, FINETUNE),
) -> Any:
    """Return a dataclass field documented by a `Setting`. `minimum` and `maximum` are inclusive, `above` is not."""
    details = Setting(help, change, minimum, maximum, above, choices, recipes)
    return dataclasses.field(default=default, metadata={"setting": details})


@dataclass(frozen=True)
class DataSettings:
    """Where the texts come from and which rows are used."""

    dataset_name: str | None = setting(
        None, "A data set by name; 'demo:imdb' is 25,000 labelled IMDB reviews from the 'demo' extra."
    )
    train_file: tuple[str, ...] | None = setting(
        None, "Training data: a file, a folder, a glob or a list of them (.csv .tsv .jsonl .parquet .txt)."
    )
    validation_file: tuple[str, ...] | None = setting(
        None, "Validation data, for choosing the best checkpoint; without it a share of the training part is used."
    )
    test_file: tuple[str, ...] | None = setting(
        None, "Test data, scored once at the end and never used to choose anything."
    )
    text_column_names: str | None = setting(
        None, "The column that holds the text; without it the column is found by name and said."
    )
    label_column_name: str | None = setting(
        None, "The column that holds the label; without it the column is found by name and said.", recipes=(FINETUNE,)
    )
    label_names: Mapping[str, str] | None = setting(
        None,
        "Readable names for labels of the file, as in '0=neg,1=pos'; unnamed labels are refused.",
        recipes=(FINETUNE,),
    )
    field_delimiter: str | None = setting(
        None, "The delimiter of CSV files; without it ',' for .csv and a tab for .tsv, checked against the header."
    )
    document_per: str = setting(
        "file", "What one document is in a plain-text file.", choices=("file", "line"), recipes=(PRETRAIN,)
    )
    validation_fraction: float = setting(
        0.1,
        "Share of the training part held out for validation where no validation_file is given.",
        above=0.0,
        maximum=0.5,
    )
    max_train_samples: int | None = setting(
        None, "Use at most this many training rows, chosen by the seed before anything is tokenized.", minimum=1
    )
    max_eval_samples: int | None = setting(
        None, "Use at most this many validation rows, chosen by the seed before anything is tokenized.", minimum=1
    )
    max_predict_samples: int | None = setting(
        None, "Use at most this many test rows, chosen by the seed before anything is tokenized.", minimum=1
    )
    max_seq_length: int = setting(
        256,
        "Tokens a text may have, special tokens included; longer texts are cut at the end and counted.",
        minimum=4,
        recipes=(FINETUNE,),
    )
    block_size: int = setting(
        512,
        "Tokens in one training sequence; documents are packed into blocks of exactly this length.",
        minimum=8,
        recipes=(PRETRAIN,),
    )


@dataclass(frozen=True)
class ModelSettings:
    """The model and its tokenizer."""

    model_name_or_path: str | None = setting(
        None, "Checkpoint to start from: a folder, a name on the Hub, or 'demo:minilm' from the 'demo' extra."
    )
    model_revision: str = setting("main", "Branch, tag or commit of model_name_or_path on the Hub.")
    tokenizer_name: str | None = setting(
        None, "Tokenizer to use when it is not the checkpoint's; pretraining trains one where neither is given."
    )
    model_size: str = setting(
        "small",
        "Shape of a model trained from scratch: tiny ~3M, small ~34M, base ~98M parameters at the default vocab_size.",
        choices=("tiny", "small", "base"),
        recipes=(PRETRAIN,),
    )
    model_type: str = setting(
        "llama", "Architecture of a model trained from scratch, by its name in transformers.", recipes=(PRETRAIN,)
    )
    config_overrides: Mapping[str, str | int | float | bool] | None = setting(
        None, "Values that replace fields of the model's config, as a mapping or as 'a=1,b=2'."
    )
    vocab_size: int = setting(
        16_384,
        "Tokens of the byte-level BPE trained on the training texts.",
        minimum=258,
        recipes=(PRETRAIN,),
    )
    attn_implementation: str | None = setting(
        None,
        "Attention of transformers to use; without it transformers chooses.",
        change="free",
        choices=("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"),
    )
    dtype: str = setting(
        "float32",
        "Type of the weights as loaded and saved; mixed precision is bf16 or fp16 beside it.",
        choices=("float32", "bfloat16", "float16"),
    )
    trust_remote_code: bool = setting(
        False, "Run Python code that a checkpoint from the Hub brings along. Only for code you have read."
    )


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
        None, "Checkpoint of this run to go on from; without it the newest one.", change="free"
    )
    seed: int = setting(42, "Seed of the split, the data order, new weights and dropout.", minimum=0, maximum=2**32 - 1)
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
    class_weights: str | Mapping[str, float] | None = setting(
        None,
        "Weights of the classes in the loss: 'balanced' (by inverse frequency) or a mapping by label name.",
        recipes=(FINETUNE,),
    )


@dataclass(frozen=True)
class EvaluationSettings:
    """What is shown after training, beside the scores."""

    sample_texts: tuple[str, ...] = setting(
        (), "Texts classified by the finished model and shown.", change="free", recipes=(FINETUNE,)
    )
    sample_prompts: tuple[str, ...] = setting(
        (), "Prompts continued by the finished model and shown.", change="free", recipes=(PRETRAIN,)
    )
    sample_max_new_tokens: int = setting(
        60, "Tokens in each continuation.", minimum=1, change="free", recipes=(PRETRAIN,)
    )


SECTIONS: Mapping[str, type] = {
    "data": DataSettings,
    "model": ModelSettings,
    "training": TrainingSettings,
    "evaluation": EvaluationSettings,
}

"""Settings of the model, its tokenizer and its adapter."""

from collections.abc import Mapping
from dataclasses import dataclass

from hfpipe.config.setting import setting

OWN_ATTENTION = "hfpipe"
"""The attention that `hfpipe.models` brings: matrix products in training on a CPU."""


@dataclass(frozen=True)
class ModelSettings:
    """The model and its tokenizer."""

    model_name_or_path: str | None = setting(
        None, "Checkpoint to start from: a folder, a name on the Hub, or 'demo:minilm' from the 'demo' extra."
    )
    model_revision: str = setting("main", "Branch, tag or commit of model_name_or_path on the Hub.")
    tokenizer_name: str | None = setting(
        None, "Tokenizer to use when it is not the checkpoint's; where neither is given, one is trained on the texts."
    )
    tokenizer_revision: str = setting("main", "Branch, tag or commit of tokenizer_name on the Hub.")
    model_size: str = setting(
        "small",
        "Shape of a model trained from scratch: tiny ~3M, small ~34M, base ~98M parameters at the default vocab_size; "
        "those of hfpipe ~1M, ~2M, and ~8M (hfpipe_textcnn ~5M).",
        choices=("tiny", "small", "base"),
    )
    model_type: str = setting(
        "llama",
        "Architecture of a model trained from scratch, by its name in transformers, or hfpipe_lstm, hfpipe_gru, and of "
        "classifiers hfpipe_textcnn; a classifier has it in place of model_name_or_path.",
    )
    config_overrides: Mapping[str, str | int | float | bool] | None = setting(
        None, "Values that replace fields of the model's config, as a mapping or as 'a=1,b=2'."
    )
    vocab_size: int = setting(
        16_384,
        "Tokens of the byte-level BPE trained on the training texts.",
        minimum=258,
    )
    attn_implementation: str | None = setting(
        None,
        "Attention to use: one of transformers, or hfpipe's own for CPUs; without it as the performance plan chooses.",
        change="free",
        choices=("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention", OWN_ATTENTION),
    )
    dtype: str = setting(
        "float32",
        "Type of the weights as loaded and saved; mixed precision is bf16 or fp16 beside it.",
        choices=("float32", "bfloat16", "float16"),
    )
    trust_remote_code: bool = setting(
        False,
        "Run Python code that a checkpoint brings along; from the Hub only at a full commit as its revision. "
        "Only for code you have read.",
    )
    cache_dir: str | None = setting(
        None, "Folder that downloads from the Hub are kept in; without it Hugging Face's own cache.", change="free"
    )
    use_peft: bool = setting(
        False, "Train a LoRA adapter (Hu et al. 2021) in place of all weights; new parts are trained whole."
    )
    lora_r: int = setting(16, "Rank of the adapter's matrices.", minimum=1)
    lora_alpha: int = setting(32, "The adapter's output is scaled by lora_alpha / lora_r.", minimum=1)
    lora_dropout: float = setting(0.05, "Dropout before the adapter's matrices.", minimum=0.0, below=1.0)
    lora_target_modules: tuple[str, ...] | None = setting(
        None, "Modules that get an adapter, by the end of their names, or all-linear; without it peft's own choice."
    )

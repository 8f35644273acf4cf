"""Tokenizers: the checkpoint's own, or a byte-level BPE trained on the training texts.

Byte-level because it has no unknown token: every text can be encoded, and bits per byte are defined.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from hfpipe.config import ModelSettings
from hfpipe.errors import CheckpointError, ConfigError, Problem
from hfpipe.models.foreign_files import find_problems
from hfpipe.models.sources import explained_loading, find_checkpoint
from hfpipe.pickles import RULE, find_pickled

END_OF_TEXT = "<|endoftext|>"
PADDING = "<|pad|>"

_FILES = ("tokenizer.json", "vocab.*", "merges.txt", "*.model", "*.tiktoken", "tekken.json")
_BESIDE_IT = "save the model's tokenizer beside it, or name one by tokenizer_name"


def load_tokenizer(settings: ModelSettings) -> PreTrainedTokenizerBase:
    """Return the tokenizer of the checkpoint, or the one named by `tokenizer_name`, padding and cutting on the right.

    Raises:
        ConfigError: If it cannot be found or loaded, or knows no tokens but special ones.
    """
    key = "tokenizer_name" if settings.tokenizer_name else "model_name_or_path"
    name = str(settings.tokenizer_name or settings.model_name_or_path)
    checkpoint = find_checkpoint(settings, key=key)
    _refuse_pickled(Path(checkpoint), key)
    with explained_loading(key, name):
        tokenizer = read_tokenizer(Path(checkpoint), trust_remote_code=settings.trust_remote_code)
    if is_blank(tokenizer):
        raise ConfigError(Problem(key, name, "holds no tokenizer", _BESIDE_IT))
    tokenizer.padding_side = "right"
    tokenizer.truncation_side = "right"
    return tokenizer


def _refuse_pickled(folder: Path, key: str) -> None:
    """Raise a ConfigError where what would be the tokenizer of `folder` is pickle."""
    is_there = any(next(folder.glob(pattern), None) for pattern in _FILES)
    pickled = [path for path in find_pickled(folder) if "token" in path or "vocab" in path]
    if pickled and not is_there:
        raise ConfigError(Problem(key, f"{folder / pickled[0]}", RULE, _BESIDE_IT))


def read_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Return the tokenizer in `folder`.

    Raises:
        ValueError: If tokenizers, which has no exception of its own, cannot read a file; and what transformers raises.
    """
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except Exception as error:
        if type(error) is Exception:
            raise ValueError(str(error)) from error
        raise


def is_blank(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether every text is unknown to `tokenizer`.

    From a folder without a tokenizer's files transformers makes one of special tokens only.
    """
    return len(tokenizer) <= len(tokenizer.all_special_ids)


def load_saved_tokenizer(folder: Path) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer an earlier part of this run left in `folder`, None where there is none.

    Raises:
        CheckpointError: If a file of it leads elsewhere.
    """
    if not (folder / "tokenizer_config.json").is_file():
        return None
    problems = find_problems(folder)
    if problems:
        raise CheckpointError(problems)
    return read_tokenizer(folder)


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int,
    *,
    show_progress: bool,
    marks_texts: bool = False,
    count: int | None = None,
) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE of at most `vocab_size` tokens, `<|endoftext|>` and `<|pad|>` included.

    Where it `marks_texts`, `<|endoftext|>` stands before and behind each of them: heads of encoders look at the first
    token, those of causal models at the last one, and the texts of a pair are told apart. A text may come in parts that
    begin with the white space behind a word. `count`, the number of texts, is for the progress bar.
    """
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT, PADDING],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=show_progress,
    )
    tokenizer.train_from_iterator(texts, trainer, length=count)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if marks_texts:
        mark, mark_id = END_OF_TEXT, tokenizer.token_to_id(END_OF_TEXT)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{mark} $A {mark}", pair=f"{mark} $A {mark} $B {mark}", special_tokens=[(mark, mark_id)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=PADDING,
        clean_up_tokenization_spaces=False,
    )


def find_separator(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id that stands between documents: end of text, else the separator or beginning token.

    Raises:
        ConfigError: If the tokenizer has none of them.
    """
    for token_id in (tokenizer.eos_token_id, tokenizer.sep_token_id, tokenizer.bos_token_id):
        if token_id is not None:
            return token_id
    rule = "has no eos, sep or bos token to put between documents"
    remedy = "choose a tokenizer with an eos_token"
    raise ConfigError(Problem("tokenizer_name", str(tokenizer.name_or_path), rule, remedy))


def special_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return the ids a model config must share with its tokenizer."""
    return {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }

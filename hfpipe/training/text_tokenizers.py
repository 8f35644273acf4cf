"""The tokenizer of a classifier: the checkpoint's, one that is named, or one trained on the training texts.

That of a new model says how long the texts are that the model takes, whatever model the tokenizer was made for: so the
model is given as many positions, and `pipeline` cuts texts where the run did.
"""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from hfpipe.config import RunConfig
from hfpipe.data.parts import LabelledPart, LabelledParts
from hfpipe.models.tokenizers import load_saved_tokenizer, load_tokenizer, train_tokenizer
from hfpipe.records.launches import begins_anew
from hfpipe.training.preparation import prepare_tokenizer
from hfpipe.training.session import Session


def prepare_text_tokenizer(session: Session, parts: LabelledParts) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a run; one that is trained is saved at the top of the run directory.

    Raises:
        ConfigError: If the one that is named cannot be found or loaded.
        CheckpointError: If the one that this run has trained cannot be read.
    """
    return _with_length(session.config, prepare_tokenizer(session, _list_texts(parts.train), marks_texts=True))


def draft_text_tokenizer(config: RunConfig, parts: LabelledParts | None) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer that the run of `config` would have, without saving it; None where it needs missing texts.

    Raises:
        ConfigError, CheckpointError: As `prepare_text_tokenizer`.
    """
    if config.model.tokenizer_name or config.model.model_name_or_path:
        return _with_length(config, load_tokenizer(config.model))
    is_new = begins_anew(config.output_dir, fresh_start=config.training.fresh_start)
    saved = None if is_new else load_saved_tokenizer(config.output_dir)
    if saved is None and parts is None:
        return None
    if saved is None and parts is not None:
        texts = _list_texts(parts.train)
        saved = train_tokenizer(texts, config.model.vocab_size, show_progress=False, marks_texts=True)
    assert saved is not None, "it was there, or is trained"
    return _with_length(config, saved)


def _list_texts(part: LabelledPart) -> Sequence[str]:
    return part.texts if part.text_pairs is None else [*part.texts, *part.text_pairs]


def _with_length(config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    if config.model.model_name_or_path is None:
        tokenizer.model_max_length = config.data.max_seq_length
    return tokenizer

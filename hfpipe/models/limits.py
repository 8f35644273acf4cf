"""How long a text a model and its tokenizer take, and whether the model has a row for every token."""

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from hfpipe.errors import CheckpointError, ConfigError, Problem

UNLIMITED = 1_000_000
"""From here on a tokenizer's `model_max_length` is transformers' stand-in for 'unknown' (1e30), not a limit."""

OFFSET_POSITIONS = (
    *("camembert", "data2vec-text", "esm", "ibert", "lilt", "longformer", "luke", "markuplm", "mpnet", "roberta"),
    *("roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
)
"""Model types that count positions from after the padding id, so that many fewer tokens fit."""


def find_positions(config: PreTrainedConfig) -> int | None:
    """Return how many tokens fit the model's positions, None where it sets no limit."""
    fields = config.to_dict()
    positions = fields.get("max_position_embeddings") or fields.get("n_positions")
    if positions is None or config.model_type not in OFFSET_POSITIONS:
        return positions
    return positions - (fields["pad_token_id"] or 0) - 1


def find_length_limit(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the longest text, in tokens, that both tokenizer and model take.

    Raises:
        CheckpointError: If neither names a limit.
    """
    limits = [limit for limit in (find_positions(config), tokenizer.model_max_length) if limit is not None]
    limit = min(limits)
    if limit < UNLIMITED:
        return limit
    rule = "neither the model nor the tokenizer says how long a text may be"
    remedy = "write model_max_length into tokenizer_config.json"
    raise CheckpointError(Problem(str(tokenizer.name_or_path), rule=rule, remedy=remedy))


def find_vocabulary_size(config: PreTrainedConfig) -> int | None:
    """Return how many tokens the model has rows for, None where its config does not say."""
    text_config = config.get_text_config()
    return text_config.to_dict().get(text_config.attribute_map.get("vocab_size", "vocab_size"))


def check_vocabulary(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise a ConfigError where the tokenizer has more tokens than the model has rows for."""
    size = find_vocabulary_size(config)
    if size is not None and len(tokenizer) > size:
        rule = f"more than the model's vocabulary of {size:,}"
        remedy = "use the tokenizer of the checkpoint"
        raise ConfigError(Problem("tokenizer_name", f"{len(tokenizer):,} tokens", rule, remedy))

"""How long a text a model and its tokenizer take."""

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from hfpipe.errors import CheckpointError, Problem

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

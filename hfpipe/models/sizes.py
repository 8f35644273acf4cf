"""Named shapes of models trained from scratch.

The names of fields are those of `LlamaConfig`; other architectures take what they know of them (GPT-2
maps `hidden_size` to `n_embd`). Parameter counts are for llama with 16,384 tokens and tied embeddings. The models of
old have shapes of their own: what made them good on a CPU, and as large as was usual.
"""

from collections.abc import Mapping

from hfpipe.config.baseline_models import GRU, LSTM, TEXTCNN

SIZES: Mapping[str, Mapping[str, int]] = {
    # 2.9M parameters, 2.1M of them embeddings: for tests and first tries on a laptop.
    "tiny": {
        "hidden_size": 128,
        "intermediate_size": 352,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    },
    # 34M parameters.
    "small": {
        "hidden_size": 512,
        "intermediate_size": 1_408,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
    },
    # 98M parameters; 124M with a vocabulary of 50,000.
    "base": {
        "hidden_size": 768,
        "intermediate_size": 2_048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 12,
    },
}

RECURRENT_SIZES: Mapping[str, Mapping[str, int]] = {
    # 1.1M parameters with 16,384 tokens, 1.0M of them embeddings.
    "tiny": {"embedding_size": 64, "hidden_size": 64, "num_hidden_layers": 1},
    # 2.2M parameters.
    "small": {"embedding_size": 128, "hidden_size": 128, "num_hidden_layers": 1},
    # 7.9M parameters.
    "base": {"embedding_size": 256, "hidden_size": 512, "num_hidden_layers": 2},
}
CONVOLUTIONAL_SIZES: Mapping[str, Mapping[str, int]] = {
    # 1.1M parameters with 16,384 tokens, 1.0M of them embeddings.
    "tiny": {"embedding_size": 64, "num_filters": 32},
    # 2.3M parameters.
    "small": {"embedding_size": 128, "num_filters": 100},
    # 5.3M parameters: the shape of Kim (2014).
    "base": {"embedding_size": 300, "num_filters": 100},
}
_OWN = {LSTM: RECURRENT_SIZES, GRU: RECURRENT_SIZES, TEXTCNN: CONVOLUTIONAL_SIZES}


def find_size(model_type: str, size: str) -> Mapping[str, int]:
    """Return the fields of a config that make a model of `model_type` so large."""
    return _OWN.get(model_type, SIZES)[size]

"""Named shapes of causal language models trained from scratch.

The names of fields are those of `LlamaConfig`; other architectures take what they know of them (GPT-2
maps `hidden_size` to `n_embd`). Parameter counts are for llama with 16,384 tokens and tied embeddings.
"""

from collections.abc import Mapping

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

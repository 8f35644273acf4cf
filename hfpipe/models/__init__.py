"""Models and tokenizers: named sizes, loading, heads."""

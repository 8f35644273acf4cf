"""Scripts as people write them after the examples of transformers, for what is compared from outside."""

"""Finished models at work: loading, scores of texts, continuations of prompts."""

"""hfpipe: pretrain causal language models and fine-tune text classifiers around the Hugging Face Trainer."""

__version__ = "0.1.0"

"""Training: the one Trainer subclass and the plain functions its overrides delegate to."""

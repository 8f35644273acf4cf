"""Pushing to the Hub and coming back from it: what may travel, the model card, commits, checkpoints to go on from."""

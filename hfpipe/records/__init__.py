"""The run directory on disk: its files, what a run states of itself, and whether it may be gone on with.

Nothing here imports torch, so a finished run can be read in milliseconds.
"""

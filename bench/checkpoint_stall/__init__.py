"""How long a save holds a run up: plain `transformers.Trainer` and hfpipe in turns, in one process, by size of model.

    python -m bench checkpoint_stall
    python -m bench checkpoint_stall --parameters 5 20 110 --rounds 9 --folder /the/disk/of/the/runs

prints a Markdown table. Both sides hold the same BERT with Adam's moments and save weights, optimizer, schedule, random
numbers and state; hfpipe also hashes every file and waits until all of it is on the disk, which plain Trainer does not.
"""

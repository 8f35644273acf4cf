"""How long a run that goes on takes to reach its place in the data: the samplers of plain Trainer and of hfpipe.

    python -m bench data_skip
    python -m bench data_skip --batches 100000 1000000 --rows 8

prints a Markdown table. Both sides draw the order of the epoch, pass so many batches by accelerate's
`skip_first_batches`, as Trainer does, and hand over the next one. No data is read on either side.
"""

"""Plain `transformers.Trainer` and hfpipe side by side on what hfpipe promises: exact losses, evaluations, resumes.

    python -m bench plain_trainer

prints a Markdown table in about two minutes on two cores. Models of some 10,000 parameters are made on the spot in a
temporary folder, so nothing is downloaded. Both sides read the same token rows and start from the same weights; plain
Trainer runs with its documented defaults. What it gets right stands in the table too.
"""

"""Many runs of one file: each an ordinary run in a directory of its own, started one after another.

Nothing here imports torch: a study starts recipes as processes and reads what they have written.
"""

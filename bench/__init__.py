"""Measurements that stand behind the claims of the documentation: one command, `python -m bench CASE`.

Each case runs the plain Hugging Face way and ours in turns, in one session, and prints figures with their spread.
"""
